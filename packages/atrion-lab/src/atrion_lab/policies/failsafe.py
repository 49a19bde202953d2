"""failsafe-go's adaptive limiter and adaptive throttler, both with priorities.

Source: https://github.com/failsafe-go/failsafe-go (MIT), commit 5759a5e (0.9.7 and later), packages
``adaptivelimiter`` and ``adaptivethrottler``; formulas and defaults are restated, no code is taken.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from random import Random
from typing import final

from atrion.sensing.telemetry import Outcome
from atrion_lab.policies.common import Rolling, failed
from atrion_lab.policies.port import BasePolicy, Call
from atrion_lab.policies.priority import Threshold, Usage, random_level

__all__ = ["AdaptiveLimit", "FailsafeLimiter", "FailsafeThrottler"]

WARMUP = 10
"""Samples averaged plainly before they are weighed exponentially, and before a correlation counts."""


@final
class _Average:
    """Exponential average that remembers about ``age`` samples."""

    def __init__(self, age: int) -> None:
        self._share = 2.0 / (age + 1)
        self._count = 0
        self.value: float = 0.0

    def add(self, value: float) -> float:
        self._count += 1
        self.value += (1.0 / self._count if self._count <= WARMUP else self._share) * (value - self.value)
        return self.value


@final
class _Correlation:
    """Pearson's correlation of the last ``size`` pairs, and the coefficient of variation of their second values."""

    def __init__(self, size: int) -> None:
        self._pairs: deque[tuple[float, float]] = deque(maxlen=size)

    def add(self, x: float, y: float) -> tuple[float, float]:
        pairs = self._pairs
        pairs.append((x, y))
        count = len(pairs)
        if count < WARMUP:
            return 0.0, 0.0
        mean_x = math.fsum(x for x, _ in pairs) / count
        mean_y = math.fsum(y for _, y in pairs) / count
        spread_x = math.sqrt(math.fsum((x - mean_x) ** 2 for x, _ in pairs) / count)
        spread_y = math.sqrt(math.fsum((y - mean_y) ** 2 for _, y in pairs) / count)
        variation = spread_y / mean_y
        if spread_x / mean_x < 0.01 or variation < 0.01:
            return 0.0, variation
        together = math.fsum((x - mean_x) * (y - mean_y) for x, y in pairs) / count
        return together / (spread_x * spread_y), variation


@final
class AdaptiveLimit:
    """How many calls may run at once, by the trend of latency.

    Once a second (or two fastest latencies, 30 s at most), and after 50 samples, the 0.9-quantile of latency is taken,
    its median over 5 windows and the exponential average over 5 of these: RTT. Its own average over 10 windows is the
    baseline, and ``limit · (1 − baseline / RTT)`` the queue. Below 3 units it grows by a unit, above 6 it shrinks by
    one, a unit being 1 below a limit of 100 and 2 from there on. While all permits are taken it also shrinks when, over
    the last 50 windows, throughput falls as concurrency rises (correlation below 0), or RTT rises with concurrency
    (above 0.5) and throughput does not (correlation below 0.3, or coefficient of variation below 0.2). It stays within
    [1, 200] and approaches 5 times what was in flight.

    Args:
        initial: The limit to begin with, in calls.
    """

    LOW, HIGH, HEADROOM = 1.0, 200.0, 5.0
    WINDOW, LONGEST, SAMPLES = 1.0, 30.0, 50

    def __init__(self, initial: float = 20.0) -> None:
        self.limit: float = initial
        self._latencies: list[float] = []
        self._most = 0
        self._next = 0.0
        self._quantiles: deque[float] = deque(maxlen=5)
        self._recent = _Average(5)
        self._baseline = _Average(10)
        self._latency = _Correlation(50)
        self._throughput = _Correlation(50)

    def add(self, latency: float, in_flight: int) -> None:
        """A call took ``latency`` seconds, with ``in_flight`` running when it began, itself included."""
        self._latencies.append(latency)
        self._most = max(self._most, in_flight)

    def move(self, now: float, full: bool) -> None:
        """Move the limit if a window is over; ``full`` while no permit is free."""
        latencies = self._latencies
        if now <= self._next or len(latencies) < self.SAMPLES:
            return
        latencies.sort()
        self._quantiles.append(latencies[int(0.9 * (len(latencies) - 1))])
        known = self._quantiles
        typical = sorted(known)[2] if len(known) == 5 else known[-1]
        self._resize(self._recent.add(typical), self._most, full)
        self._next = now + min(max(2.0 * latencies[0], self.WINDOW), self.LONGEST)
        self._latencies, self._most = [], 0

    def _resize(self, recent: float, in_flight: int, full: bool) -> None:
        old = self.limit
        unit = 1 if old < 100.0 else 2
        limit = old + unit * self._direction(recent, in_flight, full, unit)
        ceiling = self.HEADROOM * in_flight
        if limit > ceiling:
            limit = old - unit if old > ceiling else ceiling
        self.limit = min(max(limit, self.LOW), self.HIGH)

    def _direction(self, recent: float, in_flight: int, full: bool, unit: int) -> int:
        """1 to grow, −1 to shrink, 0 to stay."""
        baseline = self._baseline.add(recent)
        queue = math.ceil(self.limit * (1.0 - baseline / recent))
        pays, variation = self._throughput.add(in_flight, in_flight / recent)
        costs, _ = self._latency.add(in_flight, recent)
        if queue > 6 * unit:
            return -1
        if full and (pays < 0.0 or (costs > 0.5 and (pays < 0.3 or variation < 0.2))):
            return -1
        return 1 if queue < 3 * unit else 0


@final
class FailsafeLimiter(BasePolicy):
    """A prioritised adaptive limiter: calls run up to the limit, more queue, and a filling queue rejects by level.

    Up to twice the limit may queue for a permit before anything is rejected, at three times the limit everything is; in
    between the rejection rate grows linearly. Once a second the rate becomes a level, by what was admitted while all
    permits were taken, below which a call that finds no permit is rejected. Levels are the tier, then the key's usage
    of the last minute (see :class:`~atrion_lab.policies.priority.Usage`), or a draw where there is no key. Who waits
    for a permit leaves at the deadline, as with a context that ends; a call that ends late is no sample.

    The port has no queue in front of the server: whoever waits for a permit waits in the server's own queue, in the
    same order, and counts as running from when it would have got its permit. That is the same as long as the limit is
    not below the workers; where it is, the server begins what the limiter would still have held back. A prioritizer
    that several limiters share is left out: every route has its own.

    Args:
        rng: Gives requests without a key their level.
        initial: Calls that may run to begin with.
    """

    name: str = "failsafe-limiter"
    QUEUE, FULL = 2.0, 3.0

    def __init__(self, rng: Random, initial: int = 20) -> None:
        self._rng = rng
        self._adaptive = AdaptiveLimit(initial)
        self._waiting: OrderedDict[int, Call] = OrderedDict()
        self._threshold = Threshold()
        self._usage = Usage()
        self.running: int = 0

    @property
    def limit(self) -> int:
        """Calls that may run at once."""
        return int(self._adaptive.limit)

    @property
    def queued(self) -> int:
        """Calls that wait for a permit."""
        return len(self._waiting)

    @property
    def threshold(self) -> int:
        """The level below which calls are rejected when all permits are taken."""
        return self._threshold.level

    def arrive(self, call: Call, now: float) -> bool:
        """Run, queue or reject."""
        self._expire(now)
        if self._threshold.due(now):
            self._threshold.calibrate(now, self._rejection())
            self._usage.calibrate(now)
        if self.running < self.limit:
            self._permit(call, now)
            return True
        if self.queued >= int(self.FULL * self.limit):
            return False
        tier = call.tier
        level = random_level(call, self._rng) if call.key is None else self._usage.level(call.key, tier)
        if level < self._threshold.level:
            return False
        self._threshold.note(level)
        self._waiting[id(call)] = call
        return True

    def start(self, call: Call, now: float) -> bool:
        """Drop who has left the queue for permits at its deadline."""
        if call.token is None:
            if now > call.deadline:
                return False
            self._waiting.pop(id(call), None)
            self._permit(call, now)
        return True

    def finish(self, call: Call, outcome: Outcome, now: float) -> None:
        """Take a sample, move the limit, and hand the permit on."""
        if call.token is None:
            self._waiting.pop(id(call), None)
            return
        began, in_flight = call.token
        if outcome is not Outcome.DROPPED and began < now <= call.deadline:
            self._adaptive.add(now - began, in_flight)
            if call.key is not None:
                self._usage.record(call.key, now - began, now)
        self._adaptive.move(now, self.running >= self.limit)
        self.running -= 1
        self._expire(now)
        while self._waiting and self.running < self.limit:
            _, first = self._waiting.popitem(last=False)
            self._permit(first, max(first.started, 0.0) or now)

    def _permit(self, call: Call, began: float) -> None:
        self.running += 1
        call.token = (began, self.running)

    def _expire(self, now: float) -> None:
        waiting = self._waiting
        while waiting and next(iter(waiting.values())).deadline < now:
            waiting.popitem(last=False)

    def _rejection(self) -> float:
        """The share to reject, in [0, 1]."""
        low, high = int(self.QUEUE * self.limit), int(self.FULL * self.limit)
        return min(max((self.queued - low) / max(high - low, 1), 0.0), 1.0)


@final
class FailsafeThrottler(BasePolicy):
    """A prioritised adaptive throttler: Google's client-side throttling, rejecting the lowest levels first.

    The rejection rate is ``max(0, executions − successes / 0.9) / (executions + 1)`` over the last minute in 20
    buckets, at most 0.9; rejected calls are no executions. Once a second it becomes a level, by the last 1,000
    admitted; of what is below it a tenth still passes. A level is the tier, then a draw. A late answer is a failure
    here. A prioritizer that several throttlers share is left out: every route has its own.

    Args:
        rng: Decides levels and who passes nevertheless.
        success: Share of successes from which on nothing is rejected, in (0, 1].
        most: Highest rejection rate, in [0, 1].
        window: Seconds remembered, > 0.
    """

    name: str = "failsafe-throttler"

    def __init__(self, rng: Random, success: float = 0.9, most: float = 0.9, window: float = 60.0) -> None:
        self._rng = rng
        self._success = success
        self._most = most
        self._executions = Rolling(window, 20)
        self._successes = Rolling(window, 20)
        self._threshold = Threshold()

    @property
    def threshold(self) -> int:
        """The level below which calls are rejected."""
        return self._threshold.level

    def rejection(self, now: float) -> float:
        """The share to reject, in [0, 1]."""
        self._executions.roll(now)
        self._successes.roll(now)
        executions = self._executions.count
        excess = max(0.0, executions - self._successes.count / self._success)
        return min(excess / (executions + 1), self._most)

    def arrive(self, call: Call, now: float) -> bool:
        """Admit from the threshold upwards, and a few below it."""
        if self._threshold.due(now):
            self._threshold.calibrate(now, self.rejection(now))
        level = random_level(call, self._rng)
        if level < self._threshold.level and self._rng.random() >= 1.0 - self._most:
            return False
        self._threshold.note(level)
        return True

    def finish(self, call: Call, outcome: Outcome, now: float) -> None:
        """Count it."""
        self._executions.add(now)
        if not failed(call, outcome, now):
            self._successes.add(now)
