"""A search for default settings, over scenarios other than the reported ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import product
from random import Random
from typing import Any

from atrion.errors import ConfigurationError
from atrion.physics.config import SLO, PhysicsConfig
from atrion_lab.measures import MEASURES, Measure, recovery, shed_after
from atrion_lab.policies.atrion import AtrionPolicy
from atrion_lab.policies.catalog import Controller
from atrion_lab.scenario import simulate
from atrion_lab.scenarios.training import TRAINING

__all__ = ["CLAIMS", "Claim", "Trial", "defaults", "search"]

Changes = Mapping[str, float]
Tell = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Claim:
    """What a training scenario should show: ``measure`` at ``ideal``, and ``scale`` off it costs a whole point."""

    scenario: str
    name: str
    measure: Measure
    ideal: float
    scale: float

    def cost(self, value: float) -> float:
        """Points lost, at most 2; what is better than ideal is worth nothing more."""
        off = (self.ideal - value) / self.scale
        return min(max(off, 0.0), 2.0)


def _overload(scenario: str) -> tuple[Claim, ...]:
    return (
        Claim(scenario, "served / possible", MEASURES["served / possible"], 1.0, 0.1),
        Claim(scenario, "critical success", MEASURES["critical success"], 1.0, 0.05),
        Claim(scenario, "p99 / deadline", MEASURES["p99 of admitted / deadline"], 0.4, -0.3),
    )


CLAIMS: tuple[Claim, ...] = (
    *(
        claim
        for name in ("train-small", "train-large", "train-tail", "train-flood", "train-step")
        for claim in _overload(name)
    ),
    # Bursts leave capacity unused between them, which nobody can serve.
    Claim("train-bursts", "served / possible", MEASURES["served / possible"], 0.9, 0.3),
    Claim("train-bursts", "critical success", MEASURES["critical success"], 1.0, 0.05),
    Claim("train-calm", "rejected", MEASURES["rejected"], 0.0, -0.01),
    Claim("train-step", "time to shed", lambda _, run: shed_after(run, 10.0, 24.0, run.capacity), 0.5, -2.0),
    Claim("train-step", "time to recover", lambda _, run: recovery(run, 25.0, 38.0), 1.0, -5.0),
    Claim("train-dead", "wasted calls", MEASURES["wasted calls"], 0.02, -0.05),
    Claim("train-dead", "time to full service", lambda _, run: recovery(run, 16.0, 28.0), 2.0, -5.0),
    Claim("train-gray", "served", MEASURES["success"], 0.7, 0.05),
    Claim("train-slow", "wasted calls", MEASURES["wasted calls"], 0.05, -0.1),
    Claim("train-slow", "time to full service", lambda _, run: recovery(run, 16.0, 28.0), 3.0, -5.0),
)


@dataclass(frozen=True, slots=True)
class Trial:
    """A setting tried: what it changes of the defaults, points lost per claim, and in all on average."""

    changes: Changes
    costs: Mapping[str, float]

    @property
    def score(self) -> float:
        """Mean of the points lost; 0 is perfect."""
        return math.fsum(self.costs.values()) / len(self.costs)


def defaults() -> dict[str, float]:
    """Every constant of the laws and criticality that may be scaled, with its default."""
    found = {}
    for prefix, preset in (("", PhysicsConfig()), ("SLO.", SLO())):
        for field in fields(preset):
            value = getattr(preset, field.name)
            if isinstance(value, float) and math.isfinite(value) and value > 0.0:
                found[prefix + field.name] = value
    return found


def _controller(changes: Changes) -> Controller:
    constants: dict[str, Any] = {name: value for name, value in changes.items() if "." not in name}
    config = PhysicsConfig(**constants)
    slo = SLO(**{name.removeprefix("SLO."): value for name, value in changes.items() if "." in name})
    return Controller(
        "trial", "", lambda **options: AtrionPolicy("trial", config=config, slo=slo), spans=True
    )


def _play(job: tuple[int, int, Changes]) -> dict[str, float]:
    """Points lost in one training scenario with one seed; in a process of its own."""
    index, seed, changes = job
    scenario = TRAINING[index]
    run = simulate(scenario, _controller(changes), seed)
    return {
        f"{claim.scenario}: {claim.name}": claim.cost(claim.measure(scenario, run))
        for claim in CLAIMS
        if claim.scenario == scenario.name
    }


@contextmanager
def _processes(workers: int) -> Iterator[Executor | None]:
    if workers <= 1:
        yield None
        return
    with ProcessPoolExecutor(workers) as pool:
        yield pool


def _try(changes: Changes, seeds: Sequence[int], pool: Executor | None) -> Trial:
    jobs = [(index, seed, changes) for index, seed in product(range(len(TRAINING)), seeds)]
    costs: dict[str, float] = {}
    for lost in map(_play, jobs) if pool is None else pool.map(_play, jobs):
        for name, points in lost.items():
            costs[name] = costs.get(name, 0.0) + points / len(seeds)
    return Trial(changes, costs)


def _mutate(changes: Changes, rng: Random) -> dict[str, float]:
    """One to three constants moved by a factor, from a third to threefold in most cases."""
    values = {**defaults(), **changes}
    moved = dict(changes)
    for name in rng.sample(sorted(values), rng.randint(1, 3)):
        moved[name] = float(f"{values[name] * math.exp(rng.gauss(0.0, 0.5)):.3g}")
    return moved


def _usable(changes: Changes) -> bool:
    try:
        _controller(changes)
    except ConfigurationError:
        return False
    return True


def search(
    trials: int, *, seed: int = 1, seeds: int = 2, workers: int = 1, tell: Tell = lambda share: None
) -> tuple[Trial, Trial]:
    """The default's trial and the best one found, by moving a few constants of the best setting so far.

    The best is confirmed on seeds that the search has not seen, so that luck is no merit.
    """
    rng = Random(f"search/{seed}")
    seen = range(seed, seed + seeds)
    fresh = range(seed + 1000, seed + 1000 + 2 * seeds)
    with _processes(workers) as pool:
        best = _try({}, seen, pool)
        for trial in range(trials):
            changes = _mutate(best.changes, rng)
            if _usable(changes):
                tried = _try(changes, seen, pool)
                if tried.score < best.score:
                    best = tried
            tell((trial + 1) / trials)
        return _try({}, fresh, pool), _try(best.changes, fresh, pool)
