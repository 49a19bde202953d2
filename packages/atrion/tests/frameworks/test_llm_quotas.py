"""Rate limits of providers of language models, in virtual time: nothing is shed while they last, and then by tier."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import httpx2
import openai as openai_errors
import pytest
from openai import OpenAI

from atrion import Atrion, FlowRejected
from atrion.integrations.llm import guard
from atrion.propagation import use
from atrion.testing import VirtualClock
from packages.atrion.tests.frameworks.llm_provider import (
    START,
    TIERS,
    Headers,
    Limit,
    Provider,
    Run,
    anthropic,
    azure,
    mixed,
    openai,
    share,
)

PROVIDERS = [
    pytest.param({"headers": openai}, id="OpenAI"),
    pytest.param({"headers": openai, "fills": False}, id="a count that starts anew"),
    pytest.param({"headers": azure, "fills": False}, id="Azure"),
    pytest.param({"headers": anthropic(0.0), "vendor": "anthropic"}, id="Anthropic"),
    pytest.param({"headers": anthropic(-3600.0), "vendor": "anthropic"}, id="a clock that is an hour late"),
    pytest.param({"headers": anthropic(3600.0), "vendor": "anthropic"}, id="a clock that is an hour early"),
]
LIMITS = [pytest.param({"requests": 120.0}, id="requests"), pytest.param({"tokens": 24_000.0}, id="tokens")]


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("limit", LIMITS)
def test_nothing_is_refused_while_a_limit_suffices(provider: dict[str, Any], limit: dict[str, float]) -> None:
    counts = Run(**provider, **limit).play(mixed(1.6), 100.0)
    assert {result for _, result in counts} == {"served"}


@pytest.mark.slow
@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("limit", LIMITS)
def test_lower_tiers_give_way_where_a_limit_runs_short(
    provider: dict[str, Any], limit: dict[str, float]
) -> None:
    run = Run(**provider, **limit)
    run.play(mixed(6.0), 60.0)  # what had been left is used up
    counts = run.play(mixed(6.0), 120.0)
    served = [share(counts, tier) for tier in TIERS]
    assert served[0] >= 0.9
    assert served[1] > served[2] > 0.0
    assert served[3] < 0.35
    assert served[4] < 0.35
    refused = sum(count for (_, result), count in counts.items() if result == "refused")
    assert refused <= 0.03 * counts.total()
    done = sum(count for (_, result), count in counts.items() if result == "served")
    assert done >= 0.93 * 2.0 * 120.0  # what the limit allows is used


def test_half_of_a_limit_is_no_reason_to_refuse_a_burst() -> None:
    run = Run(requests=60.0)
    run.provider.requests.left = 50.0
    run.send("normal")
    assert {run.send(tier) for tier in 4 * TIERS} == {"served"}


def test_the_little_that_is_left_is_enough_for_little_demand() -> None:
    run = Run(requests=600.0, fills=False, headers=openai)
    run.play({"bulk": 2.0}, 30.0)
    run.provider.requests.left = 20.0  # others have used the rest; half a minute is left
    assert run.play({"bulk": 0.3}, 28.0).keys() == {("bulk", "served")}


def test_what_other_processes_use_counts() -> None:
    run = Run(requests=600.0)

    def others() -> None:
        if run.rng.random() < 0.25:
            for _ in range(4):
                run.provider.take(0.0)

    run.send("normal")
    run.provider.requests.left = 60.0
    run.play(mixed(6.0), 60.0, others)
    counts = run.play(mixed(6.0), 120.0, others)
    assert share(counts, "critical") >= 0.95
    assert share(counts, "bulk") < share(counts, "normal")
    assert share(counts, "normal", "refused") < 0.1


def test_all_is_served_again_when_the_demand_is_over() -> None:
    run = Run(requests=120.0)
    run.play(mixed(8.0), 120.0)
    run.play(mixed(1.0), 15.0)
    assert {result for _, result in run.play(mixed(1.0), 60.0)} == {"served"}


def test_a_rejection_says_when_enough_is_back() -> None:
    run = Run(requests=120.0)
    run.play(mixed(8.0), 120.0)
    waits = []
    for _ in range(50):
        try:
            with use(tier="bulk"):
                run.ask()
        except FlowRejected as shed:
            waits.append(shed.decision.retry_after)
        run.clock.advance(0.1)
    assert waits
    assert all(0.0 < wait <= 60.0 for wait in waits)


def tomorrow(provider: Provider, now: float) -> Headers:
    date = START + timedelta(days=1, seconds=now)
    until = date + timedelta(seconds=20)
    return {"date": format_datetime(date, usegmt=True), "retry-after": format_datetime(until, usegmt=True)}


def test_a_date_to_retry_after_is_by_the_clock_of_the_provider() -> None:
    run = Run(tomorrow, requests=1.0)
    assert [run.send("normal"), run.send("normal")] == ["served", "refused"]
    with pytest.raises(FlowRejected) as shed:
        run.ask()
    assert shed.value.decision.retry_after == pytest.approx(20.0)


def test_a_model_that_is_used_up_is_passed_over_until_it_has_recovered() -> None:
    clock = VirtualClock()
    engine = Atrion(clock=clock)
    large, small = (Provider(clock, Limit(size), Limit(1e9), openai) for size in (30.0, 6000.0))
    both = httpx2.MockTransport(
        lambda request: (large if b'"large"' in request.content else small).handle_request(request)
    )
    client = guard(OpenAI(api_key="k", max_retries=0), engine, http={"transport": both})
    routes = ["api.openai.com/large", "api.openai.com/small"]

    def asked(model: str) -> str:
        try:
            client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": "x"}], max_tokens=1
            )
        except FlowRejected:
            return "shed"
        except openai_errors.RateLimitError:
            return "refused"
        return model

    def played(calls: int, rate: float) -> Counter[str]:
        counts: Counter[str] = Counter()
        for _ in range(calls):
            clock.advance(1.0 / rate)
            model = engine.select(routes).rpartition("/")[2]
            result = asked(model)
            counts[asked("small") if result == "shed" else result] += 1
        return counts

    played(300, 10.0)
    used_up = played(300, 10.0)
    assert 10 <= used_up["large"] <= 25  # half a request a second comes back
    assert used_up["shed"] == 0
    assert used_up["refused"] <= 10
    played(30, 0.5)
    assert played(40, 0.5)["large"] >= 10


def silly(provider: Provider, now: float) -> Headers:
    """Headers that make no sense, in turn."""
    words = [
        "-1",
        "nan",
        "inf",
        "1e999",
        "",
        "soon",
        "9" * 400,
        "0x10",
        "-0",
        "6m0",
        "1h2",
        "٣",
        "1s1s1s" * 30,
    ]
    word = words[int(provider.requests.left) % len(words)]
    names = (
        "requests",
        "tokens",
        "project-tokens",
        "tokens_usage_based",
        *(f"{chr(97 + n)}-tokens" for n in range(20)),
    )
    told = {f"x-ratelimit-{what}-{name}": word for name in names for what in ("limit", "remaining", "reset")}
    for name in ("requests", "tokens", "input-tokens", "output-tokens"):
        for what in ("limit", "remaining", "reset"):
            told[f"anthropic-ratelimit-{name}-{what}"] = word
    told["anthropic-ratelimit-tokens-reset"] = "2026-99-01T00:00:00Z"
    return {name: value.encode("utf-8").decode("latin-1") for name, value in told.items()} | {
        "date": word[:9]
    }


def test_headers_that_make_no_sense_change_nothing() -> None:
    counts = Run(silly).play(mixed(10.0), 30.0)
    assert {result for _, result in counts} == {"served"}


def exhausted(provider: Provider, now: float) -> Headers:
    return {
        "x-ratelimit-limit-requests": "100",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "999h",
    }


def test_a_limit_that_is_used_up_delays_what_does_not_fit() -> None:
    run = Run(requests=60.0)
    run.play({"normal": 5.0}, 60.0)
    counts = run.play({"normal": 5.0}, 60.0)
    assert counts["normal", "served"] >= 55
    assert counts["normal", "refused"] <= 15


def test_a_limit_that_is_used_up_although_requests_succeed_is_not_believed() -> None:
    run = Run(exhausted)
    run.play({"critical": 1.0}, 20.0)
    assert run.play(mixed(2.0), 60.0).keys() == {(tier, "served") for tier in TIERS}
