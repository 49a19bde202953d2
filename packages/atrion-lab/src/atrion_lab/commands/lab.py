"""``atrion lab``: scenarios simulated with the real engine on virtual time."""

from __future__ import annotations

import argparse
import json
from typing import Any

from atrion.cli.parser import examples
from atrion_lab.commands import (
    bench,
    compare,
    harm,
    hypotheses,
    published,
    real,
    recovery,
    run,
    search,
    stability,
    whale,
)

__all__ = ["add_parser"]


def add_parser(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "lab",
        help="simulate overloads and failures with Atrion and other controllers",
        epilog=examples("atrion lab run flash-crowd --plot flash-crowd.svg"),
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser(
        "list", help="scenarios and controllers", epilog=examples("atrion lab list", "atrion lab list --json")
    )
    listing.add_argument("--json", action="store_true", help="print one JSON object")
    listing.set_defaults(run=run_list)
    run.add_parsers(actions)
    compare.add_parser(actions)
    bench.add_parser(actions)
    search.add_parser(actions)
    real.add_parser(actions)
    stability.add_parser(actions)
    harm.add_parser(actions)
    recovery.add_parser(actions)
    hypotheses.add_parser(actions)
    published.add_parser(actions)
    whale.add_parser(actions)


def run_list(arguments: argparse.Namespace) -> int:
    """``atrion lab list``."""
    from atrion_lab.policies.catalog import (
        CONTROLLERS,
    )  # here and below: imports of one command must not slow the others
    from atrion_lab.scenarios import DESCRIBED, SCENARIOS, described

    found = {
        "scenarios": {each.name: each.about for each in SCENARIOS.values()},
        "scenario files": {name: described(name).scenario.about for name in DESCRIBED},
        "controllers": {each.name: each.about for each in CONTROLLERS.values()},
    }
    if arguments.json:
        print(json.dumps(found))
        return 0
    for title, entries in found.items():
        print(title)
        for name, about in entries.items():
            print(f"  {name:<26}{about}")
    return 0
