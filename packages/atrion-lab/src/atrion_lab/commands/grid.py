"""Command-line options that the maps have in common: lists of values, controllers, seeds, processes."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atrion.errors import ConfigurationError
from atrion.physics.config import check_number
from atrion_lab.commands.run import seed
from atrion_lab.figure import check_plot

__all__ = ["Chosen", "add_options", "answer", "axes", "chosen", "numbers"]

CONTROLLERS = "atrion,none,aimd,pid"


@dataclass(frozen=True, slots=True)
class Chosen:
    """Options of every map: controllers, seeds, number of processes, and the plot file."""

    controllers: list[str]
    seeds: range
    processes: int
    plot: Path | None


def numbers(low: float, high: float, *, whole: bool = False) -> Callable[[str], tuple[float, ...]]:
    """Reads ascending, different numbers in [low, high], separated by commas."""

    def read(text: str) -> tuple[float, ...]:
        kind = "whole numbers" if whole else "numbers"
        try:
            found = {float(each) for each in text.split(",")}
        except ValueError:
            found = {low - 1.0}
        if not all(low <= each <= high and (not whole or each == int(each)) for each in found):
            raise argparse.ArgumentTypeError(
                f"{text!r} is no list: give {kind} from {low:g} to {high:g}, separated by commas"
            )
        return tuple(sorted(found))

    return read


def add_options(parser: argparse.ArgumentParser, seeds: int) -> None:
    """Declare the options that all maps have; ``seeds`` is how many there are by default."""
    parser.add_argument(
        "--controller", default=CONTROLLERS, help=f"names separated by commas (default {CONTROLLERS})"
    )
    parser.add_argument("--seeds", type=int, default=seeds, help=f"1 to 1000 (default {seeds})")
    parser.add_argument("--seed", type=seed, default=1, help="the first seed (default 1)")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, help="1 to 64 (default all cores)"
    )
    parser.add_argument("--json", action="store_true", help="print the rows as JSON, one per line")
    parser.add_argument("--plot", metavar="FILE", help="write heat maps to a .png or .svg file")


def chosen(arguments: argparse.Namespace) -> Chosen:
    """Read the options.

    Raises:
        ConfigurationError: an unknown controller, or an unusable number or plot file.
        MissingExtraError: matplotlib, for a plot, or a library that is a controller, is not installed.
    """
    from atrion_lab.bench import available
    from atrion_lab.policies.catalog import controller

    target = check_plot(arguments.plot)
    check_number("--seeds", arguments.seeds, 1, 1000)
    check_number("--processes", arguments.processes, 1, 64)
    names = list(dict.fromkeys(name.strip() for name in arguments.controller.split(",")))
    for name in names:
        if not available(controller(name).name):
            raise ConfigurationError("--controller", name, "install atrion[peers] for it")
    seeds = range(arguments.seed, arguments.seed + arguments.seeds)
    return Chosen(names, seeds, arguments.processes, target)


def axes(
    arguments: argparse.Namespace, quick: Mapping[str, tuple[Any, ...]], full: Mapping[str, tuple[Any, ...]]
) -> dict[str, tuple[Any, ...]]:
    """The values of each axis: those given, else the ``full`` or the ``quick`` ones."""
    default = full if arguments.full else quick
    return {name: getattr(arguments, name) or axis for name, axis in default.items()}


def answer(
    arguments: argparse.Namespace,
    found: list[dict[str, Any]],
    table: Callable[[list[dict[str, Any]]], str],
    missed: Iterable[Mapping[str, Any]],
) -> int:
    """Print ``found``; returns the exit status, 1 with ``--check`` if Atrion is among the ``missed``."""
    print("\n".join(json.dumps(row) for row in found) if arguments.json else table(found))
    return 1 if arguments.check and any(row["controller"].startswith("atrion") for row in missed) else 0
