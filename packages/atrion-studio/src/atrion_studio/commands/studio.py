"""``atrion studio``: the dashboard, of a store or of the demo."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import secrets
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from atrion.cli.parser import examples
from atrion.errors import ConfigurationError
from atrion_studio.demo import SCENES, DemoSource
from atrion_studio.source import Source
from atrion_studio.store import StoreSource

__all__ = ["add_parser", "watched"]

SETTLED = 4.0
"""Seconds of the demo's overload before it is snapped."""


def add_parser(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "studio",
        help="a dashboard: what is being refused, why, since when, and when it will be over",
        description="Opens a dashboard of the nodes that share a store, or of a demo.",
        epilog=examples(
            "atrion studio --demo",
            "atrion studio redis://localhost:6379/0",
            "atrion studio workers:///var/lib/shop --json",
            "atrion studio redis://redis/0 --host 0.0.0.0 --allowed-host ops.example",
        ),
    )
    parser.add_argument("url", nargs="?", metavar="URL", help="the store whose nodes are watched")
    parser.add_argument("--demo", action="store_true", help="watch a small shop in this process instead")
    parser.add_argument("--scene", choices=SCENES, help="what the demo plays (default tour)")
    parser.add_argument("--json", action="store_true", help="print one snapshot and end")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, help="the port, 0 for any (default 8766, or a free one)")
    parser.add_argument(
        "--token",
        default=os.environ.get("ATRION_STUDIO_TOKEN"),
        help="what viewers must give, at least 16 characters (default $ATRION_STUDIO_TOKEN; made up where others "
        "than this machine may come)",
    )
    parser.add_argument("--allowed-host", action="append", default=[], help="a name it may be asked under")
    parser.add_argument(
        "--allow-changes", action="store_true", help="let viewers change γ, SLO and enforcement (demo only)"
    )
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    parser.add_argument("--tied", action="store_true", help=argparse.SUPPRESS)  # ends with standard input
    parser.set_defaults(run=run)


@contextmanager
def watched(url: str | None, demo: bool, scene: str | None) -> Iterator[Source]:
    """What a command is to watch, running.

    Raises:
        ConfigurationError: neither or both of a URL and the demo were asked for, or the URL is unusable.
    """
    if demo == (url is not None):
        raise ConfigurationError("URL", url, "name the store that your nodes share, or give --demo")
    if url is not None:
        if scene is not None:
            raise ConfigurationError("--scene", scene, "use it with --demo")
        yield StoreSource(url)
        return
    # The dashboard tells what the demo's routes would log.
    logging.getLogger("atrion.routes").addHandler(logging.NullHandler())
    source = DemoSource(scene or "tour")
    source.start()
    try:
        yield source
    finally:
        source.stop()


def run(arguments: argparse.Namespace) -> int:
    """Serve until told to end, or print one snapshot.

    Raises:
        ConfigurationError: something that was given is unusable.
        AtrionError: the address cannot be listened on, or nothing could be read.
    """
    from atrion_studio.app import AtrionStudio
    from atrion_studio.guard import is_loopback
    from atrion_studio.serve import listen, open_browser, serve

    scene = arguments.scene
    if arguments.json and arguments.demo:
        scene = scene or "overload"  # the one scene in which there is something to see
    with watched(arguments.url, arguments.demo, scene) as source:
        if arguments.json:
            print(json.dumps(asyncio.run(_snapshot(source, SETTLED if arguments.demo else 2.5))))
            return 0
        if arguments.allow_changes and source.engine is None:
            raise ConfigurationError(
                "--allow-changes", True, "nodes take their settings from their own code: change it there"
            )
        token = arguments.token or None
        if token is None and not all(map(is_loopback, [arguments.host, *arguments.allowed_host])):
            token = secrets.token_urlsafe(24)
        studio = AtrionStudio(
            source, token=token, hosts=arguments.allowed_host, allow_changes=arguments.allow_changes
        )
        with listen(arguments.host, arguments.port) as listener:
            port = listener.getsockname()[1]
            shown = arguments.host if arguments.host not in {"0.0.0.0", "::"} else "127.0.0.1"
            url = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/studio/"
            login = f"{url}?token={token}" if token else url
            print(f"AtrionStudio watches {source.title}: {login}", flush=True)
            if not arguments.no_browser:
                open_browser(login)
            if arguments.tied:
                threading.Thread(target=_end_with_input, daemon=True).start()
            studio.start()
            try:
                serve(studio, listener)
            finally:
                studio.close()
    return 0


def _end_with_input() -> None:
    """End this process with the one that holds the other end of standard input, however that one ends."""
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


async def _snapshot(source: Source, settled: float) -> dict[str, Any]:
    from atrion_studio.app import AtrionStudio

    studio = AtrionStudio(source)
    try:
        await studio.snapshot()  # begins to count by tier, or lets the nodes know that somebody watches
        await asyncio.sleep(settled)
        return await studio.snapshot()
    finally:
        studio.close()
