"""``atrion lab published``: published experiments, simulated with Atrion and with baselines."""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

from atrion.cli.parser import examples
from atrion.cli.progress import progress
from atrion.physics.config import check_number
from atrion_lab.commands.run import seed
from atrion_lab.figure import check_plot

__all__ = ["NAMES", "add_parser", "table"]

NAMES = ("dagor", "netflix", "breakwater", "topfull", "metastable")
"""Names of the experiments, listed here so that other commands need not import them."""


def add_parser(actions: Any) -> None:
    """Declare the command."""
    parser = actions.add_parser(
        "published",
        help="simulate published experiments on overload control with Atrion",
        epilog=examples(
            "atrion lab published",
            "atrion lab published dagor --plot dagor.svg",
            "atrion lab published metastable --seeds 10 --json",
        ),
    )
    parser.add_argument(
        "name",
        nargs="?",
        choices=NAMES,
        help="one experiment (default all, a few minutes)",
    )
    parser.add_argument("--seeds", type=int, default=3, help="1 to 1000 (default 3)")
    parser.add_argument("--seed", type=seed, default=1, help="the first seed (default 1)")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, help="1 to 64 (default all cores)"
    )
    parser.add_argument("--json", action="store_true", help="print the rows as JSON, one per line")
    parser.add_argument("--plot", metavar="FILE", help="write a bar chart to a .png or .svg file")
    parser.set_defaults(run=run)


def _cell(value: float | None, width: int) -> str:
    from atrion_lab.measures import NEVER

    text = "" if value is None else "never" if value >= NEVER else f"{value:.3f}"
    return text.rjust(width)


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as text, one block per experiment."""
    from atrion_lab.published import EXPERIMENTS

    lines = []
    for name, experiment in EXPERIMENTS.items():
        own = [row for row in rows if row["experiment"] == name]
        if not own:
            continue
        computed = [each for each in ("optimum", "random") if any(row[each] is not None for row in own)]
        widths = [max(len(each) + 2, 9) for each in (*computed, *experiment.controllers)]
        names = zip((*computed, *experiment.controllers), widths, strict=True)
        lines += [f"{name}: {experiment.about}", f"  {experiment.source}"]
        head = "".join(each.rjust(width) for each, width in names)
        lines.append(f"  {'case':<18}{'measure':<28}{'published':<40}{head}")
        for row in own:
            case = row["scenario"].removeprefix(f"{name}-")
            means = [None if value is None else value[0] for value in row["values"].values()]
            values = zip((*(row[each] for each in computed), *means), widths, strict=True)
            cells = "".join(_cell(value, width) for value, width in values)
            lines.append(f"  {case:<18}{row['measure']:<28}{row['published']:<40}{cells}".rstrip())
        lines.append("")
    return "\n".join(lines).rstrip()


def run(arguments: argparse.Namespace) -> int:
    """Run and print.

    Raises:
        ConfigurationError: an unusable number or plot file.
        MissingExtraError: matplotlib, for a plot, is not installed.
    """
    from atrion_lab.published import EXPERIMENTS, play_all

    target = check_plot(arguments.plot)
    check_number("--seeds", arguments.seeds, 1, 1000)
    check_number("--processes", arguments.processes, 1, 64)
    seeds = range(arguments.seed, arguments.seed + arguments.seeds)
    names = NAMES if arguments.name is None else (arguments.name,)
    chosen = [EXPERIMENTS[name] for name in names]
    found = play_all(chosen, seeds, arguments.processes, progress("playing"))
    if target is not None:
        from atrion_lab.published_plot import plot

        plot(found, target)
    if arguments.json:
        for row in found:
            print(json.dumps({**row, "seeds": len(seeds)}))
    else:
        count = f"{len(seeds)} seeds, their mean" if len(seeds) > 1 else f"seed {seeds[0]}"
        print(f"{count}\n{table(found)}")
    return 0
