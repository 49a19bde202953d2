"""Services behind the ASGI middleware, and ways to ask them and to make their routes shed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import APIRouter, FastAPI
from fastapi.responses import JSONResponse
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from atrion import Atrion, Mode, PhysicsVector, Telemetry, Tier
from atrion.integrations.asgi import AtrionMiddleware
from atrion.testing import VirtualClock
from packages.atrion.tests.waiting import eventually


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


def press(engine: Atrion, route: str) -> None:
    """Until ordinary calls are shed and critical ones are not."""
    for scar in range(5, 200, 5):
        engine.reset(route)
        engine.restore(route, PhysicsVector(0.0, 0.0, float(scar), 0.0))
        if not engine.decide(route, Tier.NORMAL, key="x") and engine.decide(route, Tier.CRITICAL, key="x"):
            return
    pytest.fail("no resistance between normal and critical")


def sicken(engine: Atrion, clock: VirtualClock, route: str) -> None:
    for _ in range(12):
        engine.update_physics(route, Telemetry(error_rate=1.0))
        clock.advance(0.1)
    assert engine.snapshot()[route].mode is Mode.CIRCUIT_BREAKER


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


def ask(app: Any, *paths: str, method: str = "GET", root_path: str = "") -> list[int]:
    """Statuses of requests, with ``root_path`` as a server under a prefix gives it."""

    async def main() -> list[int]:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False, root_path=root_path)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return [(await client.request(method, path)).status_code for path in paths]

    return asyncio.run(main())


def names(engine: Atrion) -> set[str]:
    return {route for route, state in engine.snapshot().items() if state.admitted}


def shop() -> FastAPI:
    app = FastAPI()

    @app.get("/items/{i}")
    async def item(i: str) -> str:
        return i

    return app


class InAnotherTask(BaseHTTPMiddleware):
    """As `@app.middleware("http")` makes one: what lies below runs in a task of its own."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)
