"""``atrion demo``: a real HTTP service above its capacity, first unprotected, then protected."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from atrion.errors import AtrionError, ConfigurationError, MissingExtraError
from atrion_lab.demo.play import demonstrate, lasts
from atrion_lab.demo.plot import plot_demo
from atrion_lab.demo.result import as_json, sentence, table
from atrion_lab.demo.services import DEMO, SHAPES
from atrion_lab.demo.studio import check_studio, studio_beside
from atrion_lab.demo.view import view_for
from atrion_lab.figure import check_plot

__all__ = ["add_parser"]

ABOUT = """\
Starts a real HTTP service and sends it several times its capacity, first without and then with
Atrion, and shows which requests were answered. Everything runs on this machine."""
EXAMPLES = """\
examples:
  atrion demo                          four times the capacity, in less than a minute
  atrion demo --overload 8             eight times
  atrion demo --shape cpu              handlers that compute on the event loop
  atrion demo --studio                 with the dashboard beside it
  atrion demo --workers 4              four processes that share what they learn
  atrion demo --plot demo.svg          draw both runs
  atrion demo --seconds 20 --json      a short one, for a program"""


def add_parser(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "demo",
        help="a real HTTP service at several times its capacity, without and with Atrion",
        description=ABOUT,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=50.0,
        help="approximate length of the demo, 8 to 3600, but never less than 14 (default 50)",
    )
    parser.add_argument(
        "--overload", type=float, default=4.0, help="offered load over capacity, 1 to 20 (default 4)"
    )
    parser.add_argument(
        "--shape",
        choices=DEMO,
        default=DEMO[0],
        help="; ".join(f"{name}: {SHAPES[name].about}" for name in DEMO) + f" (default {DEMO[0]})",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        help="processes of the service, which share state; 1 to 40, or 20 for seven-routes (default 1)",
    )
    parser.add_argument(
        "--studio", action="store_true", help="open the dashboard during the demo (pip install atrion-studio)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the live view")
    parser.add_argument("--plot", metavar="FILE", help="draw both runs into a .png or .svg file")
    parser.set_defaults(run=run)


@contextmanager
def orderly() -> Iterator[None]:
    """Run every ``finally`` block after SIGTERM or SIGHUP."""

    def leave(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    endings = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, leave) for number in endings}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(text: str) -> None:
    """Beside the result, which may be for a program."""
    print(text, file=sys.stderr, flush=True)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo.

    Raises:
        ConfigurationError: the length or the overload is out of range.
        MissingExtraError: uvicorn, for several workers lmdb, or for a plot matplotlib is not installed.
        AtrionError: one of the processes ended early.
    """
    if not 8.0 <= arguments.seconds <= 3600.0:
        raise ConfigurationError("--seconds", arguments.seconds, "give 8 to 3600")
    if not 1.0 <= arguments.overload <= 20.0:
        raise ConfigurationError("--overload", arguments.overload, "give 1 to 20")
    slots = SHAPES[arguments.shape].slots
    if not 1 <= arguments.workers <= slots:
        raise ConfigurationError("--workers", arguments.workers, f"give 1 to {slots}")
    if importlib.util.find_spec("uvicorn") is None:
        raise MissingExtraError("atrion demo", "demo")
    if arguments.workers > 1 and importlib.util.find_spec("lmdb") is None:
        raise MissingExtraError("atrion demo --workers", "workers")
    if os.name != "posix":
        raise AtrionError("atrion demo needs Linux or macOS")
    if arguments.studio:
        check_studio()
    target = check_plot(arguments.plot)
    view = view_for(arguments.json, lasts(arguments.seconds))
    with orderly():
        try:
            with studio_beside(_say) if arguments.studio else nullcontext() as store:
                result, notes, recordings = demonstrate(
                    view, arguments.shape, arguments.overload, arguments.workers, arguments.seconds, store
                )
        finally:
            view.close()
    if arguments.json:
        print(json.dumps(as_json(result)))
    else:
        print(f"\n{table(result)}\n\n{sentence(result)}")
    if target is not None:
        plot_demo(recordings, arguments.overload, target)
    for note in notes:
        print(note, file=sys.stderr)
    return 0
