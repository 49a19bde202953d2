"""The calls of the conformance table by every library that speaks HTTP."""

from __future__ import annotations

import asyncio
import random
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, TypeVar

import aiohttp
import httpx
import requests

from atrion.integrations.aiohttp_client import guard
from atrion.integrations.httpx import AsyncAtrionTransport, AtrionTransport
from atrion.integrations.requests import install
from atrion.integrations.urllib3 import AtrionPoolManager
from packages.atrion.tests.conformance.outgoing import Caller, Outgoing, Upstream
from packages.atrion.tests.conformance.serving import served_by_threads, until
from packages.atrion.tests.conformance.subject import Recorder, eventually, in_background

__all__ = ["HTTP_CLIENTS", "Loop", "http_upstream"]

T = TypeVar("T")


@contextmanager
def http_upstream() -> Iterator[Upstream]:
    upstream = Upstream(0)

    def app(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        upstream.seen.append(path)
        if path == "/hold":
            upstream.gate.wait(20.0)
        status = {
            "/missing": "404 Not Found",
            "/broken": "500 Server Error",
            "/busy": "429 Too Many Requests",
        }
        headers = [("content-type", "text/plain")]
        if path == "/busy":
            headers.append(("retry-after", "30"))
        start(status.get(path, "200 OK"), headers)
        return until(upstream.gate) if path == "/stream" else [b"ok"]

    with served_by_threads(app) as client:
        upstream.port = client.port
        yield upstream


def dead_port() -> int:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port: int = closed.getsockname()[1]
        return port


class Urls(Caller):
    """Where operations are found."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    def url(self, operation: str) -> str:
        port = dead_port() if operation == "dead" else self._upstream.port
        return f"http://127.0.0.1:{port}/{operation}"


class Loop:
    """An event loop in a thread, for libraries that need one."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()

    @contextmanager
    def running(self) -> Iterator[None]:
        with in_background(self.loop.run_forever, lambda: self.loop.call_soon_threadsafe(self.loop.stop)):
            yield
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30.0)

    def cancel_in_the_middle(self, make: Callable[[], Coroutine[Any, Any, Any]], rng: random.Random) -> None:
        future = asyncio.run_coroutine_threadsafe(make(), self.loop)
        threading.Event().wait(0.03 * rng.random())
        future.cancel()
        with suppress(BaseException):
            future.result(30.0)


class HttpClients(Outgoing):
    @contextmanager
    def upstream(self) -> Iterator[Upstream]:
        with http_upstream() as upstream:
            yield upstream


class Httpx(HttpClients):
    title = "httpx"

    @contextmanager
    def caller(self, upstream: Upstream, engine: Recorder, options: dict[str, Any]) -> Iterator[Caller]:
        with httpx.Client(transport=AtrionTransport(engine, **options)) as client:

            class Calls(Urls):
                def ask(self, operation: str, timeout: float = 20.0) -> None:
                    client.get(self.url(operation), timeout=timeout)

                @contextmanager
                def stream(self) -> Iterator[Iterator[bytes]]:
                    with client.stream("GET", self.url("stream")) as response:
                        yield response.iter_raw()

            yield Calls(upstream)


class AsyncCalls(Urls):
    """Calls on an event loop."""

    def __init__(self, upstream: Upstream, loop: Loop) -> None:
        super().__init__(upstream)
        self.loop = loop

    async def asked(self, operation: str, timeout: float = 20.0) -> None: ...

    @asynccontextmanager
    async def streamed(self) -> AsyncIterator[AsyncIterator[bytes]]:
        raise NotImplementedError
        yield

    def ask(self, operation: str, timeout: float = 20.0) -> None:
        self.loop.run(self.asked(operation, timeout))

    @contextmanager
    def stream(self) -> Iterator[Iterator[bytes]]:
        opened = self.streamed()
        chunks = self.loop.run(opened.__aenter__())

        def each() -> Iterator[bytes]:
            while chunk := self.loop.run(anext(chunks, b"")):  # type: ignore[arg-type]  # an awaitable is enough
                yield chunk

        try:
            yield each()
        finally:
            self.loop.run(opened.__aexit__(None, None, None))


class Cancelled(HttpClients):
    """A library whose calls may be cancelled."""

    def cancels(self) -> str:
        rng = random.Random(2)
        with self.session() as (engine, _, caller):
            assert isinstance(caller, AsyncCalls)
            for _ in range(30):
                operation = rng.choice(["hold", "item", "dead"])
                caller.loop.cancel_in_the_middle(lambda: caller.asked(operation), rng)  # noqa: B023
            eventually(lambda: engine.in_flight() == 0)
        return ", cancellation"


class AsyncHttpx(Cancelled):
    title = "httpx, async"

    @contextmanager
    def caller(self, upstream: Upstream, engine: Recorder, options: dict[str, Any]) -> Iterator[Caller]:
        loop = Loop()
        with loop.running():
            client = httpx.AsyncClient(transport=AsyncAtrionTransport(engine, **options))

            class Calls(AsyncCalls):
                async def asked(self, operation: str, timeout: float = 20.0) -> None:
                    await client.get(self.url(operation), timeout=timeout)

                @asynccontextmanager
                async def streamed(self) -> AsyncIterator[AsyncIterator[bytes]]:
                    async with client.stream("GET", self.url("stream")) as response:
                        yield response.aiter_raw()

            yield Calls(upstream, loop)
            loop.run(client.aclose())


class Aiohttp(Cancelled):
    title = "aiohttp client"

    @contextmanager
    def caller(self, upstream: Upstream, engine: Recorder, options: dict[str, Any]) -> Iterator[Caller]:
        loop = Loop()

        async def opened() -> aiohttp.ClientSession:
            return aiohttp.ClientSession(middlewares=[guard(engine, **options)])

        with loop.running():
            session = loop.run(opened())

            class Calls(AsyncCalls):
                async def asked(self, operation: str, timeout: float = 20.0) -> None:
                    limit = aiohttp.ClientTimeout(timeout)
                    async with session.get(self.url(operation), timeout=limit) as response:
                        await response.read()

                @asynccontextmanager
                async def streamed(self) -> AsyncIterator[AsyncIterator[bytes]]:
                    async with session.get(self.url("stream")) as response:
                        yield response.content.iter_any()

            yield Calls(upstream, loop)
            loop.run(session.close())


class Requests(HttpClients):
    title = "requests"

    @contextmanager
    def caller(self, upstream: Upstream, engine: Recorder, options: dict[str, Any]) -> Iterator[Caller]:
        with requests.Session() as session:
            session.trust_env = False
            install(session, engine, **options)

            class Calls(Urls):
                def ask(self, operation: str, timeout: float = 20.0) -> None:
                    session.get(self.url(operation), timeout=timeout)

                @contextmanager
                def stream(self) -> Iterator[Iterator[bytes]]:
                    with session.get(self.url("stream"), stream=True, timeout=20.0) as response:
                        yield response.raw.stream(8)

            yield Calls(upstream)


class Urllib3(HttpClients):
    title = "urllib3"

    @contextmanager
    def caller(self, upstream: Upstream, engine: Recorder, options: dict[str, Any]) -> Iterator[Caller]:
        with AtrionPoolManager(engine, manager={"retries": False}, **options) as manager:

            class Calls(Urls):
                def ask(self, operation: str, timeout: float = 20.0) -> None:
                    manager.request("GET", self.url(operation), timeout=timeout)

                @contextmanager
                def stream(self) -> Iterator[Iterator[bytes]]:
                    response = manager.request("GET", self.url("stream"), preload_content=False, timeout=20.0)
                    try:
                        yield response.stream(8)
                    finally:
                        response.close()

            yield Calls(upstream)


HTTP_CLIENTS = (Httpx(), AsyncHttpx(), Requests(), Urllib3(), Aiohttp())
