"""``atrion lab compare``: one scenario, many controllers."""

from __future__ import annotations

import argparse
import json
import os
from typing import TYPE_CHECKING, Any

from atrion.cli.parser import examples
from atrion.cli.progress import progress
from atrion.physics.config import check_number
from atrion_lab.commands.run import seed
from atrion_lab.figure import check_plot

if TYPE_CHECKING:
    from atrion_lab.compare import Standing

__all__ = ["add_parser"]

DRAWN = ("goodput / capacity", "critical success", "p99 of admitted, s")


def add_parser(actions: Any) -> None:
    """Declare the command."""
    parser = actions.add_parser(
        "compare",
        help="run one scenario with many controllers, on the same requests",
        epilog=examples(
            "atrion lab compare steady-4x",
            "atrion lab compare dead-dependency --controllers ablations --plot ablations.svg",
        ),
    )
    parser.add_argument("scenario", help="a name from `atrion lab list`")
    parser.add_argument(
        "--controllers",
        default="baselines",
        help="names separated by commas, or baselines, ablations, all (default baselines)",
    )
    parser.add_argument("--seeds", type=int, default=10, help="1 to 1000 (default 10)")
    parser.add_argument("--seed", type=seed, default=1, help="the first seed (default 1)")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="processes (default all cores)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per controller")
    parser.add_argument("--plot", metavar="FILE", help="write a bar chart to a .png or .svg file")
    parser.set_defaults(run=run)


def _line(standing: Standing, seeds: int) -> str:
    cells = []
    for mean, low, high in standing.values.values():
        spread = f"±{(high - low) / 2.0:<7.3f}" if seeds > 1 else ""
        cells.append(f"{mean:>9.3f} {spread}")
    return f"{standing.controller:<20}{''.join(cells)}".rstrip()


def run(arguments: argparse.Namespace) -> int:
    """Run and print.

    Raises:
        ConfigurationError: an unknown name, or an unusable number or plot file.
        MissingExtraError: matplotlib, for a plot, is not installed.
    """
    from atrion_lab.compare import chosen, compare
    from atrion_lab.scenarios import scenario

    target = check_plot(arguments.plot)
    check_number("--seeds", arguments.seeds, 1, 1000)
    check_number("--workers", arguments.workers, 1, 64)
    played = scenario(arguments.scenario)
    names = chosen(arguments.controllers)
    seeds = range(arguments.seed, arguments.seed + arguments.seeds)
    show = progress("playing")
    found = compare(played.name, names, seeds, arguments.workers, tell=lambda done, of: show(done / of))
    if target is not None:
        from atrion_lab.bench_plots import plot_standings

        plot_standings(played, found, DRAWN, target)
    if arguments.json:
        for standing in found:
            print(json.dumps({"controller": standing.controller, **standing.values}))
        return 0
    count = f"{len(seeds)} seeds" if len(seeds) > 1 else f"seed {seeds[0]}"
    print(f"{played.name}, {count}: {played.about}")
    heads = ("goodput", "critical", "success", "rejected", "p99, s", "breaks")
    gap = " " * (9 if len(seeds) > 1 else 1)
    print(f"{'controller':<20}{gap.join(f'{head:>9}' for head in heads)}")
    print("\n".join(_line(standing, len(seeds)) for standing in found))
    return 0
