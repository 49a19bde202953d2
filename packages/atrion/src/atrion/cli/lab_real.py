"""``atrion lab real``: the same scenarios, simulated and over real HTTP, side by side."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
from typing import Any

from atrion.cli.lab_map import progress
from atrion.cli.lab_run import seed
from atrion.errors import ConfigurationError, MissingExtraError

__all__ = ["add_parser"]


def add_parser(actions: Any) -> None:
    """Declare the command."""
    parser = actions.add_parser(
        "real",
        help="scenarios over real HTTP on uvicorn, beside their simulation",
        epilog="examples: atrion lab real    atrion lab real --only flash-crowd    atrion lab real --unprotected",
    )
    parser.add_argument("--only", metavar="SCENARIO", help="only this one, such as flash-crowd")
    parser.add_argument("--seed", type=seed, default=1, help="of arrivals, tiers and work (default 1)")
    parser.add_argument("--unprotected", action="store_true", help="without Atrion")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Simulate and play each scenario, and print both.

    Raises:
        AtrionError: the servers do not start.
        ConfigurationError: an unknown scenario.
        MissingExtraError: uvicorn is not installed.
    """
    from atrion.cli.lab_real_http import play, served
    from atrion.lab.policies.catalog import controller
    from atrion.lab.scenario import simulate
    from atrion.lab.scenarios.real import REAL

    if arguments.only is not None and arguments.only not in REAL:
        raise ConfigurationError("--only", arguments.only, f"use one of {', '.join(REAL)}")
    if importlib.util.find_spec("uvicorn") is None:
        raise MissingExtraError("atrion lab real", "demo")
    names = [arguments.only] if arguments.only else list(REAL)
    policy = controller("none" if arguments.unprotected else "atrion")
    show = progress("playing")
    found = {}
    for done, name in enumerate(names):
        each = REAL[name]
        show(done / len(names))
        simulated = each.measured(simulate(each.scenario, policy, arguments.seed))
        with served(name, not arguments.unprotected) as (port, start):
            real = each.measured(asyncio.run(play(each.scenario, port, start, arguments.seed)))
        found[name] = {measure: [simulated[measure], real[measure]] for measure in real}
    show(1.0)
    print(json.dumps(found) if arguments.json else _table(found))
    return 0


def _table(found: dict[str, dict[str, list[float]]]) -> str:
    lines = [f"{'scenario':<18}{'measure':<28}{'simulated':>10}{'real':>10}"]
    for name, measures in found.items():
        for measure, (simulated, real) in measures.items():
            lines.append(f"{name:<18}{measure:<28}{simulated:>10.3f}{real:>10.3f}")
            name = ""  # noqa: PLW2901  # said once
    return "\n".join(lines)
