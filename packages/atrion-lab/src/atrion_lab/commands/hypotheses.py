"""``atrion lab hypotheses``: tests of the claims of RFC-0003."""

from __future__ import annotations

import argparse
import json
from typing import Any

from atrion.cli.parser import examples
from atrion.cli.progress import progress
from atrion.physics.config import check_number
from atrion_lab.figure import check_plot
from atrion_lab.hypotheses import HYPOTHESES, findings

__all__ = ["add_parser"]


def add_parser(actions: Any) -> None:
    """Declare the command."""
    parser = actions.add_parser(
        "hypotheses",
        help="test the three claims of RFC-0003 on flapping, deadlock and routing",
        epilog=examples("atrion lab hypotheses", "atrion lab hypotheses --only routing --plot routing.svg"),
    )
    parser.add_argument("--only", choices=tuple(HYPOTHESES), help="only this one")
    parser.add_argument("--seeds", type=int, default=10, help="seeds, 1 to 1000 (default 10)")
    parser.add_argument("--seed", type=int, default=1, help="the first seed (default 1)")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON, one per line")
    parser.add_argument("--plot", metavar="FILE", help="plot the first seed into a .png or .svg file")
    parser.set_defaults(run=run)


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as text."""
    lines: list[str] = []
    for name, hypothesis in HYPOTHESES.items():
        own = [row for row in rows if row["hypothesis"] == name]
        if not own:
            continue
        lines += ["", f"{name}: {hypothesis.claim}"]
        for row in own:
            span = f"{row['low']:.3f} … {row['high']:.3f}" if row["seeds"] > 1 else "one seed"
            verdict = ""
            if row["target"] is not None:
                sign = "≤" if row["sense"] == "at most" else "≥"
                verdict = f"{sign} {row['target']:<6g}{'met' if row['met'] else 'MISSED'}"
            lines.append(f"  {row['measure']:<66}{row['value']:>9.3f}  {span:<20}{verdict}".rstrip())
    judged = [row for row in rows if row["met"] is not None]
    return "\n".join([*lines[1:], "", f"{sum(row['met'] for row in judged)} of {len(judged)} targets met"])


def run(arguments: argparse.Namespace) -> int:
    """Run, print and plot.

    Raises:
        ConfigurationError: an unusable number of seeds or plot file.
        MissingExtraError: matplotlib, for a plot, is not installed.
    """
    check_number("--seeds", arguments.seeds, 1, 1000)
    target = check_plot(arguments.plot)
    chosen = [each for name, each in HYPOTHESES.items() if arguments.only in (None, name)]
    seeds = range(arguments.seed, arguments.seed + arguments.seeds)
    rows = findings(chosen, seeds, progress("testing"))
    if target is not None:
        from atrion_lab.hypotheses_plot import plot

        plot(chosen, arguments.seed, target)
    print("\n".join(json.dumps(row) for row in rows) if arguments.json else table(rows))
    return 0
