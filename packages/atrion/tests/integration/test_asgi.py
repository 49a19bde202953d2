"""The middleware over real HTTP, in front of plain ASGI, Starlette and FastAPI."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from atrion import Atrion
from atrion.integrations.asgi import AtrionMiddleware
from atrion.testing import VirtualClock
from packages.atrion.tests.integration.asgi_services import fastapi, guarded, plain, serve, sicken, starlette

Make = Callable[..., Any]


@pytest.mark.parametrize(
    "make,path,route",
    [
        (guarded, "/items/7", "GET /items/{id}"),
        (starlette, "/items/7", "GET /items/{item}"),
        (fastapi, "/items/7", "GET /items/{item}"),
    ],
)
def test_sheds_a_sick_route_with_a_problem(
    make: Make, path: str, route: str, engine: Atrion, clock: VirtualClock
) -> None:
    with serve(make(engine)) as client:
        assert client.get(path).status_code == 200
        assert engine.snapshot()[route].admitted == 1
        sicken(engine, clock, route)
        response = client.get(path)
        assert response.status_code == 503
        assert response.headers["content-type"] == "application/problem+json"
        problem = response.json()
        expected = engine.decide(route).retry_after
        wait = int(response.headers["retry-after"])
        assert max(expected, 1.0) <= wait <= max(expected + 1, 1.0) * 1.25 + 1
        assert problem["retry_after"] == wait
        assert (problem["status"], problem["route"], problem["reason"]) == (503, route, "failing")
        assert {"type", "title", "detail"} <= problem.keys()
        assert engine.snapshot()[route].admitted == 1
        assert client.head(path).status_code != 503  # another route


@pytest.mark.parametrize(
    "path,error",
    [
        ("/status/500", True),
        ("/raise", True),
        ("/silent", True),
        ("/status/404", False),
        ("/status/200", False),
    ],
)
def test_only_server_errors_are_failures(path: str, error: bool, engine: Atrion, clock: VirtualClock) -> None:
    with serve(guarded(engine, route=lambda scope: "r")) as client:
        for _ in range(40):
            client.get(path)
            clock.advance(0.05)
    state = engine.snapshot()["r"]
    assert (state.pressure_error > 0.0) is error
    assert state.in_flight == 0


def test_a_5xx_of_fastapi_is_a_failure(engine: Atrion, clock: VirtualClock) -> None:
    with serve(fastapi(engine)) as client:
        for _ in range(40):
            client.get("/broken")
            clock.advance(0.05)
    assert engine.snapshot()["GET /broken"].pressure_error > 0.0


def test_a_streamed_reply_is_in_flight_until_its_end(engine: Atrion) -> None:
    go = asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def body() -> Any:
        loops.append(asyncio.get_running_loop())
        yield b"first"
        await go.wait()
        yield b"last"

    async def stream(request: Request) -> Response:
        return StreamingResponse(body())

    app = Starlette(routes=[Route("/s", stream)], middleware=[Middleware(AtrionMiddleware, atrion=engine)])
    with serve(app) as client, client.stream("GET", "/s") as response:
        chunks = response.iter_raw()
        assert next(chunks) == b"first"
        assert engine.snapshot()["GET /s"].in_flight == 1
        loops[0].call_soon_threadsafe(go.set)
        assert b"".join(chunks) == b"last"
    assert engine.snapshot()["GET /s"].in_flight == 0


def test_a_client_that_leaves_is_nobodys_fault(engine: Atrion, clock: VirtualClock) -> None:
    left = threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        left.set()
        raise RuntimeError("nobody listens")

    async def lifeless(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await AtrionMiddleware(app, engine, route=lambda scope: "r")(scope, receive, send)

    with serve(lifeless) as client, pytest.raises(httpx.ReadTimeout):
        client.get("/", timeout=0.1)
    assert left.wait(5.0)
    clock.advance(1.0)
    engine.decide("r")
    state = engine.snapshot()["r"]
    assert (state.in_flight, state.admitted, state.pressure_error) == (0, 1, 0.0)


def test_a_cancelled_request_is_ignored(engine: Atrion, clock: VirtualClock) -> None:
    async def hang(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        app = AtrionMiddleware(hang, engine, route=lambda scope: "r")
        task = asyncio.ensure_future(app({"type": "http", "path": "/"}, None, None))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        assert engine.snapshot()["r"].in_flight == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    clock.advance(1.0)
    engine.decide("r")
    state = engine.snapshot()["r"]
    assert (state.in_flight, state.pressure_error) == (0, 0.0)


def test_callables_that_raise_break_nothing(engine: Atrion) -> None:
    def broken(scope: Any) -> str:
        raise LookupError("no")

    with serve(guarded(engine, tier=broken, key=broken, route=broken)) as client:
        assert client.get("/a/1").status_code == 200
    assert set(engine.snapshot()) == {"GET /a/{id}"}


def test_an_engine_that_raises_breaks_nothing() -> None:
    class Broken:
        def flow(self, *args: Any, **kwargs: Any) -> Any:
            raise ZeroDivisionError

    with serve(AtrionMiddleware(plain, Broken())) as client:  # type: ignore[arg-type]
        assert [client.get("/").status_code for _ in range(3)] == [200, 200, 200]


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
def test_other_scopes_pass_through_untouched(kind: str, engine: Atrion) -> None:
    seen: list[Any] = []

    async def app(*args: Any) -> None:
        seen.extend(args)

    async def receive() -> Any: ...

    async def send(message: Any) -> None: ...

    scope: dict[str, Any] = {"type": kind, "path": "/ws"}
    asyncio.run(AtrionMiddleware(app, engine)(scope, receive, send))
    assert [id(thing) for thing in seen] == [id(scope), id(receive), id(send)]
    assert engine.snapshot() == {}
