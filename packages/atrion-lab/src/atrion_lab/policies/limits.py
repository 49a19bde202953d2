"""Adaptive concurrency limits: AIMD, Vegas and Gradient2, as Netflix's concurrency-limits 0.5 has them.

Source: https://github.com/Netflix/concurrency-limits (Apache-2.0), ``AIMDLimit``, ``VegasLimit``, ``Gradient2Limit``,
``WindowedLimit`` and ``SimpleLimiter``; formulas and defaults are restated, no code is taken. As in its gRPC
interceptors, an answer is a sample, an error is none, and a call that ran out of its deadline was dropped.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from random import Random
from typing import final

from atrion.sensing.telemetry import Outcome
from atrion_lab.policies.port import BasePolicy, Call

__all__ = ["Aimd", "Gradient2", "Limiter", "Vegas", "WindowedLimiter"]

APP_LIMITED = 0.5
"""Below this share of the limit in flight, it is not the limit that limits."""


class Limiter(BasePolicy, ABC):
    """Admits while fewer than ``limit`` calls are in flight, and lets a subclass move the limit.

    Args:
        limit: Calls in flight to begin with.
    """

    def __init__(self, limit: float) -> None:
        self.limit: float = limit
        self.in_flight: int = 0

    def arrive(self, call: Call, now: float) -> bool:
        """Admit below the limit."""
        if self.in_flight >= int(self.limit):
            return False
        self.in_flight += 1
        call.token = self.in_flight
        return True

    def finish(self, call: Call, outcome: Outcome, now: float) -> None:
        """Take a sample."""
        self.release()
        dropped = outcome is Outcome.DROPPED or now > call.deadline
        latency = now - call.arrived
        if latency > 0.0 and (dropped or outcome is Outcome.SUCCESS):
            self.learn(now, latency, call.token, dropped)

    def resize(self, limit: float) -> None:
        """Set the limit, in calls in flight."""
        self.limit = limit

    def release(self) -> None:
        """A call has ended."""
        self.in_flight -= 1

    @abstractmethod
    def learn(self, now: float, latency: float, in_flight: int, dropped: bool) -> None:
        """Move the limit: ``latency`` in seconds, ``in_flight`` when the call was admitted."""


class WindowedLimiter(Limiter):
    """Learns from windows and not from calls: the mean latency, the most in flight, and whether any was dropped.

    Args:
        limit: Calls in flight to begin with.
        window: Seconds of a window; 0 learns from every call.
        least: Samples without which a window says nothing.
    """

    def __init__(self, limit: float, window: float = 1.0, least: int = 10) -> None:
        super().__init__(limit)
        self._window = window
        self._least = least
        self._until = 0.0
        self._latencies = 0.0
        self._samples = 0
        self._most = 0
        self._dropped = False

    def learn(self, now: float, latency: float, in_flight: int, dropped: bool) -> None:
        """Gather a window."""
        if self._window <= 0.0:
            self.move(latency, in_flight, dropped)
            return
        self._latencies += latency
        self._samples += 1
        self._most = max(self._most, in_flight)
        self._dropped |= dropped
        if now <= self._until:
            return
        if self._samples >= self._least:
            self.move(self._latencies / self._samples, self._most, self._dropped)
        self._until = now + self._window
        self._latencies, self._samples, self._most, self._dropped = 0.0, 0, 0, False

    @abstractmethod
    def move(self, latency: float, in_flight: int, dropped: bool) -> None:
        """Move the limit by a window, or by a call where there are no windows."""


@final
class Aimd(Limiter):
    """Additive increase, multiplicative decrease, within [20, 200].

    A drop, or an answer slower than 5 s, multiplies the limit by 0.9; any other answer adds 1 where at least half
    the limit was in flight.

    Args:
        initial: Calls in flight to begin with.
        low: Lowest limit.
        high: Highest limit.
        backoff: Factor of a drop, in [0.5, 1).
        timeout: Seconds above which an answer counts as a drop.
    """

    name: str = "aimd"

    def __init__(
        self, initial: int = 20, low: int = 20, high: int = 200, backoff: float = 0.9, timeout: float = 5.0
    ) -> None:
        super().__init__(initial)
        self._low = low
        self._high = high
        self._backoff = backoff
        self._timeout = timeout

    def learn(self, now: float, latency: float, in_flight: int, dropped: bool) -> None:
        """See the class."""
        limit = int(self.limit)
        if dropped or latency > self._timeout:
            limit = int(limit * self._backoff)
        elif in_flight >= APP_LIMITED * limit:
            limit += 1
        self.resize(min(max(limit, self._low), self._high))


@final
class Vegas(WindowedLimiter):
    """TCP Vegas: the queue is ``limit · (1 − RTT_min / RTT)``, kept between 3 and 6 times log₁₀(limit).

    Below log₁₀ it grows by 6·log₁₀, below 3·log₁₀ by log₁₀, above 6·log₁₀ or on a drop it shrinks by log₁₀. Every
    ``30 · limit`` samples (with a jitter of one half to one) RTT_min is measured anew. By default it learns from
    every call, as published; with windows, RTT is a window's mean.

    Args:
        rng: Of the jitter.
        initial: Calls in flight to begin with.
        high: Highest limit.
        probe: Samples per limit until RTT_min is measured anew.
        window: Seconds of a window; 0 learns from every call.
    """

    name: str = "vegas"

    def __init__(
        self, rng: Random, initial: int = 20, high: int = 1000, probe: int = 30, window: float = 0.0
    ) -> None:
        super().__init__(initial, window)
        if window > 0.0:
            self.name = "vegas-windowed"
        self._rng = rng
        self._high = high
        self._probe = probe
        self._fastest = 0.0
        self._seen = 0
        self._jitter = rng.uniform(0.5, 1.0)

    def move(self, latency: float, in_flight: int, dropped: bool) -> None:
        """See the class."""
        self._seen += 1
        if self._seen >= self._jitter * self._probe * self.limit:
            self._jitter = self._rng.uniform(0.5, 1.0)
            self._seen = 0
            self._fastest = latency
        elif self._fastest == 0.0 or latency < self._fastest:
            self._fastest = latency
        else:
            self.resize(min(max(self.limit + self._step(latency, in_flight, dropped), 1.0), self._high))

    def _step(self, latency: float, in_flight: int, dropped: bool) -> int:
        limit = self.limit
        unit = max(1, int(math.log10(int(limit))))
        queue = math.ceil(limit * (1.0 - self._fastest / latency))
        if dropped:
            return -unit
        if in_flight < APP_LIMITED * limit:
            return 0
        if queue <= unit:
            return 6 * unit
        if queue < 3 * unit:
            return unit
        return -unit if queue > 6 * unit else 0


@final
class Gradient2(WindowedLimiter):
    """Gradient2: once a second, ``limit · max(½, min(1, 1.5 · RTT_long / RTT)) + 4``, smoothed by 0.2, in [20, 200].

    RTT is a window's mean (of at least 10 samples), RTT_long its exponential average over 600 windows, the first
    10 of them averaged plainly, and shrunk by 5% whenever it is more than twice of RTT. Drops count as samples, and
    for nothing more.

    Args:
        initial: Calls in flight to begin with.
        low: Lowest limit.
        high: Highest limit.
        tolerance: How much slower than RTT_long is no queue yet, ≥ 1.
        queue: Calls allowed to queue.
        smoothing: Share of a new limit taken over, in (0, 1].
        span: Windows that RTT_long averages.
        window: Seconds of a window.
    """

    name: str = "gradient2"

    def __init__(
        self,
        initial: int = 20,
        low: int = 20,
        high: int = 200,
        tolerance: float = 1.5,
        queue: int = 4,
        smoothing: float = 0.2,
        span: int = 600,
        window: float = 1.0,
    ) -> None:
        super().__init__(initial, window)
        self._low = low
        self._high = high
        self._tolerance = tolerance
        self._queue = queue
        self._smoothing = smoothing
        self._span = span
        self._windows = 0
        self._long = 0.0

    def move(self, latency: float, in_flight: int, dropped: bool) -> None:
        """See the class."""
        self._windows += 1
        share = 1.0 / self._windows if self._windows <= 10 else 2.0 / (self._span + 1)
        self._long += share * (latency - self._long)
        long = self._long
        if long / latency > 2.0:
            self._long *= 0.95
        if in_flight < APP_LIMITED * self.limit:
            return
        gradient = max(0.5, min(1.0, self._tolerance * long / latency))
        wanted = self.limit * gradient + self._queue
        limit = (1.0 - self._smoothing) * self.limit + self._smoothing * wanted
        self.resize(min(max(limit, self._low), self._high))
