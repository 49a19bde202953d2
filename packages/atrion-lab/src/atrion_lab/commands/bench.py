"""``atrion lab bench``: the table of targets."""

from __future__ import annotations

import argparse
import json
from typing import Any

from atrion.cli.parser import examples
from atrion.cli.progress import progress
from atrion.errors import ConfigurationError
from atrion.physics.config import check_number
from atrion_lab.commands.run import seed
from atrion_lab.figure import check_plot

__all__ = ["add_parser", "table"]


def add_parser(actions: Any) -> None:
    """Declare the command."""
    parser = actions.add_parser(
        "bench",
        help="measure every target over many seeds, next to the baselines",
        epilog=examples(
            "atrion lab bench", "atrion lab bench --quick", "atrion lab bench --only retry --json"
        ),
    )
    parser.add_argument("--quick", action="store_true", help="every row with few seeds, on one core")
    parser.add_argument("--seeds", type=int, help="seeds, 1 to 1000 (default 10, quick 1)")
    parser.add_argument("--seed", type=seed, default=1, help="the first seed (default 1)")
    parser.add_argument("--workers", type=int, help="processes, 1 to 64 (default all cores, quick 1)")
    parser.add_argument("--controller", default="atrion", help="the controller to measure (default atrion)")
    parser.add_argument("--only", metavar="TEXT", help="only rows whose measure or scenario contains it")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON, one per line")
    parser.add_argument("--plot", metavar="FILE", help="plot values and targets into a .png or .svg file")
    parser.set_defaults(run=run)


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as text."""
    head = f"{'measure':<44}{'scenario':<24}{'value':>9}  {'95% interval':<19}{'target':>9}"
    lines = [head, "─" * (len(head) + 8)]
    for row in rows:
        sign = "≤" if row["sense"] == "at most" else "≥"
        span = f"{row['low']:.3f} … {row['high']:.3f}" if row["seeds"] > 1 else "one seed"
        beside = f"  ({row['against']})" if row["against"] else ""
        lines.append(
            f"{row['measure']:<44}{row['scenario']:<24}{row['value']:>9.3f}  {span:<19}{sign} {row['target']:<7g}"
            f"{'met' if row['met'] else 'MISSED'}{beside}"
        )
    met = sum(row["met"] for row in rows)
    return "\n".join([*lines, f"{met} of {len(rows)} rows met"])


def run(arguments: argparse.Namespace) -> int:
    """Measure and print the table.

    Raises:
        ConfigurationError: an unknown controller, an unusable number or plot file, or no row that matches.
        MissingExtraError: matplotlib, for a plot, is not installed.
    """
    from atrion_lab.bench import ROWS, bench
    from atrion_lab.policies.catalog import controller

    target = check_plot(arguments.plot)
    for name, high in (("seeds", 1000), ("workers", 64)):
        if getattr(arguments, name) is not None:
            check_number(f"--{name}", getattr(arguments, name), 1, high)
    if not controller(arguments.controller).name.startswith("atrion"):
        raise ConfigurationError("--controller", arguments.controller, "name one of Atrion's own")
    rows = [
        row
        for row in ROWS
        if arguments.only is None or arguments.only in row.name or arguments.only in row.scenario
    ]
    if not rows:
        raise ConfigurationError("--only", arguments.only, "no row's measure or scenario contains it")
    show = progress("measuring")
    found = bench(
        arguments.controller,
        quick=arguments.quick,
        seeds=arguments.seeds,
        first=arguments.seed,
        workers=arguments.workers,
        rows=rows,
        tell=lambda done, of: show(done / of),
    )
    if target is not None:
        from atrion_lab.bench_plots import plot_rows

        plot_rows(found, target)
    print("\n".join(json.dumps(row) for row in found) if arguments.json else table(found))
    return 0
