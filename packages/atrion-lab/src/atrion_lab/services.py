"""Servers: laws of service time, and phases of health."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate, cycle
from random import Random
from typing import Protocol

__all__ = [
    "Bimodal",
    "Exponential",
    "Fixed",
    "HeavyTailed",
    "LogNormal",
    "Mixture",
    "Phase",
    "Recorded",
    "Server",
    "ServiceTime",
]


class ServiceTime(Protocol):
    """A law of service times."""

    @property
    def mean(self) -> float:
        """Mean, in seconds."""
        ...

    def sampler(self, rng: Random) -> Callable[[], float]:
        """A function that draws service times, in seconds."""
        ...


@dataclass(frozen=True, slots=True)
class Fixed:
    """Every call takes ``mean`` seconds."""

    mean: float = 0.05

    def sampler(self, rng: Random) -> Callable[[], float]:
        """See :class:`ServiceTime`."""
        return lambda: self.mean


@dataclass(frozen=True, slots=True)
class Exponential:
    """Exponential with ``mean`` seconds."""

    mean: float = 0.05

    def sampler(self, rng: Random) -> Callable[[], float]:
        """See :class:`ServiceTime`."""
        rate = 1.0 / self.mean
        return lambda: rng.expovariate(rate)


@dataclass(frozen=True, slots=True)
class LogNormal:
    """Lognormal with ``mean`` seconds; ``sigma`` of the logarithm (0.5 is a usual web service)."""

    mean: float = 0.05
    sigma: float = 0.5

    def sampler(self, rng: Random) -> Callable[[], float]:
        """See :class:`ServiceTime`."""
        mu = math.log(self.mean) - self.sigma**2 / 2.0
        return lambda: rng.lognormvariate(mu, self.sigma)


@dataclass(frozen=True, slots=True)
class Bimodal:
    """``share`` of the calls take ``ratio`` times as long as the others, each exponential; ``mean`` of all."""

    mean: float = 0.05
    share: float = 0.1
    ratio: float = 10.0

    def sampler(self, rng: Random) -> Callable[[], float]:
        """See :class:`ServiceTime`."""
        fast = 1.0 / (self.mean / (1.0 + self.share * (self.ratio - 1.0)))
        slow = fast / self.ratio
        return lambda: rng.expovariate(slow if rng.random() < self.share else fast)


@dataclass(frozen=True, slots=True)
class HeavyTailed:
    """Pareto with ``mean`` seconds and tail exponent ``shape`` > 1 (infinite variance up to 2), cut at 100 means."""

    mean: float = 0.05
    shape: float = 1.8

    def sampler(self, rng: Random) -> Callable[[], float]:
        """By inversion of the bounded Pareto's distribution; its lowest value is found so that the mean holds."""
        a = self.shape
        high = 100.0 * self.mean
        low = self.mean * (a - 1.0) / a
        for _ in range(50):
            ratio = (low / high) ** a
            mean = low**a / (1.0 - ratio) * a / (a - 1.0) * (low ** (1.0 - a) - high ** (1.0 - a))
            low *= self.mean / mean
        top = 1.0 - (low / high) ** a
        return lambda: low / (1.0 - rng.random() * top) ** (1.0 / a)


@dataclass(frozen=True, slots=True)
class Mixture:
    """Each call is of one of ``parts``, pairs of a weight > 0 and a law."""

    parts: tuple[tuple[float, ServiceTime], ...]

    @property
    def mean(self) -> float:
        """Mean over all parts, in seconds."""
        return sum(weight * law.mean for weight, law in self.parts) / sum(weight for weight, _ in self.parts)

    def sampler(self, rng: Random) -> Callable[[], float]:
        """See :class:`ServiceTime`."""
        samplers = [law.sampler(rng) for _, law in self.parts]
        weights = list(accumulate(weight for weight, _ in self.parts))

        def draw() -> float:
            chosen = rng.choices(samplers, cum_weights=weights)[0]
            return chosen()

        return draw


@dataclass(frozen=True, slots=True)
class Recorded:
    """Recorded service times in seconds, in the order of the arrivals; from the first again after the last."""

    times: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean of all, in seconds."""
        return math.fsum(self.times) / len(self.times)

    def sampler(self, rng: Random) -> Callable[[], float]:
        """See :class:`ServiceTime`; the same values for every seed."""
        return cycle(self.times).__next__


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A server's health from ``start`` seconds on.

    Attributes:
        start: When it begins, seconds.
        slow: Factor on service times.
        fail: Share of calls that fail, in [0, 1].
        fail_after: Seconds a failing call takes, or None when it takes as long as any other.
        hang: Calls that start get no answer; their callers give up at their deadlines.
        workers: Workers now, or None for all of them.
    """

    start: float = 0.0
    slow: float = 1.0
    fail: float = 0.0
    fail_after: float | None = None
    hang: bool = False
    workers: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Workers with one queue.

    Attributes:
        workers: Calls served at once, ≥ 1.
        law: Service times.
        queue: Most calls waiting; one more is refused by the server itself. None is no bound.
        fails: What finds no place fails at once, as by a 503; otherwise it is dropped, and nobody learns of it.
        shared: Workers share themselves equally among all calls (processor sharing); otherwise the first in the
            queue is served first.
        worsening: How much service times grow with concurrency: by this factor for every ``workers`` calls in
            the system beyond the first ``workers``, as with locks, caches and garbage.
        reject_cost: Work a rejection takes, as a share of a mean service.
        phases: Its health over time, ascending; healthy before the first.
    """

    workers: int = 16
    law: ServiceTime = LogNormal()
    queue: int | None = None
    fails: bool = False
    shared: bool = False
    worsening: float = 0.0
    reject_cost: float = 0.0
    phases: tuple[Phase, ...] = ()

    @property
    def capacity(self) -> float:
        """Calls a second it can serve when all are in time and its health is good."""
        return self.workers / self.law.mean
