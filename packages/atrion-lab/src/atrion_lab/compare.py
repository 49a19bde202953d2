"""Compares controllers on one scenario with the same requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from atrion.errors import ConfigurationError
from atrion_lab.bench import Job, available, results
from atrion_lab.metrics import interval
from atrion_lab.policies.catalog import BASELINES, CONTROLLERS

__all__ = ["MEASURED", "Standing", "chosen", "compare"]

MEASURED = (
    "goodput / capacity",
    "critical success",
    "success",
    "rejected",
    "p99 of admitted, s",
    "break transitions",
)
GROUPS = {
    "all": tuple(CONTROLLERS),
    "baselines": ("atrion", *BASELINES),
    "ablations": tuple(name for name in CONTROLLERS if name.startswith("atrion")),
}


@dataclass(frozen=True, slots=True)
class Standing:
    """What one controller reached: mean and 95% interval over the seeds, of each measure."""

    controller: str
    values: dict[str, tuple[float, float, float]]


def chosen(text: str) -> list[str]:
    """Controllers by name, separated by commas; ``all``, ``baselines`` and ``ablations`` stand for many.

    Raises:
        ConfigurationError: a name means nothing.
    """
    names: list[str] = []
    for word in text.split(","):
        found = GROUPS.get(word.strip(), (word.strip(),))
        for name in found:
            if name not in CONTROLLERS:
                known = ", ".join((*GROUPS, *CONTROLLERS))
                raise ConfigurationError("--controllers", text, f"use names of {known}")
            if name not in names and available(name):
                names.append(name)
    return names


def compare(
    scenario: str,
    controllers: Sequence[str],
    seeds: Sequence[int],
    workers: int = 1,
    measures: Sequence[str] = MEASURED,
    tell: Callable[[int, int], None] = lambda done, of: None,
) -> list[Standing]:
    """Play ``scenario`` with each controller and seed; the best goodput first."""
    planned: list[Job] = [(scenario, name, seed, tuple(measures)) for name in controllers for seed in seeds]
    found = results(planned, workers, tell)
    standings = [
        Standing(
            name,
            {
                measure: interval([found[measure, scenario, name][seed] for seed in seeds])
                for measure in measures
            },
        )
        for name in controllers
    ]
    return sorted(standings, key=lambda standing: -standing.values[measures[0]][0])
