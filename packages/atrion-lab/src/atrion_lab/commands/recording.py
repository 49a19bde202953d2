"""``atrion lab run FILE.csv``: replays recorded calls."""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from atrion.cli.progress import progress
from atrion.errors import ConfigurationError
from atrion_lab.commands.described import run_described, show

__all__ = ["add_arguments", "positive", "refuse", "run"]

OPTIONS = ("workers", "service", "deadline")
AS_THEY_WERE = (
    "latencies are as recorded: service and queue together, which refusing calls cannot shorten here; "
    "give --workers N, the calls that the service works on at once, to let them queue"
)


def positive(text: str) -> float:
    """A number of the command line that must be above 0.

    Raises:
        argparse.ArgumentTypeError: it is none, or above a million.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 < value <= 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not usable: give a number above 0 and at most 1000000")
    return value


def _workers(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not usable: give a whole number, 1 to 100000")
    return int(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of recordings."""
    group = parser.add_argument_group("of a .csv file")
    group.add_argument(
        "--workers",
        type=_workers,
        metavar="N",
        help="calls that the service works on at once; with it, calls queue, and refusing some shortens the queue",
    )
    group.add_argument(
        "--service",
        type=positive,
        metavar="SECONDS",
        help="work of each call; by default the column service, or the latency without the wait",
    )
    group.add_argument(
        "--deadline",
        type=positive,
        metavar="SECONDS",
        help="answers after this time are late (default: no deadline)",
    )


def refuse(arguments: argparse.Namespace) -> None:
    """Refuse options that only recordings can use.

    Raises:
        ConfigurationError: there is such an option.
    """
    for name in OPTIONS:
        value = getattr(arguments, name)
        if value is not None:
            raise ConfigurationError(f"--{name}", value, "use it with a recording, a .csv file")


def run(arguments: argparse.Namespace) -> int:
    """Replay a recording.

    Raises:
        AtrionError: the file cannot be read.
        ConfigurationError: an option is missing, or the controller is unknown.
    """
    from atrion_lab.policies.catalog import controller
    from atrion_lab.replay import read, recorded
    from atrion_lab.scenario import simulate
    from atrion_lab.scenario_file import Described
    from atrion_lab.summary import summary

    if arguments.seeds is not None:
        raise ConfigurationError("--seeds", arguments.seeds, "leave it out: a recording has no randomness")
    path = Path(arguments.scenario)
    options: dict[str, Any] = {name: getattr(arguments, name) for name in OPTIONS}
    scenario = recorded(read(path), path.name, scale=arguments.scale, **options)
    if arguments.workers is None:
        print(AS_THEY_WERE, file=sys.stderr)
    if "," in arguments.controller:
        return run_described(Described(scenario), arguments)
    played = simulate(scenario, controller(arguments.controller), arguments.seed, progress("playing"))
    if arguments.workers is None:
        # The capacity is unknown, so goodput is relative to the recording.
        fine = sum(luck > 0.0 for _, luck in scenario.traffic[0].told)
        played = replace(played, capacity=max(fine, 1) / played.seconds)
    return show(played, summary(played, *scenario.window), arguments, scenario.about)
