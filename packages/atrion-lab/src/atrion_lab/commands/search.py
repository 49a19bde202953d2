"""``atrion lab search``: searches for better defaults, or measures the effect of each constant."""

from __future__ import annotations

import argparse
import json
import os
from typing import TYPE_CHECKING, Any

from atrion.cli.parser import examples
from atrion.cli.progress import progress
from atrion.errors import ConfigurationError
from atrion.physics.config import check_number
from atrion_lab.commands import sensitivity
from atrion_lab.commands.run import seed

if TYPE_CHECKING:
    from atrion_lab.search import Trial

__all__ = ["add_parser"]


def add_parser(actions: Any) -> None:
    """Declare the command."""
    parser = actions.add_parser(
        "search",
        help="search for better defaults, on separate training scenarios",
        description="Points are lost where the training scenarios fall short; 0 is perfect.",
        epilog=examples(
            "atrion lab search --trials 200", "atrion lab search --sensitivity --only capacity.DIP"
        ),
    )
    parser.add_argument("--trials", type=int, default=60, help="settings to try, 1 to 100000 (default 60)")
    parser.add_argument(
        "--sensitivity",
        action="store_true",
        help="instead, halve and double each constant of the controller, in scenario files (pure Python engine)",
    )
    parser.add_argument(
        "--only", metavar="NAMES", help="with --sensitivity: parts of constants' names, separated by commas"
    )
    parser.add_argument(
        "--scenarios", metavar="NAMES", help="with --sensitivity: scenario files, separated by commas"
    )
    parser.add_argument("--seeds", type=int, default=2, help="seeds of each setting, 1 to 100 (default 2)")
    parser.add_argument("--seed", type=seed, default=1, help="the first seed (default 1)")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="processes (default all cores)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def _row(trial: Trial) -> dict[str, Any]:
    costs = {name: round(cost, 4) for name, cost in trial.costs.items()}
    return {"score": round(trial.score, 5), "changes": dict(trial.changes), "costs": costs}


def run(arguments: argparse.Namespace) -> int:
    """Search, or vary the constants.

    Raises:
        ConfigurationError: an unusable number.
    """
    for name, high in (("trials", 100_000), ("seeds", 100), ("workers", 64)):
        check_number(f"--{name}", getattr(arguments, name), 1, high)
    if arguments.sensitivity:
        seeds = range(arguments.seed, arguments.seed + arguments.seeds)
        return sensitivity.run(arguments, {"seeds": seeds, "workers": arguments.workers})
    for name in ("only", "scenarios"):
        if getattr(arguments, name) is not None:
            raise ConfigurationError(f"--{name}", getattr(arguments, name), "use it with --sensitivity")
    return _search(arguments)


def _search(arguments: argparse.Namespace) -> int:
    from atrion_lab.search import defaults, search

    base, best = search(
        arguments.trials,
        seed=arguments.seed,
        seeds=arguments.seeds,
        workers=arguments.workers,
        tell=progress("searching"),
    )
    if arguments.json:
        print(json.dumps({"default": _row(base), "best": _row(best)}))
        return 0
    print(
        f"points lost on fresh seeds: default {base.score:.4f}, best of {arguments.trials} {best.score:.4f}"
    )
    known = defaults()
    for name, value in best.changes.items():
        print(f"  {name:<28}{known[name]:>9g} → {value:g}")
    for name in sorted(base.costs, key=lambda each: -base.costs[each]):
        print(f"  {name:<40}{base.costs[name]:8.3f}{best.costs[name]:8.3f}")
    return 0
