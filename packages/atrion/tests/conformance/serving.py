"""Applications behind real servers, and what the handlers of every framework do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import uvicorn
from werkzeug.serving import WSGIRequestHandler, make_server

from atrion import Atrion, Tier
from atrion.testing import force_shed
from packages.atrion.tests.conformance.incoming import HttpClient
from packages.atrion.tests.conformance.subject import Slots, eventually, in_background

CANCEL_AFTER = "x-cancel-after"
"""Header that makes an ASGI server cancel the application's task after so many turns of the event loop."""


def shed_within(engine: Atrion) -> None:
    """A guarded call of the handler's, which is shed."""
    inside = Atrion()
    with force_shed(Tier.NORMAL, engine=inside), inside.flow("inside"):
        raise AssertionError


def until(gate: threading.Event) -> Iterator[bytes]:
    yield b"first"
    while not gate.wait(0.01):
        yield b"more"


async def wait_for(gate: threading.Event) -> None:
    if isinstance(gate, Slots):
        await gate.hold()
        return
    while not gate.is_set():  # noqa: ASYNC110  # a test in another thread sets it
        await asyncio.sleep(0.01)


async def async_until(gate: threading.Event) -> AsyncIterator[bytes]:
    yield b"first"
    while not gate.is_set():
        await asyncio.sleep(0.01)
        yield b"more"


def cancelling(app: Any) -> Any:
    """An ASGI application that cancels what it is asked to, as timeouts of servers do."""

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        turns = dict(scope.get("headers", ())).get(CANCEL_AFTER.encode())
        if turns is None:
            return await app(scope, receive, send)
        task = asyncio.ensure_future(app(scope, receive, send))
        for _ in range(int(turns)):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task
        return None

    return outer


@contextmanager
def served_by_uvicorn(app: Any) -> Iterator[HttpClient]:
    config = uvicorn.Config(
        cancelling(app), port=0, log_level="critical", ws="none", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    with in_background(server.run, lambda: setattr(server, "should_exit", True)):
        eventually(lambda: server.started)
        with HttpClient(server.servers[0].sockets[0].getsockname()[1]) as client:
            yield client


class Quiet(WSGIRequestHandler):
    def log(self, *said: Any) -> None:
        pass


@contextmanager
def served_by_threads(app: Any) -> Iterator[HttpClient]:
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    server.socket.listen(1024)  # as servers in production do, where werkzeug has 128
    server.daemon_threads = True  # type: ignore[attr-defined]  # of socketserver.ThreadingMixIn
    server.log = lambda *said: None  # type: ignore[method-assign]  # clients that leave are meant to
    with in_background(server.serve_forever, server.shutdown), HttpClient(server.server_port) as client:
        yield client
    server.server_close()
