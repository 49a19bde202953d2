"""A real server on a free port, and a real browser, for tests that need one."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from playwright.sync_api import Browser, sync_playwright
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from atrion_studio import AtrionStudio

PATIENCE = 60.0
"""Seconds after which a condition will not come true any more."""


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """The URL of an application that is served in a thread."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="critical", lifespan="off", timeout_graceful_shutdown=1, ws="none")
    )
    thread = threading.Thread(target=lambda: server.run(sockets=[listener]))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@contextmanager
def mounted(studio: AtrionStudio) -> Iterator[str]:
    """The URL of an application that has the Studio below ``/studio``."""
    app = Starlette(routes=[Route("/", lambda _: PlainTextResponse("shop")), Mount("/studio", studio)])
    with serving(app) as url:
        try:
            yield url
        finally:
            studio.close()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's browser."""
    path = shutil.which("chromium")
    assert path is not None, "Chromium is missing; run: scripts/debian-packages chromium"
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield launched
        launched.close()


def until(condition: Callable[[], object]) -> None:
    """Wait until something is true."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.02)
