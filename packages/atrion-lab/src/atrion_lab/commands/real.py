"""``atrion lab real``: scenarios over real HTTP, next to their simulation if there is one."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import sys
from typing import TYPE_CHECKING, Any

from atrion.cli.parser import examples
from atrion.cli.progress import progress
from atrion.errors import ConfigurationError, MissingExtraError
from atrion_lab.commands.run import seed

if TYPE_CHECKING:
    from atrion_lab.scenarios.real import Bound

__all__ = ["add_parser"]

Found = dict[str, list[float | None]]
"""Measures by name: simulated, None if not possible, and real."""
NO_SIMULATION = "no simulation"


def add_parser(actions: Any) -> None:
    """Declare the command."""
    parser = actions.add_parser(
        "real",
        help="run scenarios over real HTTP on uvicorn, next to their simulation",
        description="Plays scenarios over real HTTP beside their simulation, and services whose bottleneck is the "
        "process itself, which no simulation has. Says when the machine was too busy for its numbers to count.",
        epilog=examples(
            "atrion lab real", "atrion lab real --only cpu-async", "atrion lab real --unprotected"
        ),
    )
    parser.add_argument(
        "--only", metavar="SCENARIO", help="only this scenario, such as flash-crowd or cpu-threads"
    )
    parser.add_argument("--seed", type=seed, default=1, help="seed of arrivals, tiers and work (default 1)")
    parser.add_argument("--unprotected", action="store_true", help="without Atrion")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Simulate each scenario, run it for real, and print both.

    Raises:
        AtrionError: the servers do not start.
        ConfigurationError: an unknown scenario.
        MissingExtraError: uvicorn is not installed.
    """
    from atrion_lab.real.process import PROCESS
    from atrion_lab.scenarios.real import REAL

    known = [*REAL, *PROCESS]
    if arguments.only is not None and arguments.only not in known:
        raise ConfigurationError("--only", arguments.only, f"use one of {', '.join(known)}")
    if importlib.util.find_spec("uvicorn") is None:
        raise MissingExtraError("atrion lab real", "demo")
    names = [arguments.only] if arguments.only else known
    show = progress("playing")
    found: dict[str, Found] = {}
    notes: list[str] = []
    for done, name in enumerate(names):

        def tell(share: float, done: int = done) -> None:
            show((done + share) / len(names))

        tell(0.0)
        if name in PROCESS:
            played, said = PROCESS[name].played(arguments.seed, not arguments.unprotected, tell)
            found[name] = {measure: [None, value] for measure, value in played.items()}
        else:
            found[name], said = _both(name, arguments.seed, not arguments.unprotected)
        notes += said
    show(1.0)
    print(json.dumps(found) if arguments.json else _table(found))
    for note in notes:
        print(note, file=sys.stderr)
    return 0


def _both(name: str, dice_seed: int, protected: bool) -> tuple[Found, list[str]]:
    """A scenario simulated and real, and a note about the machine."""
    from atrion_lab.policies.catalog import controller
    from atrion_lab.real.http import play, served
    from atrion_lab.real.streams import Companions
    from atrion_lab.scenario import simulate
    from atrion_lab.scenarios.real import REAL

    each = REAL[name]
    simulated: dict[str, float] = {}
    if not each.streams:
        policy = controller("atrion" if protected else "none")
        simulated = each.measured(simulate(each.scenario, policy, dice_seed))
    with served(name, protected) as (port, start):
        beside = Companions(port) if each.streams else None
        run, strain = asyncio.run(play(each.scenario, port, start, dice_seed, beside))
    real = each.measured(run)
    if beside is not None:
        real |= beside.measured()
    note = strain.trouble(name)
    return {measure: [simulated.get(measure), value] for measure, value in real.items()}, [
        note
    ] if note else []


def _bound(name: str, measure: str) -> Bound | None:
    from atrion_lab.real.process import PROCESS
    from atrion_lab.scenarios.real import REAL

    return PROCESS[name].bound(measure) if name in PROCESS else REAL[name].bounds.get(measure)


def _verdict(bound: Bound | None, value: float) -> str:
    if bound is None:
        return ""
    sign, target = bound
    kept = value >= target if sign == "≥" else value <= target
    return f"  {'✓' if kept else '✗'} {sign} {target:g}"


def _table(found: dict[str, Found]) -> str:
    lines = [f"{'scenario':<18}{'measure':<34}{'simulated':>14}{'real':>10}"]
    for name, measures in found.items():
        head, missing = name, NO_SIMULATION
        for measure, (simulated, real) in measures.items():
            assert real is not None
            left = missing if simulated is None else f"{simulated:.3f}"
            verdict = _verdict(_bound(name, measure), real)
            lines.append(f"{head:<18}{measure:<34}{left:>14}{real:>10.3f}{verdict}")
            head = missing = ""
    return "\n".join(lines)
