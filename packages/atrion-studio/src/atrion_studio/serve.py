"""A Studio served alone, for those who have no application to mount it in."""

from __future__ import annotations

import os
import socket
import sys
import webbrowser

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route

from atrion.errors import AtrionError
from atrion_studio.app import AtrionStudio
from atrion_studio.commands import PORT

__all__ = ["listen", "open_browser", "serve"]


def listen(host: str, port: int | None) -> socket.socket:
    """A listening socket; without a port, :data:`~atrion_studio.commands.PORT` or any free one.

    Raises:
        AtrionError: the address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if port is None:
        try:
            return socket.create_server((host, PORT), family=family)
        except OSError:
            port = 0  # another Studio is there
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise AtrionError(f"the Studio cannot listen on {host}, port {port}: {error.strerror}") from error


def serve(studio: AtrionStudio, listener: socket.socket) -> None:
    """Serve a Studio below /studio until the process is told to end."""

    def home(request: Request) -> Response:
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"/studio/{query}", 307)

    app = Starlette(routes=[Route("/", home), Mount("/studio", studio)])
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="off",
        ws="none",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=1,  # viewers never end by themselves
    )
    uvicorn.Server(config).run(sockets=[listener])


def open_browser(url: str) -> None:
    """Open the page where a person sits in front of a screen."""
    screen = sys.platform in {"darwin", "win32"} or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    if screen and sys.stderr.isatty():
        try:
            webbrowser.open(url)
        except webbrowser.Error:
            pass  # the address is printed as well
