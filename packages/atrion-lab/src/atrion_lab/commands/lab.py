"""``atrion lab``: scenarios played against the real engine on virtual time."""

from __future__ import annotations

import argparse
import json
from typing import Any

from atrion.cli import (
    lab_bench,
    lab_compare,
    lab_harm,
    lab_hypotheses,
    lab_map,
    lab_published,
    lab_real,
    lab_recovery,
    lab_run,
    lab_search,
)

__all__ = ["add_parser"]


def add_parser(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "lab",
        help="simulated overloads and outages, with Atrion and with others",
        epilog="example: atrion lab run flash-crowd --plot flash-crowd.svg",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser(
        "list", help="scenarios and controllers", epilog="example: atrion lab list    atrion lab list --json"
    )
    listing.add_argument("--json", action="store_true", help="print one JSON object")
    listing.set_defaults(run=run_list)
    lab_run.add_parsers(actions)
    lab_compare.add_parser(actions)
    lab_bench.add_parser(actions)
    lab_search.add_parser(actions)
    lab_real.add_parser(actions)
    lab_map.add_parser(actions)
    lab_harm.add_parser(actions)
    lab_recovery.add_parser(actions)
    lab_hypotheses.add_parser(actions)
    lab_published.add_parser(actions)


def run_list(arguments: argparse.Namespace) -> int:
    """``atrion lab list``."""
    from atrion.lab.policies.catalog import CONTROLLERS  # here and below: a command's imports slow no other
    from atrion.lab.scenarios import DESCRIBED, SCENARIOS, described

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
