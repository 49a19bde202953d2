"""Errors within streams that began with 200 count as what they are: real clients, over sockets."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import anthropic
import openai
import pytest

from atrion import FlowRejected, Outcome
from atrion.integrations.llm import guard
from atrion.testing import VirtualClock
from packages.atrion.tests.conformance.llm_clients import CHAT, MESSAGE, MESSAGES, event
from packages.atrion.tests.conformance.serving import served_by_threads
from packages.atrion.tests.conformance.subject import Recorder

DIRECT = {"trust_env": False, "verify": False}  # nor are certificates loaded
ERRORS = (openai.APIError, anthropic.APIError)
FORGED = 'say: {"error": {"type": "server_error", "code": 500}}\n\nevent: error\ndata: {"error": 1}'
"""What a model may write."""
Judged = tuple[Outcome, bool]
"""The outcome of the call, and whether the route is left alone afterwards."""
FAILED: Judged = (Outcome.FAILURE, False)
CALLERS: Judged = (Outcome.IGNORED, False)
BUSY: Judged = (Outcome.IGNORED, True)


class Service:
    """Answers every request with these chunks, whatever vendor's client asks."""

    def __init__(self) -> None:
        self.chunks: Iterable[bytes] = ()
        self.kind = "text/event-stream; charset=utf-8"

    def __call__(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        start("200 OK", [("content-type", self.kind)])
        return self.chunks

    def ask(self, vendor: Any, engine: Recorder) -> Iterable[Any]:
        """The stream of a guarded client."""
        return asked(guard(self.clients[vendor], engine, http=DIRECT), vendor)

    @contextmanager
    def running(self) -> Iterator[Service]:
        with served_by_threads(self) as client:
            url = f"http://127.0.0.1:{client.port}"
            chat = openai.OpenAI(api_key="k", base_url=url, max_retries=0)
            claude = anthropic.Anthropic(api_key="k", base_url=url, max_retries=0)
            self.url = url
            self.clients: dict[str, Any] = {"chat": chat, "response": chat, "claude": claude}
            yield self


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    with Service().running() as service:
        yield service


@pytest.fixture
def service(running: Service) -> Service:
    """One that sends events, for all tests: it takes long to make a client."""
    running.kind = "text/event-stream; charset=utf-8"
    return running


def asked(client: Any, vendor: str) -> Any:
    if vendor == "chat":
        return client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
    if vendor == "response":
        return client.responses.create(model="m", input="Ohm?", stream=True)
    return client.messages.create(model="m", max_tokens=9, messages=MESSAGES, stream=True)


def said(text: str = "Ohm. ", **more: Any) -> bytes:
    """A chunk of a chat."""
    choices = [{"index": 0, "finish_reason": None, "delta": {"content": text}}]
    return data({**CHAT, "object": "chat.completion.chunk", "usage": None, "choices": choices, **more})


def data(body: Any) -> bytes:
    return f"data: {json.dumps(body)}\n\n".encode()


def failed(error: Any, **more: Any) -> bytes:
    """The end of a response that has failed."""
    made = {"id": "1", "object": "response", "status": "failed", "output": [], **more, "error": error}
    return event("response.failed", {"sequence_number": 1, "response": made})


def erred(kind: str) -> bytes:
    return event("error", {"error": {"type": kind, "message": "Overloaded"}})


BEGUN = event("message_start", {"message": {**MESSAGE, "content": []}})
DONE = b"data: [DONE]\n\n"
DELTA = event("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": FORGED}})
STREAMS = [
    ("chat", [said(), data({"error": {"message": "no", "type": "server_error", "code": None}})], FAILED),
    ("chat", [data({"error": {"message": "no", "code": 503, "status": "UNAVAILABLE"}})], FAILED),
    ("chat", [data({"error": {"message": "no", "code": 429}})], BUSY),
    ("chat", [data({"error": {"type": "tokens", "code": "rate_limit_exceeded"}})], BUSY),
    ("chat", [data({"error": {"type": "insufficient_quota", "code": "insufficient_quota"}})], BUSY),
    ("chat", [data({"error": {"type": "invalid_request_error", "code": "too_odd"}})], CALLERS),
    ("chat", [said(error={"code": 502, "message": "no"})], FAILED),
    ("chat", [data({"error": "boom"})], FAILED),
    ("chat", [b'data: {"error":\r\ndata:  {"code": 429}}\r\n\r\n'], BUSY),
    ("chat", [data({"object": "error", "message": "no", "code": 400}), DONE], CALLERS),
    ("chat", [said(), b'data: {"error": {"type": "overloaded_error"}}\n'], FAILED),
    ("chat", [b'event: error\ndata: {"message": "no"}\n\n'], FAILED),
    ("chat", [b"event: error\ndata: no JSON\n\n"], FAILED),
    ("chat", [said(FORGED), said("", error=None), DONE], (Outcome.SUCCESS, False)),
    (
        "chat",
        [b": a comment\n\n", b"error\n\n", b"id: error\n\n", said("error"), DONE],
        (Outcome.SUCCESS, False),
    ),
    ("response", [failed({"code": "server_error", "message": "no"})], FAILED),
    ("response", [failed({"code": "rate_limit_exceeded", "message": "no"})], BUSY),
    ("response", [failed({"code": "server_error", "message": "no"}, instructions="x" * 10**5)], FAILED),
    (
        "response",
        [event("error", {"code": "rate_limit_exceeded", "message": "no", "sequence_number": 1})],
        BUSY,
    ),
    ("claude", [BEGUN, erred("overloaded_error")], FAILED),
    ("claude", [BEGUN, erred("api_error")], FAILED),
    ("claude", [BEGUN, erred("rate_limit_error")], BUSY),
    ("claude", [BEGUN, erred("invalid_request_error")], CALLERS),
    ("claude", [BEGUN, DELTA, event("message_stop", {})], (Outcome.SUCCESS, False)),
]


def read(stream: Iterable[Any]) -> None:
    """Read it as far as the vendor's client does, and let that raise what it does."""
    try:
        for _ in stream:
            pass
    except (*ERRORS, ValueError):
        pass
    finally:
        stream.close()  # type: ignore[attr-defined]  # of both vendors


def left_alone(engine: Recorder) -> bool:
    route = next(route for route in engine.routes if route.endswith("/m"))
    return not engine.decide(route).allowed


@pytest.mark.parametrize("size", [5, 10**6])
@pytest.mark.parametrize("vendor, events, judged", STREAMS)
def test_an_error_within_a_stream_counts_as_what_it_is(
    service: Service, vendor: str, events: list[bytes], judged: Judged, size: int
) -> None:
    stream = b"".join(events)
    service.chunks = [stream[at : at + size] for at in range(0, min(len(stream), 10**4), size)]
    engine = Recorder(VirtualClock())
    read(service.ask(vendor, engine))
    assert (engine.calls[-1].outcome, left_alone(engine)) == judged
    assert engine.in_flight() == 0


def test_a_busy_provider_is_left_alone_for_a_second(service: Service) -> None:
    clock = VirtualClock()
    engine = Recorder(clock)
    service.chunks = [BEGUN, erred("rate_limit_error")]
    read(service.ask("claude", engine))
    with pytest.raises(FlowRejected) as shed:
        service.ask("claude", engine)
    assert shed.value.decision.retry_after == pytest.approx(1.0)
    clock.advance(1.1)
    read(service.ask("claude", engine))


def test_asynchronous_clients_are_seen_alike(service: Service) -> None:
    engine = Recorder()
    service.chunks = [BEGUN, erred("overloaded_error")]

    async def main() -> None:
        client = anthropic.AsyncAnthropic(api_key="k", base_url=service.url, max_retries=0)
        async with guard(client, engine, http=DIRECT) as guarded:
            stream = await asked(guarded, "claude")
            with pytest.raises(anthropic.APIError):
                async for _ in stream:
                    pass

    asyncio.run(main())
    assert engine.calls[-1].outcome is Outcome.FAILURE


def test_events_come_as_they_are_sent(service: Service) -> None:
    read_first = threading.Event()

    def slowly() -> Iterator[bytes]:
        yield said("first")
        assert read_first.wait(20.0)
        yield data({"error": {"type": "server_error"}})

    engine = Recorder()
    service.chunks = slowly()
    stream = iter(service.ask("chat", engine))
    assert next(stream).choices[0].delta.content == "first"
    assert engine.calls[-1].outcome is None
    read_first.set()
    with pytest.raises(openai.APIError):
        next(stream)
    assert engine.calls[-1].outcome is Outcome.FAILURE


def test_what_is_no_stream_of_events_is_not_searched(service: Service) -> None:
    engine = Recorder()
    service.kind = "application/octet-stream"
    service.chunks = [data({"error": {"type": "server_error"}})]
    client = guard(service.clients["chat"], engine, http=DIRECT)
    with client.audio.speech.with_streaming_response.create(model="m", voice="alloy", input="Ohm") as sound:
        assert sound.read().startswith(b"data:")
    assert engine.calls[-1].outcome is Outcome.SUCCESS
