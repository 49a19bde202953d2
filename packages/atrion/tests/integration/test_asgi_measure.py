"""What the middleware takes for a call's latency, its end and its outcome, over real HTTP."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import Any

import httpx
import pytest
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from atrion import Atrion, Outcome
from atrion.testing import VirtualClock
from packages.atrion.tests.integration.asgi_services import serve
from packages.atrion.tests.integration.asgi_watched import QUICK, Watched, in_flight, starlette, under
from packages.atrion.tests.waiting import eventually


@pytest.fixture
def engine() -> Watched:
    return Watched()


def address(client: httpx.Client) -> tuple[str, int]:
    assert client.base_url.port is not None
    return client.base_url.host, client.base_url.port


@pytest.mark.parametrize("fate", ["returns", "raises", "is cancelled"])
def test_what_comes_after_the_last_byte_is_neither_latency_nor_failure(fate: str, engine: Watched) -> None:
    begun = threading.Event()
    over = threading.Event()

    async def mail() -> None:
        begun.set()
        await asyncio.sleep(3 * QUICK)
        over.set()
        if fate == "raises":
            raise RuntimeError("no mail today")
        if fate == "is cancelled":
            raise asyncio.CancelledError

    def order(request: Request) -> Response:
        return PlainTextResponse("ok", background=BackgroundTask(mail))

    with serve(starlette(engine, order)) as client:
        assert client.get("/").text == "ok"
        assert begun.wait(5.0)
        assert (engine.ended(), in_flight(engine), over.is_set()) == ([Outcome.SUCCESS], 0, False)
        assert over.wait(5.0)
    assert engine.ended() == [Outcome.SUCCESS]
    assert engine.latency() < QUICK


def test_a_server_error_is_a_failure_at_its_last_byte(engine: Watched) -> None:
    hold = threading.Event()

    def broken(request: Request) -> Response:
        return PlainTextResponse("", 500, background=BackgroundTask(hold.wait, 5.0))

    with serve(starlette(engine, broken)) as client:
        assert client.get("/").status_code == 500
        assert eventually(lambda: engine.ended() == [Outcome.FAILURE])
        hold.set()


@pytest.mark.parametrize("chunks", [0, 1])
def test_an_answer_cut_short_is_a_failure(chunks: int, engine: Watched) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(chunks):
            await send({"type": "http.response.body", "body": b"half", "more_body": True})

    with serve(under(engine, app)) as client, pytest.raises(httpx.RemoteProtocolError):
        client.get("/")
    assert engine.ended() == [Outcome.FAILURE]


@pytest.mark.parametrize("kind", ["http.response.pathsend", "http.response.zerocopysend"])
def test_a_file_sent_by_the_server_ends_a_call_too(kind: str, engine: Watched) -> None:
    seen: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": iter([(b"x-a", b"b")])})
        await send({"type": kind})
        seen.append(in_flight(engine))
        raise RuntimeError("afterwards")

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)
        if message["type"] == kind:
            seen.append(in_flight(engine))

    async def receive() -> Any:
        raise AssertionError

    with pytest.raises(RuntimeError, match="afterwards"):
        asyncio.run(under(engine, app)({"type": "http", "path": "/"}, receive, send))
    assert seen == [1, 0]
    assert list(sent[0]["headers"]) == [(b"x-a", b"b")]
    assert engine.ended() == [Outcome.SUCCESS]


def test_a_slow_upload_is_not_the_services_time(engine: Watched) -> None:
    async def upload(request: Request) -> Response:
        return PlainTextResponse(str(len(await request.body())))

    with serve(starlette(engine, upload)) as client, socket.create_connection(address(client)) as phone:
        phone.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n")
        for _ in range(4):
            time.sleep(0.2)
            phone.sendall(b"x")
        assert b"200 OK" in phone.recv(4096)
        assert eventually(lambda: engine.ended() == [Outcome.SUCCESS])
    assert engine.latency() < QUICK


def test_what_the_service_does_between_two_waits_is_its_time(engine: Watched) -> None:
    async def upload(request: Request) -> Response:
        async for chunk in request.stream():
            await asyncio.sleep(0.3 if chunk else 0.0)
        return PlainTextResponse("ok")

    with serve(starlette(engine, upload)) as client, socket.create_connection(address(client)) as phone:
        phone.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n")
        for _ in range(2):
            time.sleep(0.7)
            phone.sendall(b"x")
        assert b"200 OK" in phone.recv(4096)
        assert eventually(lambda: engine.ended() == [Outcome.SUCCESS])
    assert 0.59 < engine.latency() < 0.6 + QUICK


def test_waiting_for_the_client_to_leave_is_no_wait_for_its_body(engine: Watched) -> None:
    async def poll(request: Request) -> Response:
        await request.body()
        watch = asyncio.ensure_future(request.receive())
        await asyncio.sleep(0.3)
        watch.cancel()
        return PlainTextResponse("ok")

    with serve(starlette(engine, poll)) as client:
        assert client.post("/", content=b"x").text == "ok"
        assert eventually(lambda: engine.ended() == [Outcome.SUCCESS])
    assert 0.29 < engine.latency() < 0.3 + QUICK


def test_a_slow_reader_is_not_the_services_time(engine: Watched) -> None:
    size = 40_000_000

    async def download(request: Request) -> Response:
        return PlainTextResponse(b"x" * size)

    async def chunked(scope: Any, receive: Any, send: Any) -> None:
        """A server's ``send`` that waits for the reader."""

        async def slow(message: Any) -> None:
            await asyncio.sleep(0.4)
            await send(message)

        await guarded(scope, receive, slow)

    guarded = starlette(engine, download)
    with serve(chunked) as client:
        assert len(client.get("/").content) == size
        assert eventually(lambda: engine.ended() == [Outcome.SUCCESS])
    assert engine.latency() < QUICK


def test_waits_at_the_same_time_are_one(engine: Watched) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        reading = asyncio.ensure_future(receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await reading
        await asyncio.sleep(0.3)
        await send({"type": "http.response.body"})

    async def receive() -> Any:
        await asyncio.sleep(0.5)
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        await asyncio.sleep(0.4)

    asyncio.run(under(engine, app)({"type": "http", "path": "/"}, receive, send))
    assert 0.29 < engine.latency() < 0.3 + QUICK


def test_an_answer_below_500_that_is_raised_is_the_callers_fault(engine: Watched) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise HTTPException(404)

    with serve(under(engine, app)) as client:
        assert client.get("/").status_code == 500  # nobody turns it into an answer
    assert engine.ended() == [Outcome.IGNORED]


class Deaf:
    """An engine whose flows cannot measure anything."""

    active = True
    disabled = False

    def flow(self, *args: Any, **kwargs: Any) -> Any:
        return self

    def decide(self) -> Any:
        return self

    allowed = True

    def __getattr__(self, name: str) -> Any:
        raise ZeroDivisionError(name)


def test_a_flow_that_cannot_measure_breaks_nothing() -> None:
    async def echo(request: Request) -> Response:
        return PlainTextResponse(await request.body())

    with serve(starlette(Deaf(), echo)) as client:  # type: ignore[arg-type]  # broken on purpose
        assert [client.post("/", content=b"hello").text for _ in range(3)] == ["hello"] * 3


class StoppedClock(VirtualClock):
    """A clock that fails once it is stopped."""

    stopped = False

    def monotonic(self) -> float:
        if self.stopped:
            raise OSError("the clock has stopped")
        return super().monotonic()


def test_a_clock_that_fails_during_a_request_breaks_nothing() -> None:
    clock = StoppedClock()

    async def echo(request: Request) -> Response:
        clock.stopped = True
        return PlainTextResponse(await request.body())

    with serve(starlette(Atrion(clock=clock), echo)) as client:
        assert client.post("/", content=b"hello").text == "hello"
