"""``atrion top``: the overview in a terminal, for those who have only a shell."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from atrion.cli.parser import examples
from atrion.errors import AtrionError, ConfigurationError
from atrion_studio.commands import PORT
from atrion_studio.commands.studio import watched

__all__ = ["add_parser"]

LOCAL = f"http://127.0.0.1:{PORT}/studio/"
INTERVAL = 0.5
"""Seconds between two looks."""
SETTLED = 2.5
"""Seconds after which rates are known and every node of a store has been heard."""
PATIENCE = 5.0
"""Seconds that a Studio may take to answer."""

Read = Callable[[], dict[str, Any]]


def add_parser(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "top",
        help="the dashboard's overview in a terminal",
        description="Shows the routes of a Studio, of the nodes that share a store, or of a demo, worst first.",
        epilog=examples(
            "atrion top",
            "atrion top http://127.0.0.1:8000/studio/",
            "atrion top redis://localhost:6379/0",
            "atrion top --demo",
        ),
    )
    parser.add_argument("url", nargs="?", metavar="URL", help=f"a Studio or a store (default {LOCAL})")
    parser.add_argument("--demo", action="store_true", help="watch a small shop in this process instead")
    parser.add_argument(
        "--token", default=os.environ.get("ATRION_STUDIO_TOKEN"), help="(default $ATRION_STUDIO_TOKEN)"
    )
    parser.add_argument(
        "--once", action="store_true", help="print one table and end, as where there is no terminal"
    )
    parser.add_argument("--json", action="store_true", help="print one snapshot and end")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show until told to end, or once.

    Raises:
        ConfigurationError: something that was given is unusable.
        AtrionError: the Studio or the store cannot be read.
    """
    url = arguments.url
    if arguments.demo and url is not None:
        raise ConfigurationError("URL", url, "leave it out with --demo")
    once = arguments.once or arguments.json or not sys.stdout.isatty()
    with ExitStack() as stack:
        if arguments.demo or (url is not None and not url.startswith(("http://", "https://"))):
            read = _of_source(stack, url, arguments.demo)
        else:
            read = _of_studio(url or LOCAL, arguments.token)
        if once:  # rates need two readings, also in a Studio that nobody has asked before
            read()
            time.sleep(SETTLED)
        if arguments.json:
            print(json.dumps(read()))
        elif once:
            from rich.console import Console

            from atrion_studio.overview import overview

            console = Console(highlight=False)
            console.print(overview(read(), console.width, None))
        else:
            _live(read)
    return 0


def _of_source(stack: ExitStack, url: str | None, demo: bool) -> Read:
    from atrion_studio.app import AtrionStudio

    studio = AtrionStudio(stack.enter_context(watched(url, demo, None)))
    stack.callback(studio.close)
    return studio.read


def _of_studio(url: str, token: str | None) -> Read:
    address = f"{url.rstrip('/')}/api/snapshot"
    headers = {"Authorization": f"Bearer {token}"} if token else {}

    def read() -> dict[str, Any]:
        try:
            with urlopen(Request(address, headers=headers), timeout=PATIENCE) as answer:
                found = json.load(answer)
        except HTTPError as error:
            hint = ": give its --token" if error.code == 401 else ""
            raise AtrionError(f"the Studio at {url} refuses with status {error.code}{hint}") from error
        except (URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            raise AtrionError(
                f"no Studio answers at {url} ({reason}); name one, or a store: atrion top redis://localhost:6379/0"
            ) from error
        except ValueError as error:
            raise AtrionError(
                f"what answers at {url} is no Studio; its address ends with /studio/"
            ) from error
        if not isinstance(found, dict) or "routes" not in found:
            raise AtrionError(f"what answers at {url} is no Studio; its address ends with /studio/")
        return found

    return read


def _live(read: Read) -> None:
    from rich.console import Console
    from rich.live import Live

    from atrion_studio.overview import overview

    console = Console(highlight=False)
    with Live(console=console, auto_refresh=False, screen=True) as live:
        while True:
            live.update(overview(read(), console.width, console.height), refresh=True)
            time.sleep(INTERVAL)
