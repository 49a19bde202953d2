"""``atrion lab harm``: requests refused while workers are free, and work lost in overload, over a grid."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from atrion.cli.parser import examples
from atrion.cli.progress import progress
from atrion_lab.commands.grid import add_options, answer, axes, chosen, numbers

__all__ = ["add_parser", "table"]

AXES = {
    "workers": (1.0, 4096.0, "calls served at once"),
    "load": (0.01, 100.0, "arrivals over the capacity at the end of the run"),
    "spread": (0.0, 10.0, "coefficient of variation of the service time"),
    "slow": (1.0, 20.0, "how many times slower the service becomes"),
}
TITLES = {
    "idle_rejects": "refused beside a free worker, share of the attempts",
    "work_over_possible": "work answered in time over the clairvoyant's",
}


def add_parser(actions: Any) -> None:
    """Declare the command."""
    parser = actions.add_parser(
        "harm",
        help="map of unnecessary rejections and lost work, over load, workers, spread of work and slow-down",
        epilog=examples(
            "atrion lab harm",
            "atrion lab harm --full --plot harm.png",
            "atrion lab harm --controller atrion,vegas --workers 1,16 --load .5,4 --spread 1 --slow 1,3 --json",
        ),
    )
    parser.add_argument("--full", action="store_true", help="the fine grid of 924 cells instead of 108")
    for name, (low, high, about) in AXES.items():
        kind = numbers(low, high, whole=name == "workers")
        parser.add_argument(f"--{name}", type=kind, metavar="X[,X]", help=f"{about}, {low:g} to {high:g}")
    parser.add_argument(
        "--check", action="store_true", help="exit with 1 if a cell of Atrion misses its bound"
    )
    add_options(parser, 1)
    parser.set_defaults(run=run)


def table(found: Sequence[dict[str, Any]]) -> str:
    """Tables of workers × load for each controller and measure, worst of spreads and slow-downs; then the misses."""
    from atrion_lab.harm import MEASURED, missed

    lines = []
    misses = list(missed(found))
    for name in dict.fromkeys(row["controller"] for row in found):
        own = [row for row in found if row["controller"] == name]
        for measure in MEASURED:
            lines += [f"{name}: {TITLES[measure]}", *_panel(own, measure), ""]
    for name in dict.fromkeys(row["controller"] for row in found):
        count = sum(row["controller"] == name for row in found)
        missing = [row for row in misses if row["controller"] == name]
        lines.append(f"{name}: {count - len(missing)} of {count} cells met")
        if name.startswith("atrion"):
            lines += [_miss(row) for row in missing]
    return "\n".join(lines)


def _panel(rows: Sequence[dict[str, Any]], measure: str) -> list[str]:
    """The worst mean over the spreads and slow-downs of each cell."""
    loads = sorted({row["load"] for row in rows})
    worst = max if measure == "idle_rejects" else min
    lines = [f"{'workers':>9}{''.join(f'{load:>7g}×' for load in loads)}"]
    for workers in sorted({row["workers"] for row in rows}):
        cells = (
            worst(row[measure] for row in rows if row["workers"] == workers and row["load"] == load)
            for load in loads
        )
        lines.append(f"{workers:>9}{''.join(f'{cell:>8.4f}' for cell in cells)}")
    return lines


def _miss(row: dict[str, Any]) -> str:
    from atrion_lab.harm import IDLE, of

    measure, sign, bound = (
        ("idle_rejects", "≤", IDLE) if row["load"] < 1.0 else ("work_over_possible", "≥", of(row).least_work)
    )
    return (
        f"  MISSED workers {row['workers']}, load {row['load']:g}, spread {row['spread']:g}, "
        f"slow {row['slow']:g}: {measure} {row[measure]:.4f}, {sign} {bound:.3g}"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; with ``--check`` returns 1 if a cell of Atrion misses its bound.

    Raises:
        ConfigurationError: an unknown controller, or an unusable number or plot file.
        MissingExtraError: matplotlib, for a plot, or a library that is a controller, is not installed.
    """
    from atrion_lab.harm import FULL, QUICK, harm, missed

    asked = chosen(arguments)
    grid = axes(arguments, QUICK, FULL)
    found = harm(grid, asked.controllers, asked.seeds, asked.processes, progress("measuring"))
    if asked.plot is not None:
        from atrion_lab.harm_plot import plot

        plot(found, asked.plot)
    return answer(arguments, found, table, missed(found))
