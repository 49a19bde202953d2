"""One simulation, asked for on standard input and answered on standard output, both as JSON."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atrion.errors import AtrionError, ConfigurationError

if TYPE_CHECKING:
    from atrion_lab.metrics import Run
    from atrion_lab.scenario import Scenario

__all__ = ["main"]

POINTS = 240
"""Points of a chart."""
LONGEST = 900.0
"""Seconds that a scenario of the Studio may last."""


def main() -> None:
    """Answer one question."""
    if hasattr(os, "nice"):
        os.nice(10)
    question = json.load(sys.stdin)
    try:
        answer = _names() if question.get("list") else _play(question)
    except AtrionError as error:
        answer = {"error": str(error)}
    json.dump(answer, sys.stdout)


def _names() -> dict[str, Any]:
    from atrion_lab.policies.catalog import CONTROLLERS
    from atrion_lab.scenarios import DESCRIBED, SCENARIOS, described

    scenarios = {name: each.about for name, each in SCENARIOS.items() if each.seconds <= LONGEST}
    for name in DESCRIBED:
        each = described(name).scenario
        if each.seconds <= LONGEST:
            scenarios[name] = each.about
    return {
        "scenarios": dict(sorted(scenarios.items())),
        "controllers": {name: each.about for name, each in CONTROLLERS.items()},
    }


def _scenario(question: dict[str, Any]) -> Scenario:
    """What is to be played.

    Raises:
        AtrionError: it is unknown, unusable or too long.
    """
    from atrion_lab.scenario_file import read_text
    from atrion_lab.scenarios import scenario

    text = question.get("toml")
    if text is None:
        found = scenario(str(question.get("scenario")))
    else:
        _refuse_files(text)
        with tempfile.TemporaryDirectory() as empty:
            found = read_text(text, Path(empty), "the text").scenario
    if found.seconds > LONGEST:
        raise ConfigurationError("seconds", found.seconds, f"the Studio plays at most {LONGEST:g}")
    return found


def _refuse_files(text: str) -> None:
    """Refuse a text that names files: viewers of a dashboard must not read files of the server.

    Raises:
        ConfigurationError: it does.
    """

    def check(value: object) -> None:
        if isinstance(value, dict):
            if "file" in value:
                raise ConfigurationError(
                    "file", value["file"], "recordings are for the command line: atrion lab run"
                )
            for each in value.values():
                check(each)
        elif isinstance(value, list):
            for each in value:
                check(each)

    try:
        check(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, RecursionError):
        pass  # the next reader reports it with a better message


def _play(question: dict[str, Any]) -> dict[str, Any]:
    from atrion_lab.policies.catalog import controller
    from atrion_lab.scenario import simulate
    from atrion_lab.summary import summary

    seed = question.get("seed", 1)
    if not isinstance(seed, int) or not 0 <= seed <= 2**31:
        raise ConfigurationError("seed", seed, "give a whole number, 0 or more")
    chosen = _scenario(question)
    run = simulate(chosen, controller(str(question.get("controller", "atrion"))), seed)
    return {
        "scenario": chosen.name,
        "about": chosen.about,
        "controller": run.controller,
        "seed": seed,
        "seconds": run.seconds,
        "capacity": run.capacity,
        "summary": summary(run, *chosen.window),
        **_series(run),
    }


def _series(run: Run) -> dict[str, Any]:
    """Rates a second and the resistance of the first route, at most POINTS of each."""
    step = max(run.seconds / POINTS, 0.5)
    starts = [index * step for index in range(int(run.seconds / step))]
    found: dict[str, list[float | None]] = {
        kind: [round(run.rate(kind, at, at + step), 1) for at in starts]
        for kind in ("offered", "good", "late", "rejected", "failed")
    }
    trace = run.trace("R")
    ohms: list[float | None] = [None] * len(starts)
    for at, value in trace:
        place = int(at / step)
        if place < len(ohms):
            ohms[place] = round(value, 2)
    found["resistance"] = ohms
    return {"at": [round(at, 2) for at in starts], "series": found}


if __name__ == "__main__":
    main()
