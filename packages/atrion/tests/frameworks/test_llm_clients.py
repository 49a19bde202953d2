"""What guards of LLM clients do beyond the conformance table: real clients, over sockets."""

from __future__ import annotations

import importlib
import json
import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from atrion import Atrion, ConfigurationError, FlowRejected, MissingExtraError, Outcome
from atrion.integrations.llm import Cost, estimate, guard
from atrion.propagation import use
from atrion.testing import VirtualClock, force_shed
from packages.atrion.tests.conformance.llm_clients import CHAT, MESSAGE, MESSAGES, model_upstream
from packages.atrion.tests.conformance.serving import served_by_threads
from packages.atrion.tests.conformance.subject import Recorder, eventually

Answer = tuple[str, dict[str, str]]
DIRECT = {"trust_env": False}


@contextmanager
def provider(*answers: Answer) -> Iterator[tuple[str, list[str]]]:
    """The address of a service that gives these answers, then 200, and the bodies that it was sent."""
    left = list(answers)
    sent: list[str] = []

    def app(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        sent.append(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])).decode())
        status, headers = left.pop(0) if left else ("200 OK", {})
        start(status, [("content-type", "application/json"), *headers.items()])
        if not status.startswith("200"):
            return [b'{"error": {"message": "no", "type": "overloaded_error"}}']
        return [json.dumps(MESSAGE if environ["PATH_INFO"].endswith("/messages") else CHAT).encode()]

    with served_by_threads(app) as client:
        yield f"http://127.0.0.1:{client.port}", sent


def asks(engine: Atrion, url: str, retries: int = 0, **options: Any) -> Any:
    client = openai.OpenAI(api_key="k", base_url=f"{url}/v1", max_retries=retries)
    guarded = guard(client, engine, http=DIRECT, **options)
    return lambda **body: guarded.chat.completions.create(**{"model": "m", "messages": MESSAGES, **body})


def asks_claude(engine: Atrion, url: str, retries: int = 0, **options: Any) -> Any:
    client = anthropic.Anthropic(api_key="k", base_url=url, max_retries=retries)
    guarded = guard(client, engine, http=DIRECT, **options)
    return lambda **body: guarded.messages.create(
        **{"model": "m", "max_tokens": 9, "messages": MESSAGES, **body}
    )


VENDORS = [asks, asks_claude]
BUSY = [
    ("429 Too Many Requests", {"retry-after": "30"}, 30.0),
    ("429 Too Many Requests", {"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
    ("503 Unavailable", {"retry-after": "30"}, 30.0),
    ("529 Overloaded", {"retry-after": "30"}, 30.0),
    ("429 Too Many Requests", {}, 1.0),
    ("429 Too Many Requests", {"retry-after": "soon", "retry-after-ms": "-5"}, 1.0),
    ("429 Too Many Requests", {"retry-after": "999999"}, 300.0),
]


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("status, headers, seconds", BUSY)
def test_a_provider_that_is_busy_is_left_alone(
    vendor: Any, status: str, headers: dict[str, str], seconds: float
) -> None:
    clock = VirtualClock()
    engine = Recorder(clock)
    with provider((status, headers)) as (url, sent):
        ask = vendor(engine, url)
        with pytest.raises((openai.APIStatusError, anthropic.APIStatusError)):
            ask()
        assert engine.calls[-1].outcome is Outcome.IGNORED
        with pytest.raises(FlowRejected) as shed:
            ask()
        assert shed.value.decision.retry_after == pytest.approx(seconds, rel=0.01)
        with use(tier="critical"):
            ask()
        clock.advance(seconds + 0.1)
        ask()
        assert len(sent) == 3


@pytest.mark.parametrize("vendor", VENDORS)
def test_an_overloaded_provider_that_says_nothing_of_a_time_has_failed(vendor: Any) -> None:
    engine = Recorder()
    with provider(("529 Overloaded", {})) as (url, _), pytest.raises((openai.APIError, anthropic.APIError)):
        vendor(engine, url)()
    assert engine.calls[-1].outcome is Outcome.FAILURE


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_shed_request_is_not_tried_again_by_the_client(vendor: Any) -> None:
    engine = Recorder()
    with provider() as (url, sent), force_shed("critical", engine=engine):
        ask = vendor(engine, url, retries=5)
        with pytest.raises(FlowRejected):
            ask()
    assert len(engine.calls) <= 2  # a call with a cost is made of one without
    assert sent == []


@pytest.mark.parametrize("vendor", VENDORS)
def test_attempts_of_the_client_are_requests_to_the_guard(vendor: Any) -> None:
    engine = Recorder()
    with provider(("500 Broken", {"retry-after-ms": "1"})) as (url, sent):
        vendor(engine, url, retries=1)()
    outcomes = [call.outcome for call in engine.calls if call.outcome is not None]
    assert {Outcome.FAILURE, Outcome.SUCCESS} <= set(outcomes)
    assert len(sent) == 2
    assert engine.in_flight() == 0


def test_a_request_that_is_built_and_never_sent_leaves_nothing_in_flight() -> None:
    engine = Recorder()

    class Broken(openai.OpenAI):
        def _prepare_request(self, request: httpx2.Request) -> None:
            assert engine.in_flight() > 0
            raise RuntimeError("boom")

    client = guard(Broken(api_key="k"), engine, http=DIRECT)
    with pytest.raises(RuntimeError):
        client.chat.completions.create(model="m", messages=MESSAGES)
    eventually(lambda: engine.in_flight() == 0)
    assert engine.calls[-1].outcome is Outcome.IGNORED


def test_models_and_hosts_are_routes_of_their_own() -> None:
    engine = Recorder()
    with provider() as (url, _):
        host = url.removeprefix("http://")
        asks(engine, url)(model="large")
        asks(engine, url)(model="small")
        asks_claude(engine, url, dependency="claude")(model="other")
        client = guard(openai.OpenAI(api_key="k", base_url=f"{url}/v1"), engine, http=DIRECT)
        client.files.create(file=("a.jsonl", b"{}"), purpose="batch")
    assert list(engine.snapshot()) == [f"{host}/large", f"{host}/small", "claude", host]


def test_clients_derived_from_a_guarded_one_are_guarded() -> None:
    engine = Recorder()
    with provider() as (url, sent), force_shed("critical", engine=engine):
        client = guard(openai.OpenAI(api_key="k", base_url=f"{url}/v1"), engine, http=DIRECT)
        with pytest.raises(FlowRejected):
            client.with_options(timeout=5.0).chat.completions.create(model="m", messages=MESSAGES)
    assert sent == []


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("vendor", VENDORS)
def test_what_a_request_really_cost_is_reported(vendor: Any, streamed: bool) -> None:
    engine = Recorder()
    reported: list[float] = []
    with model_upstream() as upstream:
        upstream.gate.set()
        ask = vendor(engine, f"http://127.0.0.1:{upstream.port}", cost=lambda body: Cost(5.0, 95.0))
        answer = ask(stream=streamed)
        if streamed:
            reported.extend(in_tokens(engine) for _ in answer)
        reported.append(in_tokens(engine))
    assert reported[-1] == 0.0
    assert engine.calls[-1].outcome is Outcome.SUCCESS
    if streamed:
        assert reported[0] == 100.0  # paid until the end
    costs = next(iter(engine.routes.values())).costs
    assert costs is not None
    assert costs.comparable(100.0, 12.0) == pytest.approx(
        100.0
    )  # that estimates are too high has been learned


def in_tokens(engine: Recorder) -> float:
    costs = next(iter(engine.routes.values())).costs
    assert costs is not None
    return float(costs.in_flight)


def test_a_cost_that_fails_is_logged_once_and_estimated(caplog: pytest.LogCaptureFixture) -> None:
    def broken(body: Any) -> float:
        raise KeyError("tokens")

    engine = Recorder()
    with provider() as (url, sent), caplog.at_level(logging.WARNING, "atrion.clients"):
        ask = asks(engine, url, cost=broken)
        ask()
        ask()
        asks(engine, url, cost=lambda body: float("nan"))()
    assert len(sent) == 3
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


@pytest.mark.parametrize("cost", [0.0, 1e-300, 1e9, Cost(0.0, 0.0), None, -1.0, 1e300, True, "32k"])
def test_any_cost_lets_the_request_pass(cost: Any) -> None:
    engine = Recorder()
    with provider() as (url, sent):
        asks(engine, url, cost=lambda body: cost)()
    assert len(sent) == 1
    assert engine.calls[-1].outcome is Outcome.SUCCESS


@pytest.mark.parametrize(
    "body, cost",
    [
        ({"messages": [{"role": "user", "content": "x" * 396}], "max_tokens": 50}, Cost(100.0, 50.0)),
        ({"input": "x" * 400, "max_output_tokens": 7}, Cost(100.0, 7.0)),
        ({"prompt": "x" * 400}, Cost(100.0, 500.0)),
        ({"input": ["x" * 400], "encoding_format": "base64"}, Cost(101.5, 0.0)),
        ({"prompt": "x" * 400, "max_completion_tokens": 10, "n": 3}, Cost(100.0, 30.0)),
        ({"prompt": "x" * 400, "max_tokens": "many", "n": -1}, Cost(101.0, 500.0)),
        ({"content": [{"image_url": {"url": "data:" + "A" * 10**6}}]}, Cost(1000.0, 500.0)),
    ],
)
def test_a_cost_is_estimated_by_length(body: dict[str, Any], cost: Cost) -> None:
    assert estimate({"model": "m" * 100, **body}) == pytest.approx(cost)


def test_options_and_clients_that_make_no_sense_are_refused() -> None:
    engine = Atrion()
    with pytest.raises(ConfigurationError, match="client"):
        guard(object(), engine)
    with pytest.raises(ConfigurationError, match="cost"):
        guard(openai.OpenAI(api_key="k"), engine, cost=5)  # type: ignore[arg-type]  # that is the test
    with pytest.raises(ConfigurationError, match="atrion"):
        guard(openai.OpenAI(api_key="k"), None)  # type: ignore[arg-type]  # that is the test


def test_without_any_of_the_clients_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("openai", "anthropic"):
        monkeypatch.setitem(sys.modules, name, None)  # type: ignore[arg-type]  # as if it were not installed
    monkeypatch.delitem(sys.modules, "atrion.integrations.llm")
    with pytest.raises(MissingExtraError, match=r'pip install "atrion\[llm\]"'):
        importlib.import_module("atrion.integrations.llm")
