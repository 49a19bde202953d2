"""``atrion lab``: scenarios played against the real engine on virtual time."""

from __future__ import annotations

import argparse
import json
from typing import Any

from atrion.cli import lab_map
from atrion.lab.metrics import Run
from atrion.lab.policies.catalog import CONTROLLERS, controller
from atrion.lab.scenario import Scenario, simulate
from atrion.lab.scenarios import SCENARIOS, scenario

__all__ = ["add_parser"]


def add_parser(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("lab", help="simulated overloads and outages, with Atrion and with others")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="scenarios and controllers")
    listing.add_argument("--json", action="store_true")
    listing.set_defaults(run=run_list)
    play = actions.add_parser("run", help="play one scenario")
    play.add_argument("scenario")
    play.add_argument("--controller", default="atrion")
    play.add_argument("--seed", type=int, default=1)
    play.add_argument("--json", action="store_true")
    play.set_defaults(run=run_scenario)
    lab_map.add_parser(actions)


def run_list(arguments: argparse.Namespace) -> int:
    """``atrion lab list``."""
    if arguments.json:
        print(
            json.dumps(
                {
                    "scenarios": {each.name: each.about for each in SCENARIOS.values()},
                    "controllers": {each.name: each.about for each in CONTROLLERS.values()},
                }
            )
        )
        return 0
    for title, entries in (("scenarios", SCENARIOS), ("controllers", CONTROLLERS)):
        print(title)
        for each in entries.values():
            print(f"  {each.name:<28}{each.about}")
    return 0


def summary(played: Scenario, run: Run) -> dict[str, Any]:
    """The main numbers of a run, over the scenario's window."""
    start, end = played.window
    offered = run.count("offered", start, end)
    return {
        "offered_per_capacity": round(offered / (end - start) / run.capacity, 4),
        "goodput_per_capacity": round(run.goodput(start, end), 4),
        "success": [round(run.success(start, end, tier), 4) for tier in range(5)],
        "rejected_share": round(
            run.count("rejected", start, end) / max(run.count("attempts", start, end), 1), 5
        ),
        "p50": round(run.latency(0.5, start, end), 4),
        "p99": round(run.latency(0.99, start, end), 4),
        "break_transitions": run.transitions(),
        "open_share": round(run.share_open(), 4),
    }


def run_scenario(arguments: argparse.Namespace) -> int:
    """``atrion lab run``."""
    played = scenario(arguments.scenario)
    run = simulate(played, controller(arguments.controller), arguments.seed)
    numbers = summary(played, run)
    if arguments.json:
        print(json.dumps({"summary": numbers, **run.as_dict()}))
        return 0
    print(f"{played.name} with {run.controller}, seed {run.seed}: {played.about}")
    for name, value in numbers.items():
        print(f"  {name:<24}{value}")
    return 0
