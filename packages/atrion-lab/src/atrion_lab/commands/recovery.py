"""``atrion lab recovery``: whether a service recovers after a trigger, next to the theoretical prediction."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from atrion.cli.parser import examples
from atrion.cli.progress import progress
from atrion_lab.commands.grid import add_options, answer, axes, chosen, numbers

__all__ = ["add_parser", "table"]

AXES = {
    "load": (0.01, 0.99, "first attempts over capacity"),
    "seconds": (0.1, 120.0, "how many seconds the trigger lasts"),
    "retries": (0.0, 8.0, "retries of a request at most"),
    "backoff": (0.0, 10.0, "seconds before the first retry at most, doubled for each further one"),
}


def triggers(text: str) -> tuple[str, ...]:
    """Reads names of triggers, separated by commas."""
    from atrion_lab.recovery import TRIGGERS

    names = tuple(dict.fromkeys(word.strip() for word in text.split(",")))
    if not set(names) <= set(TRIGGERS):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of triggers: use {', '.join(TRIGGERS)}")
    return names


def budgets(text: str) -> tuple[float | None, ...]:
    """Reads budgets, separated by commas."""
    shares = [word for word in text.split(",") if word.strip() != "none"]
    unbounded = (None,) if len(shares) < len(text.split(",")) else ()
    return (*unbounded, *(numbers(0.01, 1.0)(",".join(shares)) if shares else ()))


def add_parser(actions: Any) -> None:
    """Declare the command."""
    parser = actions.add_parser(
        "recovery",
        help="map of recovery after a trigger, over load, triggers and retries, next to the theory",
        epilog=examples(
            "atrion lab recovery",
            "atrion lab recovery --full --plot recovery.png",
            "atrion lab recovery --load .6 --trigger pause,burst --seconds 2 --retries 0,3 --budget none,.1 --json",
        ),
    )
    parser.add_argument(
        "--full",
        action="store_true",
        help="the fine grid of 1,248 cells instead of 120",
    )
    for name, (low, high, about) in AXES.items():
        kind = numbers(low, high, whole=name == "retries")
        parser.add_argument(f"--{name}", type=kind, metavar="X[,X]", help=f"{about}, {low:g} to {high:g}")
    parser.add_argument(
        "--trigger", type=triggers, metavar="NAME[,NAME]", help="of pause, slow, outage, burst"
    )
    parser.add_argument(
        "--budget",
        type=budgets,
        metavar="X[,X]",
        help="maximum retries as a share of requests, 0.01 to 1, or none",
    )
    parser.add_argument(
        "--check", action="store_true", help="exit with 1 if Atrion does not recover in a cell"
    )
    add_options(parser, 1)
    parser.set_defaults(run=run)


def _foretold(row: dict[str, Any]) -> str:
    """The fluid model is not followed longer than this if it drains slowly."""
    from atrion_lab.metastable import HORIZON

    value = row["predicted_seconds"]
    return f"> {HORIZON:g}" if value is None and row["predicted"] == "stable" else _seconds(value)


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f}"


def table(found: Sequence[dict[str, Any]]) -> str:
    """A line for each cell: the prediction, and the seconds until recovery with each controller; then totals."""
    from atrion_lab.recovery import OBSERVED, cell_of, clients_of

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
    from atrion_lab.recovery import agrees, missed

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
    """Measure and print; with ``--check`` returns 1 if a run of Atrion does not recover.

    Raises:
        ConfigurationError: an unknown controller, or an unusable number or plot file.
        MissingExtraError: matplotlib, for a plot, or a library that is a controller, is not installed.
    """
    from atrion_lab.recovery import FULL, QUICK, missed, recoveries

    asked = chosen(arguments)
    grid = axes(arguments, QUICK, FULL)
    found = recoveries(grid, asked.controllers, asked.seeds, asked.processes, progress("measuring"))
    if asked.plot is not None:
        from atrion_lab.recovery_plot import plot

        plot(found, asked.plot)
    return answer(arguments, found, table, missed(found))
