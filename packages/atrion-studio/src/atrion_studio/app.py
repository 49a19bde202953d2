"""``AtrionStudio``: an ASGI application to mount in the one it watches, or to serve alone."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from atrion import Atrion
from atrion.errors import AtrionError, ConfigurationError
from atrion.physics.config import check_number
from atrion_studio.access import Access
from atrion_studio.archive import Archive
from atrion_studio.changes import Changes
from atrion_studio.demo import SCENES, DemoSource
from atrion_studio.guard import Guard, Receive, Scope, Send, is_loopback
from atrion_studio.history import BYTES_PER_ROUTE, COLUMNS, STEPS, History
from atrion_studio.lab import Lab, Unusable
from atrion_studio.source import EngineSource, Source, licence_of, stores_of
from atrion_studio.ticker import TICK, Ticker, Viewer

__all__ = ["AtrionStudio"]

STATIC = Path(__file__).parent / "static"
MOST_VIEWERS = 64
MOST_BODY = 16_384
"""Bytes that a request may carry."""
HEARTBEAT = 15.0
"""Seconds without a frame after which a comment keeps the connection open."""


class AtrionStudio:
    """A dashboard as an ASGI application: ``app.mount("/studio", AtrionStudio(atrion))``.

    Reading begins in a thread of its own with the first request, or with :meth:`start`, which lets the history begin
    with the application. Nothing that fails here reaches the application.

    Args:
        source: The engine to watch.
        token: What viewers must give, at least 16 characters. None admits this machine alone.
        hosts: Names under which the Studio may be asked beside those of this machine, which needs a token; with a
            token and no names, any.
        allow_changes: Whether γ, SLO and enforcement may be changed and routes reset, each with a line of the logger
            ``atrion.studio.audit``.
        max_history: Most routes whose past is kept, each in :data:`~atrion_studio.history.BYTES_PER_ROUTE` bytes.

    Raises:
        ConfigurationError: a short token, names without a token, or a number of routes below 0.
    """

    def __init__(
        self,
        source: Atrion | Source,
        *,
        token: str | None = None,
        hosts: Sequence[str] = (),
        allow_changes: bool = False,
        max_history: int = 500,
    ) -> None:
        if isinstance(hosts, str):
            raise ConfigurationError("hosts", hosts, "give a list of names")
        if token is None and not all(map(is_loopback, hosts)):
            raise ConfigurationError(
                "hosts",
                list(hosts),
                "give a token as well: who asks under these names may be on another machine",
            )
        check_number("max_history", max_history, 0)
        self._source: Source = EngineSource(source) if isinstance(source, Atrion) else source
        self._history = History(max_history)
        self._ticker = Ticker(self._source, self._history)
        engine = self._source.engine
        self._archive = Archive(engine, self._history)
        self._changes = Changes(engine) if allow_changes and engine is not None else None
        self._lab = Lab()
        self._guard = Guard(self._pages(), Access(token), hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._guard(scope, receive, send)

    def start(self) -> Self:
        """Begin to read, so that there is a history before anybody looks; again changes nothing."""
        self._ticker.start()
        return self

    def close(self) -> None:
        """Stop reading for good."""
        self._ticker.close()
        self._archive.close()

    async def snapshot(self) -> dict[str, Any]:
        """What ``GET api/snapshot`` answers.

        Raises:
            AtrionError: the source could not be read within five seconds.
        """
        found: dict[str, Any] = json.loads(await self._newest())
        return found

    def read(self) -> dict[str, Any]:
        """:meth:`snapshot`, for programs without a loop.

        Raises:
            AtrionError: as there.
        """
        return asyncio.run(self.snapshot())

    async def _newest(self) -> bytes:
        frame = await self._ticker.newest()
        if frame is None:
            raise AtrionError("what is watched could not be read within 5 s; the log says why")
        return frame

    # --- pages -----------------------------------------------------------------------------------------------

    def _pages(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/", self._index),
                Route("/login", self._login),
                Route("/api/meta", self._get_meta),
                Route("/api/snapshot", self._get_snapshot),
                Route("/api/events", self._get_events),
                Route("/api/history", self._get_history),
                Route("/api/moment", self._get_moment),
                Route("/api/trends", self._get_trends),
                Route("/api/changes", self._get_changes),
                Route("/api/changes", self._post_changes, methods=["POST"]),
                Route("/api/scene", self._post_scene, methods=["POST"]),
                Route("/api/lab", self._get_lab),
                Route("/api/lab", self._post_lab, methods=["POST"]),
                Route("/api/whatif", self._post_whatif, methods=["POST"]),
                Mount("/assets", StaticFiles(directory=STATIC, check_dir=False)),
            ],
            exception_handlers={AtrionError: _explain},
        )

    async def _index(self, request: Request) -> Response:
        return FileResponse(STATIC / "index.html", headers={"cache-control": "no-cache"})

    async def _login(self, request: Request) -> Response:
        return FileResponse(STATIC / "login.html", headers={"cache-control": "no-cache"})

    async def _get_meta(self, request: Request) -> Response:
        span, stored = self._history.span(), await self._archive.begins()
        begins = [at for at in (stored, None if span is None else span[0]) if at is not None]
        try:
            number = version("atrion")
        except PackageNotFoundError:  # a bundle may leave the package's metadata out
            number = "of unknown version"
        return JSONResponse(
            {
                "title": self._source.title,
                "version": number,
                "changes": self._changes is not None,
                "tick": TICK,
                "lab": self._lab.available,
                "scenes": SCENES if isinstance(self._source, DemoSource) else {},
                "history": {
                    "bytes_per_route": BYTES_PER_ROUTE,
                    "max_routes": self._history.max_routes,
                    "steps": [list(step) for step in STEPS],
                    "columns": COLUMNS,
                    "from": min(begins, default=None),
                    "to": time.time() if begins and span is None else None if span is None else span[1],
                    "stored_from": stored,
                },
            }
        )

    async def _get_snapshot(self, request: Request) -> Response:
        return Response(await self._newest(), media_type="application/json")

    async def _get_events(self, request: Request) -> Response:
        if self._ticker.viewers >= MOST_VIEWERS:
            return JSONResponse({"error": f"there are {MOST_VIEWERS} viewers already"}, 503)
        return StreamingResponse(self._frames(), media_type="text/event-stream")

    async def _frames(self) -> AsyncIterator[bytes]:
        viewer = Viewer(asyncio.get_running_loop())
        self._ticker.join(viewer)
        try:
            yield b"retry: 1000\n\n"
            while True:
                event = await viewer.event(HEARTBEAT)
                yield b": still here\n\n" if event is None else event
        finally:
            self._ticker.leave(viewer)

    async def _get_history(self, request: Request) -> Response:
        route = request.query_params.get("route", "")
        seconds = _number(request, "seconds", 300.0)
        until = _number(request, "until", 0.0) or time.time()
        found = await self._archive.of(route, until - seconds)
        if until < time.time() - 1.0:
            count = sum(at <= until for at in found["at"])
            found["at"] = found["at"][:count]
            found["columns"] = {name: values[:count] for name, values in found["columns"].items()}
            found["transitions"] = [change for change in found["transitions"] if change["at"] <= until]
        return JSONResponse(found)

    async def _get_moment(self, request: Request) -> Response:
        return JSONResponse(await self._archive.at(_number(request, "at", time.time())))

    async def _get_trends(self, request: Request) -> Response:
        return JSONResponse(self._history.trends())

    # --- changes ---------------------------------------------------------------------------------------------

    async def _get_changes(self, request: Request) -> Response:
        return JSONResponse({"changes": list(self._changes.made) if self._changes is not None else []})

    async def _post_changes(self, request: Request) -> Response:
        if self._changes is None:
            text = "This Studio only shows. Start it with --allow-changes, or AtrionStudio(…, allow_changes=True)."
            return JSONResponse({"error": text}, 403)
        licence = licence_of(*stores_of(self._changes.engine)).get("licence", {})
        if licence.get("read_only"):
            return JSONResponse({"error": f"Studio is read-only: {licence['detail']}"}, 403)
        who = request.client.host if request.client is not None else "unknown"
        return JSONResponse(self._changes.apply(await _body(request), who))

    async def _post_scene(self, request: Request) -> Response:
        if not isinstance(self._source, DemoSource):
            return JSONResponse({"error": "only the demo has scenes"}, 404)
        self._source.choose((await _body(request)).get("scene"))
        return JSONResponse({"scene": self._source.scene})

    # --- the lab ---------------------------------------------------------------------------------------------

    async def _get_lab(self, request: Request) -> Response:
        return JSONResponse(await self._lab.scenarios())

    async def _post_lab(self, request: Request) -> Response:
        return JSONResponse(await self._lab.run(await _body(request)))

    async def _post_whatif(self, request: Request) -> Response:
        return JSONResponse(await self._lab.what_if(await _body(request), self._history))


async def _explain(request: Request, error: Exception) -> Response:
    return JSONResponse(
        {"error": str(error)}, 400 if isinstance(error, (ConfigurationError, Unusable)) else 503
    )


async def _body(request: Request) -> dict[str, Any]:
    """A JSON object that the request carries.

    Raises:
        ConfigurationError: it carries something else, or too much.
    """
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BODY:
            raise ConfigurationError("body", f"{len(body)} bytes", f"send at most {MOST_BODY}")
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ConfigurationError("body", body[:80].decode("utf-8", "replace"), "send a JSON object")
    return found


def _number(request: Request, name: str, default: float) -> float:
    """A number of the query.

    Raises:
        ConfigurationError: it is none.
    """
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0.0:
        raise ConfigurationError(name, text, "give a number, 0 or more")
    return value
