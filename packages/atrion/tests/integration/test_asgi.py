"""The middleware over real HTTP, in front of plain ASGI, Starlette and FastAPI."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import APIRouter, FastAPI
from fastapi.responses import JSONResponse
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from atrion import Atrion, ConfigurationError, Mode, PhysicsVector, Telemetry, Tier
from atrion.integrations.asgi import AtrionMiddleware
from atrion.testing import VirtualClock

Make = Callable[..., Any]


@contextmanager
def serve(app: Any) -> Iterator[httpx.Client]:
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, log_level="critical", ws="none", timeout_graceful_shutdown=2)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    tick = threading.Event()
    for _ in range(1000):
        if server.started:
            break
        tick.wait(0.01)
    assert server.started
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10.0, trust_env=False) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(10.0)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def engine(clock: VirtualClock) -> Atrion:
    return Atrion(clock=clock)


def sicken(engine: Atrion, clock: VirtualClock, route: str) -> None:
    for _ in range(12):
        engine.update_physics(route, Telemetry(error_rate=1.0))
        clock.advance(0.1)
    assert engine.snapshot()[route].mode is Mode.CIRCUIT_BREAKER


def error_pressure(engine: Atrion, route: str) -> float:
    return engine.routes[route].model.state.error


def press(engine: Atrion, route: str) -> None:
    """Until ordinary calls are shed and critical ones are not."""
    for scar in range(5, 200, 5):
        engine.reset(route)
        engine.restore(route, PhysicsVector(0.0, 0.0, float(scar), 0.0))
        if not engine.decide(route, Tier.NORMAL, key="x") and engine.decide(route, Tier.CRITICAL, key="x"):
            return
    pytest.fail("no resistance between normal and critical")


async def plain(scope: Any, receive: Any, send: Any) -> None:
    """``/status/<n>`` answers n; ``/raise`` raises; ``/silent`` says nothing."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    path = scope["path"]
    if path == "/raise":
        raise RuntimeError("boom")
    if path == "/silent":
        return
    status = int(path.removeprefix("/status/")) if path.startswith("/status/") else 200
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def page(request: Request) -> Response:
    return PlainTextResponse("ok")


def starlette(engine: Atrion, **options: Any) -> Starlette:
    return Starlette(
        routes=[
            Route("/items/{item:int}", page),
            Mount("/api/{version}", routes=[Route("/users/{name}", page)]),
        ],
        middleware=[Middleware(AtrionMiddleware, atrion=engine, **options)],
    )


def fastapi(engine: Atrion, **options: Any) -> FastAPI:
    app = FastAPI()
    router = APIRouter(prefix="/shop")

    @router.get("/orders/{order}")
    async def order(order: str) -> dict[str, str]:
        return {"order": order}

    @app.get("/items/{item}")
    async def item(item: int) -> dict[str, int]:
        return {"item": item}

    @app.get("/broken")
    async def broken() -> JSONResponse:
        return JSONResponse({}, status_code=502)

    app.include_router(router, prefix="/v1")
    app.add_middleware(AtrionMiddleware, atrion=engine, **options)
    return app


def guarded(engine: Atrion, **options: Any) -> AtrionMiddleware:
    return AtrionMiddleware(plain, engine, **options)


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


def test_a_template_is_asked_of_the_router(engine: Atrion) -> None:
    with serve(starlette(engine)) as client:
        for path in ("/items/1", "/items/2", "/api/v2/users/eve", "/nowhere/1", "/elsewhere", "/api/v2/none"):
            client.get(path)
        client.post("/items/3")
        client.request("PROPFIND", "/items/3")
    routes = {route: state.admitted for route, state in engine.snapshot().items()}
    assert routes == {
        "GET /items/{item}": 2,
        "GET /api/{version}/users/{name}": 1,
        "GET {unmatched}": 3,
        "POST /items/{item}": 1,
        "OTHER /items/{item}": 1,
    }


def test_fastapi_templates_with_included_routers(engine: Atrion) -> None:
    with serve(fastapi(engine)) as client:
        assert client.get("/v1/shop/orders/a").json() == {"order": "a"}
        assert client.get("/v1/shop/orders/b").status_code == 200
        assert client.get("/v1/shop/none/b/c").status_code == 404
    assert set(engine.snapshot()) == {"GET /v1/shop/orders/{order}", "GET {unmatched}"}


def test_wrapped_around_and_mounted_below_a_router(engine: Atrion) -> None:
    inner = Starlette(routes=[Mount("/in/{a}", routes=[Route("/x/{b}", page)])])
    below = Mount(
        "/m", routes=[Route("/y/{c}", page)], middleware=[Middleware(AtrionMiddleware, atrion=engine)]
    )
    with serve(AtrionMiddleware(inner, engine)) as client:
        assert client.get("/in/1/x/2").status_code == 200
    with serve(Starlette(routes=[below])) as client:
        assert client.get("/m/y/2").status_code == 200
    assert engine.snapshot()["GET /in/{a}/x/{b}"].admitted == 1
    assert len(engine.snapshot()) == 2
    assert any(route.endswith("/y/{c}") for route in engine.snapshot())


@pytest.mark.parametrize(
    "path,route",
    [
        ("/", "GET /"),
        ("/a/12/b", "GET /a/{id}/b"),
        ("/a/6F9619FF-8B86-D011-B42D-00C04FC964FF", "GET /a/{id}"),
        ("/a/deadbeefcafe", "GET /a/{id}"),
        ("/v1/face/items", "GET /v1/face/items"),
        ("/a/" + "x" * 60, "GET /a/{id}"),
        ("/a/eve%40example.org", "GET /a/{id}"),
        ("/a/b/c/d/e/f/g/h", "GET /a/b/c/d/e/f"),
    ],
)
def test_without_a_router_the_shape_of_the_path_names_the_route(
    path: str, route: str, engine: Atrion
) -> None:
    with serve(guarded(engine)) as client:
        assert client.get(path).status_code == 200
    assert set(engine.snapshot()) == {route}


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
    assert (error_pressure(engine, "r") > 0.0) is error
    assert state.in_flight == 0


def test_a_5xx_of_fastapi_is_a_failure(engine: Atrion, clock: VirtualClock) -> None:
    with serve(fastapi(engine)) as client:
        for _ in range(40):
            client.get("/broken")
            clock.advance(0.05)
    assert error_pressure(engine, "GET /broken") > 0.0


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
    assert (state.in_flight, state.admitted, error_pressure(engine, "r")) == (0, 1, 0.0)


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
    assert engine.snapshot()["r"].in_flight == 0
    assert error_pressure(engine, "r") == 0.0


@pytest.mark.parametrize("trusted", [True, False])
def test_the_tier_header_counts_only_when_trusted(trusted: bool, engine: Atrion, clock: VirtualClock) -> None:
    options: dict[str, Any] = {"key": lambda scope: "x", "trust_tier_header": trusted}
    with serve(guarded(engine, **options)) as client:
        press(engine, "GET /a")
        assert client.get("/a").status_code == 503
        assert client.get("/a", headers={"X-Atrion-Tier": "emperor"}).status_code == 503
        response = client.get("/a", headers={"X-Atrion-Tier": "Critical"})
        assert response.status_code == (200 if trusted else 503)


def test_tier_and_key_come_from_the_scope(engine: Atrion, clock: VirtualClock) -> None:
    def tier(scope: Any) -> str:
        return dict(scope["headers"])[b"x-plan"].decode()  # type: ignore[no-any-return]  # KeyError without one

    with serve(guarded(engine, tier=tier, key=lambda scope: "x")) as client:
        press(engine, "GET /a")
        assert client.get("/a", headers={"x-plan": "critical"}).status_code == 200
        assert client.get("/a", headers={"x-plan": "bulk"}).status_code == 503
        assert client.get("/a").status_code == 503  # tier() raised: NORMAL
        assert client.get("/b").status_code == 200


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


def test_excluded_paths_are_neither_shed_nor_measured(engine: Atrion, clock: VirtualClock) -> None:
    with serve(guarded(engine, exclude=("/health/",), route=lambda scope: "r")) as client:
        sicken(engine, clock, "r")
        assert client.get("/health").status_code == 200
        assert client.get("/health/deep").status_code == 200
        assert client.get("/healthy").status_code == 503
    assert engine.snapshot()["r"].admitted == 0


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


async def an_async_tier(scope: Any) -> str:
    return "high"


@pytest.mark.parametrize(
    "field,value",
    [
        ("app", None),
        ("atrion", None),
        ("tier", "high"),
        ("tier", an_async_tier),
        ("key", 1),
        ("route", "/a"),
        ("exclude", "/health"),
        ("exclude", 3),
        ("exclude", ["health"]),
        ("trust_tier_header", "yes"),
    ],
)
def test_wrong_configuration_names_the_field(field: str, value: Any, engine: Atrion) -> None:
    options: dict[str, Any] = {"app": plain, "atrion": engine, field: value}
    with pytest.raises(ConfigurationError, match=rf"^{field} must be .*, got ") as caught:
        AtrionMiddleware(**options)
    assert caught.value.field == field
