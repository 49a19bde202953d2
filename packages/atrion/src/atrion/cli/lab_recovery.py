"""``atrion lab recovery``: whether a service comes back after a trigger has gone, beside what theory predicts."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from atrion.cli.lab_grid import add_options, chosen, numbers
from atrion.cli.lab_map import progress
from atrion.errors import ConfigurationError

__all__ = ["add_parser", "table"]

AXES = {
    "load": "first attempts over capacity, 0.01 to 0.99",
    "seconds": "how long the trigger lasts, 0.1 to 120 seconds",
    "retries": "retries of a request at most, 0 to 8",
    "backoff": "seconds before the first retry at most, doubled for each further one, 0 to 10",
}


def add_parser(actions: Any) -> None:
    """Declare the command."""
    from atrion.lab.recovery import RANGES, TRIGGERS

    parser = actions.add_parser(
        "recovery",
        help="a map of recovery: what comes back after a trigger, over load, triggers and retries, beside theory",
        epilog="examples: atrion lab recovery    atrion lab recovery --full --plot recovery.png    "
        "atrion lab recovery --load .6 --trigger pause,burst --seconds 2 --retries 0,3 --budget none,.1 --json",
    )
    parser.add_argument(
        "--full",
        action="store_true",
        help="the fine grid, about 1,200 cells: a quarter of an hour on two cores",
    )
    for name, about in AXES.items():
        kind = numbers(*RANGES[name], whole=name == "retries")
        parser.add_argument(f"--{name}", type=kind, metavar="X[,X]", help=about)
    parser.add_argument("--trigger", metavar="NAME[,NAME]", help=f"of {', '.join(TRIGGERS)}")
    parser.add_argument(
        "--budget", metavar="X[,X]", help="retries as a share of requests at most, 0.01 to 1, or none"
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 when Atrion does not come back")
    add_options(parser, 1)
    parser.set_defaults(run=run)


def _grid(arguments: argparse.Namespace) -> dict[str, tuple[Any, ...]]:
    from atrion.lab.recovery import FULL, QUICK, TRIGGERS

    grid = dict(FULL if arguments.full else QUICK)
    grid |= {name: getattr(arguments, name) for name in AXES if getattr(arguments, name) is not None}
    if arguments.trigger is not None:
        names = tuple(dict.fromkeys(name.strip() for name in arguments.trigger.split(",")))
        if not set(names) <= set(TRIGGERS):
            raise ConfigurationError("--trigger", arguments.trigger, f"use names of {', '.join(TRIGGERS)}")
        grid["trigger"] = names
    if arguments.budget is not None:
        words = [word.strip() for word in arguments.budget.split(",")]
        try:
            shares = numbers(0.01, 1.0)(",".join(word for word in words if word != "none") or "1")
        except argparse.ArgumentTypeError as error:
            raise ConfigurationError(
                "--budget", arguments.budget, "give shares, 0.01 to 1, or none"
            ) from error
        grid["budget"] = (None,) * ("none" in words) + (shares if set(words) != {"none"} else ())
    return grid


def _foretold(row: dict[str, Any]) -> str:
    """The fluid is not followed for ever, where it drains slowly."""
    from atrion.lab.metastable import HORIZON

    value = row["predicted_seconds"]
    return f"> {HORIZON:g}" if value is None and row["predicted"] == "stable" else _seconds(value)


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f}"


def table(found: Sequence[dict[str, Any]]) -> str:
    """A line for each cell: what theory says, and seconds until each controller is back; then sums."""
    from atrion.lab.recovery import OBSERVED, cell_of, clients_of

    names = list(dict.fromkeys(row["controller"] for row in found))
    cells: dict[Any, list[dict[str, Any]]] = {}
    for row in found:
        cells.setdefault(cell_of(row), []).append(row)
    heads = "".join(f"{name:>12}" for name in names)
    lines = [f"seconds until it is back, within {OBSERVED:g} s; without control theory says"]
    lines.append(f"{'load':<6}{'trigger':<14}{'clients':<36}{'theory':<12}{'s':>7}{heads}")
    for rows in cells.values():
        row = rows[0]
        trigger = f"{row['trigger']} {row['seconds']:g} s"
        lines.append(
            f"{row['load']:<6g}{trigger:<14}{clients_of(row):<36}{row['predicted']:<12}"
            f"{_foretold(row):>7}" + "".join(f"{_seconds(each['worst_seconds']):>12}" for each in rows)
        )
    return "\n".join([*lines, *_sums(found, names, len(cells))])


def _sums(found: Sequence[dict[str, Any]], names: Sequence[str], count: int) -> list[str]:
    from atrion.lab.recovery import agrees, missed

    lines = []
    away = list(missed(found))
    for name in names:
        rows = [row for row in found if row["controller"] == name]
        lost = sum(row["controller"] == name for row in away)
        lines.append(f"{name}: back in {count - lost} of {count} cells")
        if name == "none":
            lines[-1] += f"; theory agrees in {sum(agrees(row) for row in rows)}"
    return lines


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; with ``--check`` 1 when some run of Atrion's does not come back.

    Raises:
        ConfigurationError: an unknown controller or trigger, or an unusable number or plot file.
        MissingExtraError: matplotlib, for a plot, or a library that is a controller, is not installed.
    """
    from atrion.lab.recovery import missed, recoveries

    asked = chosen(arguments)
    grid = _grid(arguments)
    found = recoveries(grid, asked.controllers, asked.seeds, asked.processes, progress("measuring"))
    if asked.plot is not None:
        from atrion.lab.recovery_plot import plot

        plot(found, asked.plot)
    print("\n".join(json.dumps(row) for row in found) if arguments.json else table(found))
    away = any(row["controller"].startswith("atrion") for row in missed(found))
    return 1 if arguments.check and away else 0
