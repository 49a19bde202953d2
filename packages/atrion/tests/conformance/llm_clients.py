"""The calls of the conformance table by clients of language models, to a service that speaks their languages."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anthropic
import openai

from atrion.integrations.llm import guard
from packages.atrion.tests.conformance.http_clients import AsyncCalls, Cancelled, HttpClients, Loop, Urls
from packages.atrion.tests.conformance.outgoing import Caller, Upstream
from packages.atrion.tests.conformance.serving import served_by_threads
from packages.atrion.tests.conformance.subject import Recorder

__all__ = ["LLM_CLIENTS", "MESSAGES", "model_upstream"]

MESSAGES: Any = [{"role": "user", "content": "What is resistance?"}]
CHAT = {
    "id": "1",
    "object": "chat.completion",
    "created": 0,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "Voltage over current."},
        }
    ],
    "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12},
}
MESSAGE = {
    "id": "1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "Voltage over current."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 5, "output_tokens": 7},
}
STATUSES = {"missing": "404 Not Found", "broken": "500 Server Error", "busy": "429 Too Many Requests"}


def event(kind: str, data: dict[str, Any]) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode()


def anthropic_events(upstream: Upstream) -> Iterator[bytes]:
    begun = {**MESSAGE, "content": [], "usage": {"input_tokens": 5, "output_tokens": 1}}
    yield event("message_start", {"message": begun})
    yield event("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}})
    until = time.monotonic() + 20.0
    while not upstream.gate.wait(0.02) and time.monotonic() < until:
        yield event("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": "Ohm. "}})
    yield event("content_block_stop", {"index": 0})
    yield event("message_delta", {"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}})
    yield event("message_stop", {})


def openai_events(upstream: Upstream) -> Iterator[bytes]:
    def chunk(data: dict[str, Any]) -> bytes:
        return f"data: {json.dumps({**CHAT, 'object': 'chat.completion.chunk', 'usage': None, **data})}\n\n".encode()

    said = [{"index": 0, "finish_reason": None, "delta": {"content": "Ohm. "}}]
    yield chunk({"choices": said})
    until = time.monotonic() + 20.0
    while not upstream.gate.wait(0.02) and time.monotonic() < until:
        yield chunk({"choices": said})
    yield chunk({"choices": [], "usage": CHAT["usage"]})
    yield b"data: [DONE]\n\n"


@contextmanager
def model_upstream() -> Iterator[Upstream]:
    """A service whose models are the operations of callers."""
    upstream = Upstream(0)

    def app(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        body = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        operation = body["model"]
        upstream.seen.append(operation)
        if operation == "hold":
            upstream.gate.wait(20.0)
        claude = environ["PATH_INFO"].endswith("/messages")
        streamed = body.get("stream", False)
        headers = [("content-type", "text/event-stream" if streamed else "application/json")]
        if operation == "busy":
            headers.append(("retry-after", "30"))
        start(STATUSES.get(operation, "200 OK"), headers)
        if streamed:
            return anthropic_events(upstream) if claude else openai_events(upstream)
        return [json.dumps(MESSAGE if claude else CHAT).encode()]

    with served_by_threads(app) as client:
        upstream.port = client.port
        yield upstream


class Vendor(Urls):
    """A vendor's guarded clients of the service, and of one that is dead; each is made once."""

    def __init__(self, upstream: Upstream, vendor: Any, engine: Recorder, options: dict[str, Any]) -> None:
        super().__init__(upstream)
        self._vendor = vendor
        self._guards = lambda client: guard(client, engine, http={"trust_env": False}, **options)
        self.clients: dict[bool, Any] = {}

    def client(self, operation: str) -> Any:
        dead = operation == "dead"
        if dead not in self.clients:
            self.clients[dead] = self._guards(self._made(self.url(operation).removesuffix(f"/{operation}")))
        return self.clients[dead]

    def _made(self, base: str) -> Any:
        name = self._vendor.__name__
        if "Azure" in name:
            return self._vendor(api_key="k", azure_endpoint=base, api_version="2024-10-21", max_retries=0)
        path = "" if "Anthropic" in name else "/v1"
        return self._vendor(api_key="k", base_url=base + path, max_retries=0)


def asked(client: Any, **options: Any) -> Any:
    """Ask for an answer, or a stream of it."""
    create = client.messages.create if hasattr(client, "messages") else client.chat.completions.create
    return create(messages=MESSAGES, max_tokens=50, **options)


class Models(HttpClients):
    busy_text = "429, 503 and 529 with `Retry-After` are obeyed"
    names_text = "`host:port/model`, or `dependency=`"

    def __init__(self, title: str, vendor: Any) -> None:
        self.title = title
        self.vendor = vendor

    def route(self, upstream: Upstream) -> str:
        return f"127.0.0.1:{upstream.port}/item"

    @contextmanager
    def upstream(self) -> Iterator[Upstream]:
        with model_upstream() as upstream:
            yield upstream

    @contextmanager
    def caller(self, upstream: Upstream, engine: Recorder, options: dict[str, Any]) -> Iterator[Caller]:
        class Calls(Vendor):
            def ask(self, operation: str, timeout: float = 20.0) -> None:
                asked(self.client(operation), model=operation, timeout=timeout)

            @contextmanager
            def stream(self) -> Iterator[Iterator[bytes]]:
                with asked(self.client("stream"), model="stream", stream=True) as events:
                    yield iter(events)

        calls = Calls(upstream, self.vendor, engine, options)
        yield calls
        for client in calls.clients.values():
            client.close()


class AsyncModels(Models, Cancelled):
    @contextmanager
    def caller(self, upstream: Upstream, engine: Recorder, options: dict[str, Any]) -> Iterator[Caller]:
        loop = Loop()
        vendor = Vendor(upstream, self.vendor, engine, options)

        class Calls(AsyncCalls):
            async def asked(self, operation: str, timeout: float = 20.0) -> None:
                await asked(vendor.client(operation), model=operation, timeout=timeout)

            @asynccontextmanager
            async def streamed(self) -> AsyncIterator[AsyncIterator[bytes]]:
                async with await asked(vendor.client("stream"), model="stream", stream=True) as events:
                    yield aiter(events)

        with loop.running():
            yield Calls(upstream, loop)
            for client in vendor.clients.values():
                loop.run(client.close())


LLM_CLIENTS = (
    Models("OpenAI", openai.OpenAI),
    AsyncModels("OpenAI, async", openai.AsyncOpenAI),
    Models("Azure OpenAI", openai.AzureOpenAI),
    Models("Anthropic", anthropic.Anthropic),
    AsyncModels("Anthropic, async", anthropic.AsyncAnthropic),
)
