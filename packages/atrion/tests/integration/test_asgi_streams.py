"""What the middleware takes for the latency, the end and the outcome of a stream."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from atrion import Outcome
from packages.atrion.tests.integration.asgi_services import serve
from packages.atrion.tests.integration.asgi_watched import (
    QUICK,
    ROUTE,
    Watched,
    in_flight,
    starlette,
    streaming,
)
from packages.atrion.tests.waiting import eventually


@pytest.fixture
def engine() -> Watched:
    return Watched()


def test_a_streams_latency_is_the_time_to_its_first_byte(engine: Watched) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b""
        await asyncio.sleep(0.3)
        yield b"first"
        await asyncio.sleep(0.6)
        yield b"last"

    with serve(streaming(engine, body)) as client:
        with client.stream("GET", "/") as response:
            chunks = response.iter_raw()
            assert next(chunks) == b"first"
            assert in_flight(engine) == 1
            assert b"".join(chunks) == b"last"
        assert eventually(lambda: in_flight(engine) == 0)
    assert engine.ended() == [Outcome.SUCCESS]
    assert 0.29 < engine.latency() < 0.3 + QUICK


def test_an_event_stream_has_answered_once_it_is_open(engine: Watched) -> None:
    async def body() -> AsyncIterator[bytes]:
        await asyncio.sleep(0.5)
        yield b"data: at last\n\n"

    with serve(streaming(engine, body, "text/event-stream")) as client:
        assert client.get("/").text == "data: at last\n\n"
        assert eventually(lambda: engine.ended() == [Outcome.SUCCESS])
    assert engine.latency() < QUICK


@pytest.mark.parametrize("media_type", ["text/event-stream", "application/x-ndjson"])
def test_a_reader_that_leaves_a_stream_is_nobodys_fault(media_type: str, engine: Watched) -> None:
    async def body() -> AsyncIterator[bytes]:
        while True:
            yield b"data: tick\n\n"
            await asyncio.sleep(0.02)

    with serve(streaming(engine, body, media_type)) as client:
        with client.stream("GET", "/") as response:
            chunks = response.iter_raw()
            assert next(chunks) == b"data: tick\n\n"
            assert in_flight(engine) == 1
        assert eventually(lambda: in_flight(engine) == 0)
    assert engine.ended() == [Outcome.IGNORED]


@pytest.mark.parametrize("media_type", ["text/event-stream", "application/x-ndjson"])
def test_an_error_in_the_middle_of_a_stream_is_a_failure(media_type: str, engine: Watched) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"data: tick\n\n"
        raise RuntimeError("boom")

    with serve(streaming(engine, body, media_type)) as client, pytest.raises(httpx.RemoteProtocolError):
        client.get("/")
    assert engine.ended() == [Outcome.FAILURE]


@pytest.mark.parametrize("status,outcome", [(404, Outcome.IGNORED), (500, Outcome.FAILURE)])
def test_an_error_that_is_streamed_is_an_error(status: int, outcome: Outcome, engine: Watched) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"sorry"

    async def page(request: Request) -> Response:
        return StreamingResponse(body(), status)

    with serve(starlette(engine, page)) as client:
        assert client.get("/").text == "sorry"
        assert eventually(lambda: engine.ended() == [outcome])
    assert engine.routes[ROUTE].window.successes_total == 0


def test_open_event_streams_shed_nobody(engine: Watched) -> None:
    close = threading.Event()

    async def body() -> AsyncIterator[bytes]:
        while not close.is_set():
            yield b"data: tick\n\n"
            await asyncio.sleep(0.05)

    with serve(streaming(engine, body, "text/event-stream")) as client:
        codes = []

        def listen() -> None:
            with httpx.stream("GET", client.base_url, timeout=10.0, trust_env=False) as response:
                codes.append(response.status_code)
                for _ in response.iter_raw():
                    pass

        threads = [threading.Thread(target=listen) for _ in range(12)]
        for thread in threads:
            thread.start()
            time.sleep(0.1)
        time.sleep(1.0)
        with client.stream("GET", "/") as response:
            codes.append(response.status_code)
        close.set()
        for thread in threads:
            thread.join(10.0)
    assert codes == [200] * 13
