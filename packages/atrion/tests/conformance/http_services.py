"""The service of the conformance table in every HTTP framework."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web
from fastapi import FastAPI
from flask import Flask
from litestar import Litestar
from litestar import get as litestar_get
from litestar.exceptions import HTTPException as LitestarError
from litestar.response import Stream as LitestarStream
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from atrion.integrations import aiohttp as for_aiohttp
from atrion.integrations import fastapi as for_fastapi
from atrion.integrations import flask as for_flask
from atrion.integrations.asgi import AtrionMiddleware
from atrion.integrations.litestar import AtrionPlugin
from atrion.integrations.wsgi import AtrionMiddleware as WsgiMiddleware
from packages.atrion.tests.conformance.incoming import HttpClient, Incoming
from packages.atrion.tests.conformance.serving import (
    async_until,
    served_by_threads,
    served_by_uvicorn,
    shed_within,
    until,
    wait_for,
)
from packages.atrion.tests.conformance.subject import Recorder, eventually, in_background


class Asgi(Incoming):
    title = "ASGI, Starlette"
    cancels = True

    def user(self, request: Any) -> str | None:
        return dict(request["headers"]).get(b"x-user", b"").decode() or None

    @contextmanager
    def serve(self, engine: Recorder, gate: threading.Event, options: dict[str, Any]) -> Iterator[HttpClient]:
        async def item(request: Any) -> Response:
            return PlainTextResponse("ok")

        async def missing(request: Any) -> Response:
            raise HTTPException(404)

        async def broken(request: Any) -> Response:
            return PlainTextResponse("no", 500)

        async def fail(request: Any) -> Response:
            raise RuntimeError("boom")

        async def inner(request: Any) -> Response:
            shed_within(engine)
            raise AssertionError

        async def hold(request: Any) -> Response:
            await wait_for(gate)
            return PlainTextResponse("ok")

        async def stream(request: Any) -> Response:
            return StreamingResponse(async_until(gate))

        app = Starlette(
            routes=[
                Route("/items/{id:int}", item),
                Route("/health", item),
                *(
                    Route(f"/{path}", handler)
                    for path, handler in {
                        "missing": missing,
                        "broken": broken,
                        "raise": fail,
                        "inner": inner,
                        "hold": hold,
                        "stream": stream,
                    }.items()
                ),
            ]
        )
        app.add_middleware(AtrionMiddleware, atrion=engine, **options)
        with served_by_uvicorn(app) as client:
            yield client


class FastApi(Asgi):
    title = "FastAPI"

    @contextmanager
    def serve(self, engine: Recorder, gate: threading.Event, options: dict[str, Any]) -> Iterator[HttpClient]:
        app = FastAPI()

        @app.get("/items/{id}")
        @app.get("/health")
        async def item() -> str:
            return "ok"

        @app.get("/missing")
        async def missing() -> None:
            raise HTTPException(404)

        @app.get("/broken")
        async def broken() -> Response:
            return PlainTextResponse("no", 500)

        @app.get("/raise")
        async def fail() -> None:
            raise RuntimeError("boom")

        @app.get("/inner")
        def inner() -> None:
            shed_within(engine)

        @app.get("/hold")
        async def hold() -> str:
            await wait_for(gate)
            return "ok"

        @app.get("/stream")
        async def stream() -> StreamingResponse:
            return StreamingResponse(async_until(gate))

        for_fastapi.install(app, engine, **options)
        with served_by_uvicorn(app) as client:
            yield client


class LitestarApp(Asgi):
    title = "Litestar"

    @contextmanager
    def serve(self, engine: Recorder, gate: threading.Event, options: dict[str, Any]) -> Iterator[HttpClient]:
        @litestar_get(["/items/{id:int}", "/health"])
        async def item() -> str:
            return "ok"

        @litestar_get("/missing")
        async def missing() -> str:
            raise LitestarError(status_code=404)

        @litestar_get("/broken", status_code=500)
        async def broken() -> str:
            return "no"

        @litestar_get("/raise")
        async def fail() -> str:
            raise RuntimeError("boom")

        @litestar_get("/inner", sync_to_thread=True)
        def inner() -> str:
            shed_within(engine)
            return ""

        @litestar_get("/hold")
        async def hold() -> str:
            await wait_for(gate)
            return "ok"

        @litestar_get("/stream")
        async def stream() -> LitestarStream:
            return LitestarStream(async_until(gate))

        app = Litestar(
            [item, missing, broken, fail, inner, hold, stream],
            plugins=[AtrionPlugin(engine, **options)],
            logging_config=None,
        )
        with served_by_uvicorn(app) as client:
            yield client


class Wsgi(Incoming):
    title = "WSGI"

    def user(self, request: Any) -> str | None:
        found: str | None = request.get("HTTP_X_USER")
        return found

    @contextmanager
    def serve(self, engine: Recorder, gate: threading.Event, options: dict[str, Any]) -> Iterator[HttpClient]:
        def app(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
            path = environ["PATH_INFO"]
            if path == "/raise":
                raise RuntimeError("boom")
            if path == "/inner":
                shed_within(engine)
            if path == "/hold":
                gate.wait(20.0)
            status = {"/missing": "404 Not Found", "/broken": "500 Server Error"}.get(path, "200 OK")
            headers = [("content-type", "text/plain")]
            if path == "/stream":
                start(status, headers)
                return until(gate)
            start(status, [*headers, ("content-length", "2")])
            return [b"ok"]

        with served_by_threads(WsgiMiddleware(app, engine, **options)) as client:
            yield client


class FlaskApp(Wsgi):
    title = "Flask"

    @contextmanager
    def serve(self, engine: Recorder, gate: threading.Event, options: dict[str, Any]) -> Iterator[HttpClient]:
        app = Flask("shop")

        @app.get("/items/<int:id>")
        def item(id: int) -> str:
            return "ok"

        @app.get("/health")
        def health() -> str:
            return "ok"

        @app.get("/missing")
        def missing() -> tuple[str, int]:
            return "no", 404

        @app.get("/broken")
        def broken() -> tuple[str, int]:
            return "no", 500

        @app.get("/raise")
        def fail() -> str:
            raise RuntimeError("boom")

        @app.get("/inner")
        def inner() -> str:
            shed_within(engine)
            return ""

        @app.get("/hold")
        def hold() -> str:
            gate.wait(20.0)
            return "ok"

        @app.get("/stream")
        def stream() -> Any:
            return app.response_class(until(gate))

        app.logger.disabled = True
        for_flask.install(app, engine, **options)
        with served_by_threads(app) as client:
            yield client


class AiohttpApp(Incoming):
    title = "aiohttp.web"

    def user(self, request: Any) -> str | None:
        found: str | None = request.headers.get("x-user")
        return found

    @contextmanager
    def serve(self, engine: Recorder, gate: threading.Event, options: dict[str, Any]) -> Iterator[HttpClient]:
        async def item(request: web.Request) -> web.Response:
            return web.Response(text="ok")

        async def missing(request: web.Request) -> web.Response:
            raise web.HTTPNotFound

        async def broken(request: web.Request) -> web.Response:
            return web.Response(status=500)

        async def fail(request: web.Request) -> web.Response:
            raise RuntimeError("boom")

        async def inner(request: web.Request) -> web.Response:
            shed_within(engine)
            raise AssertionError

        async def hold(request: web.Request) -> web.Response:
            await wait_for(gate)
            return web.Response(text="ok")

        async def stream(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            async for chunk in async_until(gate):
                await response.write(chunk)
            return response

        app = web.Application()
        app.add_routes([web.get(r"/items/{id:\d+}", item), web.get("/health", item)])
        for path, handler in {
            "missing": missing,
            "broken": broken,
            "raise": fail,
            "inner": inner,
            "hold": hold,
            "stream": stream,
        }.items():
            app.router.add_get(f"/{path}", handler)
        for_aiohttp.install(app, engine, **options)
        loop, ports = asyncio.new_event_loop(), list[int]()

        async def start() -> web.AppRunner:
            runner = web.AppRunner(app, shutdown_timeout=1.0)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            ports.append(runner.addresses[0][1])
            return runner

        def run() -> None:
            runner = loop.run_until_complete(start())
            loop.run_forever()
            loop.run_until_complete(runner.cleanup())
            loop.close()

        with in_background(run, lambda: loop.call_soon_threadsafe(loop.stop)):
            eventually(lambda: bool(ports))
            with HttpClient(ports[0]) as client:
                yield client


HTTP = (Asgi(), FastApi(), LitestarApp(), Wsgi(), FlaskApp(), AiohttpApp())
