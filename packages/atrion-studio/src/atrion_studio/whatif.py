"""The last minutes of a route with something changed: played again, or computed again where γ is what changes."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass
from typing import Any, Self

from atrion import Tier
from atrion.errors import ConfigurationError
from atrion.physics.voltage import BAND_WIDTH, band
from atrion_studio.history import History

__all__ = ["Past", "Question", "assumed", "past_of", "scenario", "with_gamma"]

MIX = {"critical": 0.1, "high": 0.2, "normal": 0.5, "low": 0.15, "bulk": 0.05}
"""Traffic by tier where nobody has counted it."""
POINT = 5.0
"""Seconds of one point of the traffic that is played again."""
LEAST_CALLS = 20


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be changed: γ alone, or any of the others. Times in seconds."""

    route: str
    seconds: float = 300.0
    mix: dict[str, float] | None = None
    gamma: float | None = None
    latency: float | None = None
    workers: int | None = None
    scale: float | None = None
    tier: str | None = None

    @classmethod
    def read(cls, wanted: dict[str, Any]) -> Self:
        """What a request asks for.

        Raises:
            ConfigurationError: a value is unusable.
        """
        tier = wanted.get("tier")
        return cls(
            route=str(wanted.get("route", "")),
            seconds=_within(wanted, "seconds", 30.0, 900.0) or 300.0,
            mix=_mix(wanted.get("mix")),
            gamma=_within(wanted, "gamma", 0.0, 1.0),
            latency=_within(wanted, "latency", 0.001, 600.0),
            workers=None if (workers := _within(wanted, "workers", 1, 10_000)) is None else round(workers),
            scale=_within(wanted, "scale", 0.01, 20.0),
            tier=None if tier in {None, ""} else Tier.parse(tier).name.lower(),
        )


def _within(wanted: dict[str, Any], name: str, low: float, high: float) -> float | None:
    value = wanted.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ConfigurationError(name, value, f"give a number in [{low:g}, {high:g}]")
    return float(value)


def _mix(given: Any) -> dict[str, float] | None:
    """Shares of the tiers, of counts that a page has shown."""
    if not isinstance(given, dict):
        return None
    counts = {
        name: float(given[name])
        for name in MIX
        if isinstance(given.get(name), (int, float)) and 0.0 < given[name] < math.inf
    }
    total = sum(counts.values())
    return {name: count / total for name, count in counts.items()} if total >= LEAST_CALLS else None


@dataclass(frozen=True, slots=True)
class Past:
    """What was recorded: ``columns`` as the history has them, at Unix times ``at``, ``step`` seconds apart."""

    at: list[float]
    step: float
    columns: dict[str, list[float | None]]

    def known(self, name: str) -> list[float]:
        """A column's values where there are any."""
        return [value for value in self.columns[name] if value is not None]

    def offered(self) -> list[float]:
        """Requests a second at every point."""
        pairs = zip(self.columns["admitted"], self.columns["shed"], strict=True)
        return [(admitted or 0.0) + (shed or 0.0) for admitted, shed in pairs]


def past_of(history: History, question: Question) -> Past:
    """What the history has of the route.

    Raises:
        ConfigurationError: nothing, or hardly anything.
    """
    found = history.of(question.route, time.time() - question.seconds)
    past = Past(found["at"], found["step"], found["columns"])
    if len(past.known("resistance")) < 5 or sum(past.offered()) * past.step < LEAST_CALLS:
        raise ConfigurationError(
            "route",
            question.route,
            "too little of it was recorded; leave the Studio running for a minute of traffic",
        )
    return past


# --- computed -----------------------------------------------------------------------------------------------


def with_gamma(past: Past, question: Question) -> dict[str, Any]:
    """Resistance as recorded and as another γ would have blended the same scars, and the share refused by each."""
    assert question.gamma is not None
    was: list[float | None] = []
    would: list[float | None] = []
    for ohms, cluster, gamma in zip(
        past.columns["resistance"], past.columns["part_cluster"], past.columns["gamma"], strict=True
    ):
        if ohms is None or cluster is None or gamma is None:
            was.append(None)
            would.append(None)
            continue
        # S = γ·S_cluster + (1−γ)·S_local, so that the cluster's part grows in proportion to γ.
        pull = cluster / gamma if gamma > 0.0 else 0.0
        was.append(ohms)
        would.append(round(max(ohms + (question.gamma - gamma) * pull, 0.0), 2))
    mix = question.mix or MIX
    return {
        "kind": "computed",
        "at": past.at,
        "resistance": [was, would],
        "refused": [
            [None if ohms is None else _refused(ohms, mix) for ohms in column] for column in (was, would)
        ],
        "assumed": (
            "The same scars, blended with another γ. What other refusals would have changed is left out; where γ was "
            "0, nothing is known of what the other nodes saw."
        ),
    }


def _refused(ohms: float, mix: dict[str, float]) -> float:
    """Share of the requests whose voltage is no higher than ``ohms``; callers spread evenly over a tier's band."""
    share = sum(
        part * min(max((ohms - band(Tier.parse(name))) / BAND_WIDTH, 0.0), 1.0) for name, part in mix.items()
    )
    return round(share / sum(mix.values()), 4)


# --- played -------------------------------------------------------------------------------------------------


def _service(past: Past) -> float:
    """Seconds a call takes without a queue: the least of the recorded latencies, but for the luckiest few."""
    latencies = sorted(value for value in past.known("latency") if value > 0.0)
    return max(latencies[len(latencies) // 20], 1e-4) if latencies else 0.05


def _workers(past: Past) -> int:
    """Calls that are worked on at once: those in flight at the best throughput, by Little's law."""
    busiest = max((value for value in past.known("admitted")), default=0.0)
    return max(math.ceil(busiest * _service(past)), 1)


def assumed(past: Past) -> str:
    """What the simulation takes for granted, for a person."""
    return (
        f"The recorded traffic asks a service that works on {_workers(past)} calls at once for "
        f"{_service(past) * 1000:.0f} ms each. Failures of the dependency are not played again."
    )


def scenario(past: Past, question: Question, changed: bool) -> str:
    """The recorded traffic as a scenario file, as it was or with what is ``changed``."""
    service, workers = _service(past), _workers(past)
    scale, mix, latency = 1.0, question.mix or MIX, None
    if changed:
        workers = question.workers or workers
        scale = question.scale or 1.0
        mix = {question.tier: 1.0} if question.tier else mix
        latency = question.latency
    step = max(round(POINT / past.step), 1)
    offered = past.offered()
    rates = [statistics.fmean(offered[index : index + step]) for index in range(0, len(offered), step)]
    points = [
        [round(index * step * past.step, 1), round(max(rate * scale, 0.01), 2)]
        for index, rate in enumerate(rates)
    ]
    seconds = max(points[-1][0] + step * past.step, 2.0)
    shares = ", ".join(f"{name} = {share:.4f}" for name, share in mix.items())
    promise = f"slo = {{ latency = {latency} }}\n" if latency is not None else ""
    return (
        f'name = "what-if"\nseconds = {seconds}\n{promise}\n'
        f'[servers.api]\nworkers = {workers}\nservice = {{ law = "lognormal", mean = {service:.6f}, sigma = 0.5 }}\n\n'
        f'[[traffic]]\nto = "api"\narrivals = {{ law = "profile", points = {points} }}\nmix = {{ {shares} }}\n'
        f"deadline = {max(latency or 0.0, 20.0 * service):.4f}\n"
    )
