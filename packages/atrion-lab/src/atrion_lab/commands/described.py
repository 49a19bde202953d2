"""``atrion lab run FILE.toml``: a described service, with many controllers and seeds, against its bounds."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from atrion.cli.progress import progress
from atrion.physics.config import check_number
from atrion_lab.figure import check_plot

if TYPE_CHECKING:
    from atrion_lab.metrics import Run
    from atrion_lab.scenario_file import Described

__all__ = ["run_described", "show"]

DIGITS = 6
SHOWN = {
    "idle_rejects": "idle",
    "good_over_possible": "good",
    "work_over_possible": "work",
    "well_over_possible": "well",
    "critical_success": "critical",
    "late_share": "late",
    "p50_seconds": "p50, s",
    "p99_seconds": "p99, s",
    "break_transitions": "breaks",
}
"""Columns of the table, by measure."""


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return round(value, DIGITS) if isinstance(value, float) else value


def _cell(value: float | None) -> str:
    return f"{'':>10}" if value is None else f"{value:>10.4f}"


def _verdict(described: Described, summary: dict[str, Any]) -> list[str]:
    from atrion_lab.expectations import AT_MOST, flat, keeps

    found = flat(summary)
    return [
        f"  {'✓ met   ' if kept else '✗ missed'} {name} {found.get(name, described.expect[name]):.4f}, "
        f"{'at most' if name in AT_MOST else 'at least'} {described.expect[name]:g}"
        for name, kept in keeps(summary, described.expect).items()
    ]


def _table(described: Described, found: dict[str, list[dict[str, Any]]]) -> str:
    from atrion_lab.expectations import keeps, mean, worst

    columns = [name for name in SHOWN if any(name in row for rows in found.values() for row in rows)]
    lines = [f"{'':<28}{''.join(f'{SHOWN[name]:>10}' for name in columns)}"]
    for controller, rows in found.items():
        summary = mean(rows)
        met = all(keeps(summary, described.expect).values())
        mark = ("✓" if met else "✗") if described.expect else " "
        means = "".join(_cell(summary.get(name)) for name in columns)
        lines.append(f"{mark} {controller:<20}{'mean' if len(rows) > 1 else '':<6}{means}".rstrip())
        if len(rows) > 1:
            poorest = worst(rows)
            lines.append(f"{'':<22}worst {''.join(_cell(poorest.get(name)) for name in columns)}".rstrip())
        lines += _verdict(described, summary)
    return "\n".join(lines)


def run_described(described: Described, arguments: argparse.Namespace) -> int:
    """Run and print; returns 1 if the mean over a controller's seeds misses a bound.

    Raises:
        ConfigurationError: an unknown controller, or an unusable number or plot file.
        MissingExtraError: matplotlib, for a plot, is not installed.
    """
    from atrion_lab.expectations import keeps, mean, rows, worst
    from atrion_lab.policies.catalog import controller

    target = check_plot(arguments.plot)
    check_number("--seeds", arguments.seeds or 1, 1, 1000)
    controllers = [controller(name.strip()) for name in arguments.controller.split(",")]
    seeds = range(arguments.seed, arguments.seed + (arguments.seeds or 1))
    scenario = described.scenario
    keep = None
    if target is not None:
        from atrion_lab.plots import plot_run

        keep = lambda run: plot_run(run, target)  # noqa: E731  # a function of one line, needed once
    found: dict[str, list[dict[str, Any]]] = {each.name: [] for each in controllers}
    for name, seed, row in rows(scenario, controllers, seeds, described.well, progress("playing"), keep):
        found[name].append(row)
        if arguments.json:
            head = {"scenario": scenario.name, "controller": name, "seed": seed}
            print(json.dumps({**head, **_rounded(row)}), flush=True)
    met = True
    for name, measured in found.items():
        summary = mean(measured)
        kept = all(keeps(summary, described.expect).values())
        met = met and kept
        if arguments.json:
            verdict = {"met": kept} if described.expect else {}
            head = {"scenario": scenario.name, "controller": name, "seed": "mean"}
            print(json.dumps({**head, **_rounded(summary), **verdict, "worst": _rounded(worst(measured))}))
    if not arguments.json:
        count = f"{len(seeds)} seeds" if len(seeds) > 1 else f"seed {seeds[0]}"
        print(f"{scenario.name}, {count}: {scenario.about}")
        print(_table(described, found))
    sys.stdout.flush()
    return 0 if met else 1


def show(run: Run, numbers: dict[str, Any], arguments: argparse.Namespace, about: str) -> int:
    """Print one run with its ``numbers``, and plot it if requested.

    Raises:
        ConfigurationError: an unusable plot file.
        MissingExtraError: matplotlib, for a plot, is not installed.
    """
    from atrion_lab.summary import text

    target = check_plot(arguments.plot)
    if target is not None:
        from atrion_lab.plots import plot_run

        plot_run(run, target)
    if arguments.json:
        print(json.dumps({"summary": numbers, **run.as_dict()}))
    else:
        print(f"{run.scenario} with {run.controller}, seed {run.seed}: {about}")
        print(text(numbers))
    return 0
