"""A hypothesis, one trial of it, and the findings over many seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from atrion.errors import ConfigurationError
from atrion_lab.metrics import interval
from atrion_lab.simulator import Simulation

__all__ = ["Clock", "Hypothesis", "Measure", "Trial", "findings"]

Trace = list[tuple[float, float]]


@final
class Clock:
    """A simulation's time as an engine's clocks."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def monotonic(self) -> float:
        """Seconds."""
        return 1000.0 + self._simulation.now

    def wall(self) -> float:
        """Seconds since 1970."""
        return 1.7e9 + self._simulation.now


@final
@dataclass(frozen=True, slots=True)
class Measure:
    """One number of a trial.

    Attributes:
        name: What it is, with its unit.
        target: What its mean over seeds must reach, or None where it is only reported beside another.
        most: Whether the target is an upper bound.
    """

    name: str
    target: float | None = None
    most: bool = False


@final
@dataclass(frozen=True, slots=True)
class Trial:
    """One seed's numbers by measure, and what a plot shows: series of (seconds, value) by name."""

    values: Mapping[str, float]
    traces: Mapping[str, Trace] = field(default_factory=dict)


@final
@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A sentence that could be wrong, and the trial that would show it.

    Attributes:
        name: Its name on the command line.
        claim: The sentence.
        measures: What decides it, and what is reported beside.
        play: Plays it with a seed.
    """

    name: str
    claim: str
    measures: tuple[Measure, ...]
    play: Callable[[int], Trial]


def findings(
    hypotheses: Sequence[Hypothesis], seeds: Sequence[int], tell: Callable[[float], None] = lambda share: None
) -> list[dict[str, Any]]:
    """Play every hypothesis with every seed; a row for each measure, with its mean and 95% interval.

    ``tell`` hears the share that is done. ``met`` is None where there is no target.

    Raises:
        ConfigurationError: no seed.
    """
    if not seeds:
        raise ConfigurationError("seeds", len(seeds), "give at least 1")
    rows = []
    for done, hypothesis in enumerate(hypotheses):
        trials = []
        for n, seed in enumerate(seeds, 1):
            trials.append(hypothesis.play(seed))
            tell((done + n / len(seeds)) / len(hypotheses))
        for measure in hypothesis.measures:
            value, low, high = interval([trial.values[measure.name] for trial in trials])
            rows.append(_row(hypothesis, measure, value, low, high, len(seeds)))
    return rows


def _row(
    hypothesis: Hypothesis, measure: Measure, value: float, low: float, high: float, seeds: int
) -> dict[str, Any]:
    target = measure.target
    met = None
    if target is not None:
        met = value <= target + 1e-9 if measure.most else value >= target - 1e-9
    return {
        "hypothesis": hypothesis.name,
        "measure": measure.name,
        "value": round(value, 5),
        "low": round(low, 5),
        "high": round(high, 5),
        "target": target,
        "sense": "at most" if measure.most else "at least",
        "met": met,
        "seeds": seeds,
    }
