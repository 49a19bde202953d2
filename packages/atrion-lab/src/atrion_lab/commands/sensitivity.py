"""``atrion lab search --sensitivity``: the effect of halving and doubling each constant of the controller."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from atrion.cli.progress import progress
from atrion.errors import ConfigurationError

if TYPE_CHECKING:
    from atrion_lab.constants import Constant
    from atrion_lab.sensitivity import Change

__all__ = ["run"]

TITLES = ("idle", "work", "critical", "p99/deadline")
"""Headings of the measures, in their order."""


def _chosen(only: str | None) -> list[Constant]:
    from atrion_lab.constants import constants

    found = constants()
    if only is None:
        return list(found)
    parts = [part.strip() for part in only.split(",")]
    chosen = [each for each in found if any(part and part in each.label for part in parts)]
    if not chosen:
        names = ", ".join(each.label for each in found)
        raise ConfigurationError("--only", only, f"give parts of one or several of {names}")
    return chosen


def _scenarios(names: str | None) -> tuple[str, ...]:
    from atrion_lab.scenarios import DESCRIBED
    from atrion_lab.sensitivity import SCENARIOS

    if names is None:
        return SCENARIOS
    chosen = tuple(dict.fromkeys(name.strip() for name in names.split(",")))
    for name in chosen:
        if name not in DESCRIBED:
            raise ConfigurationError("--scenarios", name, f"use some of {', '.join(DESCRIBED)}")
    return chosen


def _row(change: Change, base: Change) -> dict[str, Any]:
    if change.problem:
        return {"value": change.value, "problem": change.problem}
    means = {name: round(value, 5) for name, value in change.mean().items()}
    return {"value": change.value, **means, "suffers": change.suffers(base) or None}


def _numbers(values: Any, form: str) -> str:
    return "".join(f"{value:{form}}" for value in values)


def _lines(constant: Constant, changes: list[Change], base: Change) -> list[str]:
    lines = [f"{constant.label} = {constant.value:g}: {constant.meaning}"]
    if all(not change.problem and change.found == base.found for change in changes):
        return [*lines, f"{' or '.join(f'{change.value:g}' for change in changes):>16}  nothing changes"]
    normal = base.mean()
    for change in changes:
        if change.problem:
            lines.append(f"{change.value:>16g}  {change.problem}")
            continue
        # Adding zero turns −0 into 0.
        moved = (round(value - normal[name], 4) + 0.0 for name, value in change.mean().items())
        lines.append(f"{change.value:>16g}{_numbers(moved, '>+13.4f')}  {change.suffers(base)}".rstrip())
    return lines


def run(arguments: argparse.Namespace, options: dict[str, Any]) -> int:
    """Vary the constants and print the effects.

    Raises:
        AtrionError: the core is compiled.
        ConfigurationError: an unknown constant or scenario.
    """
    from atrion_lab.sensitivity import FACTORS, sensitivity

    chosen = _chosen(arguments.only)
    scenarios = _scenarios(arguments.scenarios)
    base, changes = sensitivity(chosen, scenarios=scenarios, tell=progress("varying"), **options)
    each = len(FACTORS)
    groups = [(constant, changes[at * each : (at + 1) * each]) for at, constant in enumerate(chosen)]
    if arguments.json:
        rows = [
            {
                "constant": constant.label,
                "default": constant.value,
                "meaning": constant.meaning,
                "changes": [_row(change, base) for change in group],
            }
            for constant, group in groups
        ]
        defaults = {name: round(value, 5) for name, value in base.mean().items()}
        print(json.dumps({"scenarios": scenarios, "defaults": defaults, "constants": rows}))
        return 0
    seeds = len(options["seeds"])
    print(
        f"means over {', '.join(scenarios)}, {seeds} seed{'s' if seeds > 1 else ''} each; below, differences"
    )
    print(f"{'':>16}{''.join(f'{title:>13}' for title in TITLES)}  what suffers most")
    print(f"{'the defaults':>16}{_numbers(base.mean().values(), '>13.4f')}")
    for constant, group in groups:
        print("\n".join(_lines(constant, group, base)))
    return 0
