"""Scenarios by name."""

from __future__ import annotations

import re
from pathlib import Path

from atrion.errors import ConfigurationError
from atrion_lab.scenario import Scenario
from atrion_lab.scenario_file import Described, load_file
from atrion_lab.scenarios.apps import APPS
from atrion_lab.scenarios.clusters import CLUSTERS
from atrion_lab.scenarios.faults import FAULTS
from atrion_lab.scenarios.load import LOAD, steady
from atrion_lab.scenarios.published import PUBLISHED
from atrion_lab.suggest import cure_for

__all__ = ["DESCRIBED", "SCENARIOS", "described", "scenario"]

SCENARIOS: dict[str, Scenario] = {each.name: each for each in (*LOAD, *FAULTS, *APPS, *CLUSTERS, *PUBLISHED)}

FOLDER = Path(__file__).parent / "files"
DESCRIBED: dict[str, Path] = {path.stem: path for path in sorted(FOLDER.glob("*.toml"))}
"""Scenario files that come with the lab, by name: services with the bounds that admission must keep in them."""


def described(name: str, scale: float = 1.0) -> Described:
    """The scenario file of a name in DESCRIBED, with its bounds and ``scale`` times its traffic."""
    return load_file(DESCRIBED[name], scale)


def scenario(name: str) -> Scenario:
    """The scenario of a name; ``steady-3x`` works for every factor.

    Raises:
        ConfigurationError: there is none.
    """
    if name in SCENARIOS:
        return SCENARIOS[name]
    if name in DESCRIBED:
        return described(name).scenario
    factor = re.fullmatch(r"steady-(\d{1,3}(?:\.\d{1,3})?)x", name)
    if factor is None or float(factor[1]) <= 0.0:
        raise ConfigurationError("scenario", name, cure_for(name, (*SCENARIOS, *DESCRIBED, "steady-4x")))
    return steady(float(factor[1]))
