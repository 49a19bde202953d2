"""Arrival processes: Poisson, bursty, closed, periodic, recorded, and with a rate that changes over time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Protocol

__all__ = ["Arrivals", "Bursty", "Closed", "Every", "Instants", "Poisson", "Profile", "diurnal"]


class Arrivals(Protocol):
    """A law of arrival times."""

    def times(self, rng: Random) -> Iterator[float]:
        """Ascending arrival times in seconds, without end (or until the traffic ends)."""
        ...


@dataclass(frozen=True, slots=True)
class Poisson:
    """``rate`` arrivals a second, independent of each other."""

    rate: float

    def times(self, rng: Random) -> Iterator[float]:
        """See :class:`Arrivals`."""
        now = 0.0
        gap, rate = rng.expovariate, self.rate
        while True:
            now += gap(rate)
            yield now


@dataclass(frozen=True, slots=True)
class Bursty:
    """A Markov-modulated Poisson process: ``rates`` a second, each kept for ``dwell`` seconds on average."""

    rates: tuple[float, ...]
    dwell: float = 1.0

    def times(self, rng: Random) -> Iterator[float]:
        """See :class:`Arrivals`."""
        now = 0.0
        state = 0
        change = rng.expovariate(1.0 / self.dwell)
        while True:
            gap = rng.expovariate(self.rates[state])
            if now + gap < change:
                now += gap
                yield now
                continue
            # Exponential gaps have no memory, so the wait may start anew at the change.
            now = change
            state = (state + rng.randrange(1, len(self.rates))) % len(self.rates)
            change = now + rng.expovariate(1.0 / self.dwell)


@dataclass(frozen=True, slots=True)
class Closed:
    """``users`` who each wait for an answer, then ``think`` seconds on average, then ask again."""

    users: int
    think: float = 0.1

    def times(self, rng: Random) -> Iterator[float]:
        """When each user asks for the first time; what follows depends on the answers."""
        yield from sorted(self.think * rng.random() for _ in range(self.users))


@dataclass(frozen=True, slots=True)
class Profile:
    """Poisson arrivals whose rate follows ``points``, pairs of seconds and arrivals a second.

    Between two points the rate is the earlier one's, or moves in a line when ``linear``; after the last it stays.
    Rates must not all be 0.
    """

    points: tuple[tuple[float, float], ...]
    linear: bool = False

    def rate(self, now: float) -> float:
        """Arrivals a second at ``now``."""
        before = self.points[0]
        for point in self.points:
            if point[0] > now:
                if not self.linear:
                    return before[1]
                span = point[0] - before[0]
                share = (now - before[0]) / span if span > 0.0 else 1.0
                return before[1] + max(share, 0.0) * (point[1] - before[1])
            before = point
        return before[1]

    def times(self, rng: Random) -> Iterator[float]:
        """By thinning (Lewis and Shedler 1979): candidates at the highest rate, kept by their share of it."""
        peak = max(rate for _, rate in self.points)
        last = self.points[-1][0]
        now = 0.0
        while True:
            now += rng.expovariate(peak)
            if now > last and self.points[-1][1] <= 0.0:
                return
            if rng.random() * peak < self.rate(now):
                yield now


@dataclass(frozen=True, slots=True)
class Every:
    """Again every ``period`` seconds, from 0 on: ``count`` at once, and ``rate`` a second for ``length`` seconds.

    ``length`` is at most ``period``; a rate of 0 brings none.
    """

    period: float
    count: int = 0
    length: float = 0.0
    rate: float = 0.0

    def times(self, rng: Random) -> Iterator[float]:
        """See :class:`Arrivals`."""
        for turn in count():
            begins = turn * self.period
            for _ in range(self.count):
                yield begins
            now = begins
            while self.rate > 0.0:
                now += rng.expovariate(self.rate)
                if now >= begins + self.length:
                    break
                yield now


@dataclass(frozen=True, slots=True)
class Instants:
    """Recorded instants, in seconds and ascending; none after the last."""

    at: tuple[float, ...]

    def times(self, rng: Random) -> Iterator[float]:
        """See :class:`Arrivals`."""
        return iter(self.at)


def diurnal(mean: float, swing: float, period: float, seconds: float) -> Profile:
    """A day of ``period`` seconds: a sine around ``mean`` arrivals a second, ``swing`` of it up and down."""
    steps = max(int(seconds / period * 48), 2)
    instants = [seconds * step / steps for step in range(steps + 1)]
    return Profile(
        tuple((at, mean * (1.0 - swing * math.cos(2.0 * math.pi * at / period))) for at in instants),
        linear=True,
    )
