"""``atrion lab whale``: one lease holds a lock that all calls wait for."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from atrion.cli.parser import examples
from atrion.cli.progress import progress
from atrion.physics.config import check_number

__all__ = ["add_parser", "table"]


def add_parser(actions: Any) -> None:
    """Declare the command."""
    parser = actions.add_parser(
        "whale",
        help="one lease holds a lock that all calls wait for: what is lost, and who is asked to stop",
        epilog=examples("atrion lab whale", "atrion lab whale --seeds 40 --check"),
    )
    parser.add_argument("--seeds", type=int, default=10, help="seeds, 1 to 1000 (default 10)")
    parser.add_argument("--seed", type=int, default=1, help="the first seed (default 1)")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON, one per line")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bound is missed")
    parser.set_defaults(run=run)


def table(found: Sequence[dict[str, Any]]) -> str:
    """A line for each mode: the mean over the seeds, and the worst seed."""
    from atrion_lab.whale import GOODPUT, STOPPED, missed

    lines = [
        "one whale holds a lock for 60 s of 110; goodput over that without it, mean (worst seed)",
        f"{'the whale is':<14}{'goodput':>16}{'critical':>16}{'held the lock':>18}{'leases stopped':>20}{'others':>8}",
    ]
    for mode in dict.fromkeys(row["mode"] for row in found):
        own = [row for row in found if row["mode"] == mode]

        def of(name: str, rows: list[dict[str, Any]] = own) -> list[float]:
            return [row[name] for row in rows]

        good, critical, held, stopped = of("goodput"), of("critical"), of("held_seconds"), of("stopped")
        lines.append(
            f"{mode:<14}"
            f"{f'{fmean(good):.3f} ({min(good):.3f})':>16}"
            f"{f'{fmean(critical):.3f} ({min(critical):.3f})':>16}"
            f"{f'{fmean(held):.1f} s ({max(held):.1f} s)':>18}"
            f"{f'{fmean(stopped):.3%} ({max(stopped):.3%})':>20}"
            f"{int(sum(of('innocent'))):>8}"
        )
    lost = len(missed(found))
    judged = sum(row["mode"] != "unasked" for row in found)
    bounds = f"goodput ≥ {GOODPUT:g} and ≤ {STOPPED:.1%} of the leases stopped"
    return "\n".join([*lines, f"{bounds}: met in {judged - lost} of {judged} runs"])


def run(arguments: argparse.Namespace) -> int:
    """Play and print; with ``--check`` returns 1 if a bound is missed.

    Raises:
        ConfigurationError: an unusable number of seeds.
    """
    from atrion_lab.whale import MODES, missed, rows

    check_number("--seeds", arguments.seeds, 1, 1000)
    seeds = range(arguments.seed, arguments.seed + arguments.seeds)
    found = rows(MODES, seeds, os.cpu_count() or 1, progress("playing"))
    print("\n".join(json.dumps(row) for row in found) if arguments.json else table(found))
    return int(arguments.check and bool(missed(found)))
