"""Scenarios by name."""

from __future__ import annotations

import re

from atrion.errors import ConfigurationError
from atrion.lab.scenario import Scenario
from atrion.lab.scenarios.apps import APPS
from atrion.lab.scenarios.clusters import CLUSTERS
from atrion.lab.scenarios.faults import FAULTS
from atrion.lab.scenarios.load import LOAD, steady

__all__ = ["SCENARIOS", "scenario"]

SCENARIOS: dict[str, Scenario] = {each.name: each for each in (*LOAD, *FAULTS, *APPS, *CLUSTERS)}


def scenario(name: str) -> Scenario:
    """The scenario of a name; ``steady-3x`` works for every factor.

    Raises:
        ConfigurationError: there is none.
    """
    if name in SCENARIOS:
        return SCENARIOS[name]
    factor = re.fullmatch(r"steady-(\d{1,3}(?:\.\d{1,3})?)x", name)
    if factor is None or float(factor[1]) <= 0.0:
        raise ConfigurationError("scenario", name, f"use steady-<factor>x or one of {', '.join(SCENARIOS)}")
    return steady(float(factor[1]))
