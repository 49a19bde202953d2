"""The records of a run: counts per tier and time, latencies, and samples of the policy's state."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from atrion.sensing.telemetry import Outcome
from atrion_lab.ledger import Ledger
from atrion_lab.policies.port import Call

__all__ = ["BIN", "KINDS", "Recorder", "Run", "Sample", "interval", "jain", "percentile"]

Sample = tuple[float, str, str, Mapping[str, float]]
"""Seconds, pod, route, and what the pod's policy says of the route."""
BIN = 0.1
"""Seconds of one bin of the series."""
TIERS = 5
KINDS = ("offered", "attempts", "admitted", "rejected", "good", "late", "failed", "kept")
"""What is counted: ``offered`` first attempts, all ``attempts``, ``admitted`` and ``rejected`` attempts, and
requests that ended ``good`` (in time), ``late`` or ``failed``, by the bin they ended in; ``kept`` are the good
ones by the bin they were born in."""


@final
class Recorder:
    """Counts while the simulation runs; one flat list per kind, since this is its hottest code."""

    __slots__ = (*KINDS, "arrived", "keys", "latencies", "ledger", "routes", "samples", "seconds", "worth")

    def __init__(self, seconds: float, ledger: Ledger | None = None) -> None:
        self.ledger = ledger
        size = (int(seconds / BIN) + 2) * TIERS
        self.offered: list[int] = [0] * size
        self.attempts: list[int] = [0] * size
        self.admitted: list[int] = [0] * size
        self.rejected: list[int] = [0] * size
        self.good: list[int] = [0] * size
        self.late: list[int] = [0] * size
        self.failed: list[int] = [0] * size
        self.kept: list[int] = [0] * size
        self.arrived: array[float] = array("d")
        self.latencies: array[float] = array("d")
        self.seconds = seconds
        self.keys: dict[str, list[list[int]]] = {}
        self.routes: dict[str, list[int]] = {}
        self.worth: list[float] = [0.0] * size
        self.samples: list[Sample] = []

    @staticmethod
    def slot(tier: int, now: float) -> int:
        """Place of a tier and an instant in the flat lists."""
        return int(now / BIN) * TIERS + tier

    def admit(self, call: Call, now: float) -> None:
        """A call passed its gate."""
        if self.ledger is not None:
            self.ledger.admit(call)
        self.admitted[int(now / BIN) * TIERS + call.tier] += 1
        if call.route not in self.routes:
            self.routes[call.route] = [0] * (int(self.seconds) + 2)
        self.routes[call.route][int(now)] += 1

    def reject(self, call: Call, now: float, idle: bool = False) -> None:
        """A call was refused at its gate, ``idle`` while its server could have begun it at once and was well."""
        if self.ledger is not None:
            self.ledger.refuse(call, idle)
        self.rejected[int(now / BIN) * TIERS + call.tier] += 1

    def experience(self, key: str, born: float, good: int) -> None:
        """What one key's request came to, by the minute it was born in."""
        minutes = self.keys.get(key)
        if minutes is None:
            self.keys[key] = minutes = [[0, 0] for _ in range(int(self.seconds / 60.0) + 1)]
        minute = minutes[int(born / 60.0)]
        minute[0] += 1
        minute[1] += good

    def finish(self, call: Call, outcome: Outcome, now: float) -> None:
        """An admitted call ended; its latency counts whether or not somebody still waits."""
        if self.ledger is not None:
            self.ledger.finish(call, outcome, now)
        if outcome is not Outcome.DROPPED:
            self.arrived.append(call.arrived)
            self.latencies.append(now - call.arrived)


@dataclass(slots=True)
class Run:
    """One finished run. ``series`` holds, per kind, a list of bins for each tier from bulk to critical.

    ``capacity`` in calls a second; ``samples`` are what the policies said of themselves; ``routes`` count the calls
    admitted in each second; ``keys`` hold, per minute, how many requests ended and how many of them good; ``worth``
    is what the good ones were worth, 1 each unless their quality was lowered.
    """

    scenario: str
    controller: str
    seed: int
    seconds: float
    capacity: float
    series: dict[str, list[list[int]]]
    arrived: Sequence[float]
    latencies: Sequence[float]
    samples: list[Sample] = field(default_factory=list)
    routes: dict[str, list[int]] = field(default_factory=dict)
    keys: dict[str, list[list[int]]] = field(default_factory=dict)
    worth: list[list[float]] = field(default_factory=list)

    @classmethod
    def of(
        cls, scenario: str, controller: str, seed: int, seconds: float, capacity: float, recorder: Recorder
    ) -> Run:
        """What a recorder has counted."""
        series = {kind: [getattr(recorder, kind)[tier::TIERS] for tier in range(TIERS)] for kind in KINDS}
        return cls(
            scenario,
            controller,
            seed,
            seconds,
            capacity,
            series,
            recorder.arrived,
            recorder.latencies,
            recorder.samples,
            recorder.routes,
            recorder.keys,
            [recorder.worth[tier::TIERS] for tier in range(TIERS)],
        )

    def count(self, kind: str, start: float, end: float, tier: int | None = None) -> int:
        """How many of ``kind`` in [start, end) seconds, of one tier or of all."""
        first, last = round(start / BIN), round(end / BIN)
        tiers = range(TIERS) if tier is None else (tier,)
        return sum(sum(self.series[kind][each][first:last]) for each in tiers)

    def rate(self, kind: str, start: float, end: float, tier: int | None = None) -> float:
        """The same a second."""
        return self.count(kind, start, end, tier) / (end - start)

    def goodput(self, start: float, end: float) -> float:
        """Good requests over capacity."""
        return self.rate("good", start, end) / self.capacity

    def success(self, start: float, end: float, tier: int | None = None) -> float:
        """Share of the requests born in [start, end) that ended good; 1 when there were none."""
        offered = self.count("offered", start, end, tier)
        return self.count("kept", start, end, tier) / offered if offered else 1.0

    def latency(self, quantile: float, start: float, end: float) -> float:
        """Quantile of the latency, in seconds, of admitted calls that arrived in [start, end); 0 when none."""
        values = [
            latency for at, latency in zip(self.arrived, self.latencies, strict=True) if start <= at < end
        ]
        return percentile(values, quantile)

    def trace(self, name: str, route: str | None = None, pod: str = "0") -> list[tuple[float, float]]:
        """One quantity that a pod's policy reported of a route (of the first one), over time."""
        if route is None:
            route = next((each for _, _, each, _ in self.samples), "")
        return [
            (at, parts[name])
            for at, who, of, parts in self.samples
            if who == pod and of == route and name in parts
        ]

    def transitions(self, mode: float = 2.0) -> int:
        """How often any route of any pod entered ``mode`` (2 is CIRCUIT_BREAKER)."""
        last: dict[tuple[str, str], float] = {}
        entered = 0
        for _, pod, route, parts in self.samples:
            now = parts["mode"]
            entered += now == mode and last.get((pod, route)) != mode
            last[pod, route] = now
        return entered

    def share_open(self, mode: float = 2.0) -> float:
        """Share of the time that routes spent in ``mode``."""
        modes = [parts["mode"] for *_, parts in self.samples]
        return sum(value == mode for value in modes) / len(modes) if modes else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON: everything but the single latencies."""
        return {
            "scenario": self.scenario,
            "controller": self.controller,
            "seed": self.seed,
            "seconds": self.seconds,
            "capacity": self.capacity,
            "bin": BIN,
            "series": self.series,
            "routes": self.routes,
            "samples": [
                {"at": round(at, 3), "pod": pod, "route": route, **parts}
                for at, pod, route, parts in self.samples
            ],
        }


def percentile(values: Sequence[float], quantile: float) -> float:
    """The nearest-rank quantile; 0 of nothing."""
    if not values:
        return 0.0
    ranked = sorted(values)
    return ranked[min(int(quantile * len(ranked)), len(ranked) - 1)]


def jain(shares: Sequence[float]) -> float:
    """Jain's fairness index (Jain, Chiu, Hawe 1984): 1 when all are equal, 1/n when one has everything."""
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares > 0.0 else 1.0


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and its 95% confidence interval by Student's t, over independent seeds."""
    n = len(values)
    mean = math.fsum(values) / n
    if n < 2:
        return mean, mean, mean
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = _student(n - 1) * deviation / math.sqrt(n)
    return mean, mean - half, mean + half


def _student(freedom: int) -> float:
    """The two-sided 95% quantile of Student's t (Cornish-Fisher expansion, within 0.5% from 3 degrees on)."""
    if freedom < 3:
        return (12.706, 4.303)[freedom - 1]
    z = 1.959964
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )
