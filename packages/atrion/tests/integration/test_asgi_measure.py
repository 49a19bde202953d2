"""What the middleware takes for a call's latency, its end and its outcome, over real HTTP."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from atrion import Atrion, Call, FlowRejected, Outcome, PhysicsVector
from atrion.control.base import Key
from atrion.integrations.asgi import AtrionMiddleware
from atrion.physics.voltage import TierLike
from atrion.testing import VirtualClock

ROUTE = "r"
QUICK = 0.25
"""Seconds that an idle service may need on a busy machine; every wait below is far longer."""


class Watched(Atrion):
    """An engine that keeps the flows of ``ROUTE``."""

    def __init__(self) -> None:
        super().__init__()
        self.flows: list[Call] = []

    def flow(self, route_id: str, tier: TierLike | None = None, *, key: Key | None = None) -> Call:
        made = super().flow(route_id, tier, key=key)
        if route_id == ROUTE:
            self.flows.append(made)
        return made

    def ended(self) -> list[Outcome]:
        """How the calls that are over ended."""
        return [flow.outcome for flow in self.flows if flow.outcome is not None]

    def latency(self) -> float:
        """Seconds of the only call."""
        (flow,) = self.flows
        assert flow.latency is not None
        return flow.latency


@pytest.fixture
def engine() -> Watched:
    return Watched()


@contextmanager
def serve(app: Any) -> Iterator[httpx.Client]:
    config = uvicorn.Config(app, port=0, log_level="critical", ws="none", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert eventually(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10.0, trust_env=False) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(10.0)


def eventually(what: Callable[[], bool]) -> bool:
    """Whether ``what`` becomes true within five seconds."""
    for _ in range(500):
        if what():
            return True
        time.sleep(0.01)
    return False


def under(engine: Watched, app: Any) -> AtrionMiddleware:
    return AtrionMiddleware(app, engine, route=lambda scope: ROUTE)


def starlette(engine: Watched, endpoint: Any, **options: Any) -> Starlette:
    """The middleware where Starlette puts it, in front of one page ``/``."""
    guard = Middleware(AtrionMiddleware, atrion=engine, route=lambda scope: ROUTE)
    return Starlette(routes=[Route("/", endpoint, methods=["GET", "POST"])], middleware=[guard], **options)


def in_flight(engine: Watched) -> int:
    return engine.snapshot()[ROUTE].in_flight


def address(client: httpx.Client) -> tuple[str, int]:
    assert client.base_url.port is not None
    return client.base_url.host, client.base_url.port


# --- the end of a call ---------------------------------------------------------------------------------------


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


# --- waiting for the client ----------------------------------------------------------------------------------


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


# --- streams -------------------------------------------------------------------------------------------------


def streaming(
    engine: Watched, body: Callable[[], AsyncIterator[bytes]], media_type: str | None = None
) -> Any:
    def page(request: Request) -> Response:
        return StreamingResponse(body(), media_type=media_type)

    return starlette(engine, page)


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


# --- a rejection from further in -----------------------------------------------------------------------------


def needs_a_bank(engine: Watched, grouped: bool = False) -> FastAPI:
    app = FastAPI()

    @app.get("/")
    async def pay() -> str:
        if grouped:
            async with asyncio.TaskGroup() as group:
                group.create_task(bank())
        else:
            await bank()
        return "ok"

    async def bank() -> None:
        async with engine.flow("bank"):
            pass

    return app


def inside(engine: Watched, app: FastAPI) -> FastAPI:
    app.add_middleware(AtrionMiddleware, atrion=engine, route=lambda scope: ROUTE)
    return app


@pytest.mark.parametrize("grouped", [False, True])
def test_a_rejection_that_leaves_the_application_is_answered_as_one(grouped: bool, engine: Watched) -> None:
    with serve(inside(engine, needs_a_bank(engine, grouped))) as client:
        engine.restore("bank", PhysicsVector(0.0, 0.0, 150.0, 0.0))
        response = client.get("/")
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) >= 1
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["route"] == "bank"
    assert engine.ended() == [Outcome.IGNORED]
    assert in_flight(engine) == 0


@pytest.mark.parametrize("place", [inside, under])
def test_a_rejection_that_the_application_answers_is_nobodys_fault(place: Any, engine: Watched) -> None:
    app = needs_a_bank(engine)

    @app.exception_handler(FlowRejected)
    async def busy(request: Request, error: Exception) -> Response:
        return PlainTextResponse("busy", 503)

    with serve(place(engine, app)) as client:
        engine.restore("bank", PhysicsVector(0.0, 0.0, 150.0, 0.0))
        assert client.get("/").text == "busy"
    assert engine.ended() == [Outcome.IGNORED]


def test_a_frameworks_page_of_errors_for_a_rejection_is_replaced(engine: Watched) -> None:
    with serve(under(engine, needs_a_bank(engine))) as client:
        engine.restore("bank", PhysicsVector(0.0, 0.0, 150.0, 0.0))
        response = client.get("/")
        assert (response.status_code, response.json()["route"]) == (503, "bank")
        assert "retry-after" in response.headers
    assert engine.ended() == [Outcome.IGNORED]


def test_a_page_of_errors_for_a_rejection_is_replaced_where_the_application_does_not_raise(
    engine: Watched,
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            async with engine.flow("bank"):
                raise AssertionError
        except FlowRejected:
            await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b"sorry"})

    engine.restore("bank", PhysicsVector(0.0, 0.0, 150.0, 0.0))
    with serve(under(engine, app)) as client:
        response = client.get("/")
    assert (response.status_code, response.json()["route"]) == (503, "bank")
    assert engine.ended() == [Outcome.IGNORED]


@pytest.mark.parametrize("status, outcome", [(503, Outcome.IGNORED), (500, Outcome.FAILURE)])
def test_an_answer_made_where_a_call_was_shed(status: int, outcome: Outcome, engine: Watched) -> None:
    """It is nobody's fault if it says so, by 503; a rejection that was dealt with excuses nothing else."""

    async def page(request: Request) -> Response:
        try:
            async with engine.flow("bank"):
                raise AssertionError
        except FlowRejected:
            pass
        return PlainTextResponse("busy", status)

    with serve(starlette(engine, page)) as client:
        engine.restore("bank", PhysicsVector(0.0, 0.0, 150.0, 0.0))
        assert client.get("/").status_code == status
    assert engine.ended() == [outcome]


def test_a_503_without_any_rejection_is_a_failure_also_after_a_request_with_one(engine: Watched) -> None:
    async def page(request: Request) -> Response:
        if "shed" in request.query_params:
            async with engine.flow("bank"):
                raise AssertionError
        return PlainTextResponse("out of order", 503)

    with serve(starlette(engine, page)) as client:
        engine.restore("bank", PhysicsVector(0.0, 0.0, 150.0, 0.0))
        assert client.get("/?shed").status_code == client.get("/").status_code == 503
    assert engine.ended() == [Outcome.IGNORED, Outcome.FAILURE]


class InAnotherTask(BaseHTTPMiddleware):
    """As `@app.middleware("http")` makes one: what lies below runs in a task of its own."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)


@pytest.mark.parametrize("endpoint", ["async", "in a thread"])
def test_a_rejection_that_is_answered_in_another_task_or_thread_is_nobodys_fault(
    endpoint: str, engine: Watched
) -> None:
    app = FastAPI()

    if endpoint == "async":

        @app.get("/")
        async def pay() -> None:
            async with engine.flow("bank"):
                raise AssertionError
    else:

        @app.get("/")
        def pay_in_a_thread() -> None:
            with engine.flow("bank"):
                raise AssertionError

    @app.exception_handler(FlowRejected)
    def busy(request: Request, error: Exception) -> Response:
        return PlainTextResponse("busy", 503)

    app.add_middleware(InAnotherTask)
    with serve(inside(engine, app)) as client:
        engine.restore("bank", PhysicsVector(0.0, 0.0, 150.0, 0.0))
        assert client.get("/").text == "busy"
    assert engine.ended() == [Outcome.IGNORED]


def test_a_request_that_an_inner_middleware_sheds_is_not_the_outers_fault(engine: Watched) -> None:
    async def page(request: Request) -> Response:
        raise AssertionError

    inner = Starlette(routes=[Route("/", page)], middleware=[Middleware(AtrionMiddleware, atrion=engine)])
    outer = Starlette(routes=[Mount("/", inner)], middleware=[Middleware(InAnotherTask)])
    engine.restore("GET /", PhysicsVector(0.0, 0.0, 150.0, 0.0))
    with serve(under(engine, outer)) as client:
        response = client.get("/")
    assert (response.status_code, response.json()["route"]) == (503, "GET /")
    assert engine.ended() == [Outcome.IGNORED]


def test_an_answer_below_500_that_is_raised_is_the_callers_fault(engine: Watched) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise HTTPException(404)

    with serve(under(engine, app)) as client:
        assert client.get("/").status_code == 500  # nobody turns it into an answer
    assert engine.ended() == [Outcome.IGNORED]


def test_a_rejection_after_the_answer_began_is_raised(engine: Watched) -> None:
    engine.restore("bank", PhysicsVector(0.0, 0.0, 150.0, 0.0))

    async def body() -> AsyncIterator[bytes]:
        yield b"half"
        async with engine.flow("bank"):
            yield b"other half"

    with serve(streaming(engine, body)) as client, pytest.raises(httpx.RemoteProtocolError):
        client.get("/")
    assert engine.ended() == [Outcome.IGNORED]


# --- trouble within ------------------------------------------------------------------------------------------


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
