"""The BBR shedder of the Go frameworks: in flight above throughput times latency, once the machine is busy."""

from __future__ import annotations

import math
from typing import final

from atrion.sensing.telemetry import Outcome
from atrion_lab.policies.common import Rolling
from atrion_lab.policies.port import BasePolicy, Call

__all__ = ["BbrShedder"]

CPU_TICK = 0.5
"""Seconds between samples of utilisation, as published."""
CPU_DECAY = 0.95
COOLING = 1.0
"""Seconds after the first drop during which it still watches although utilisation has fallen."""


@final
class BbrShedder(BasePolicy):
    """Rejects while utilisation ≥ 0.8 and more than ``max pass rate × min latency`` calls are in flight.

    Both are taken over 10 s in 100 buckets, the current one left out: the fullest bucket's calls, and the fastest
    bucket's mean latency (rounded up to a millisecond). CPU time, which a simulator has not, is replaced by busy
    workers over workers, smoothed as the original smooths CPU: by 0.95 every half second. Source:
    https://github.com/go-kratos/aegis, ``ratelimit/bbr`` (MIT), after Alibaba Sentinel's system rule; go-zero's
    ``adaptiveshedder`` is of the same kind.

    Args:
        workers: Calls served at once.
        window: Seconds remembered.
        buckets: Parts of the window.
        threshold: Utilisation from which on it sheds, in (0, 1].
        tick: Seconds between samples of utilisation. At the published half second, full load takes 16 s to pass
            the threshold; a fortieth of a second makes it 0.8 s, which is kinder than what is published.
    """

    name: str = "bbr"

    def __init__(
        self,
        workers: int,
        window: float = 10.0,
        buckets: int = 100,
        threshold: float = 0.8,
        tick: float = CPU_TICK,
    ) -> None:
        self._workers = workers
        self._per_second = buckets / window
        self._threshold = threshold
        self._tick = tick
        if tick < CPU_TICK:
            self.name = "bbr-keen"
        self._calls = Rolling(window, buckets)
        self._cached = -1
        self._most = 0
        self._dropped: float | None = None
        self._cpu = 0.0
        self._cpu_ticks = 0
        self.in_flight: int = 0

    def arrive(self, call: Call, now: float) -> bool:
        """Shed, or admit."""
        if self._sheds(now):
            return False
        self._smooth(now)
        self.in_flight += 1
        return True

    def finish(self, call: Call, outcome: Outcome, now: float) -> None:
        """Every end is a pass, as in the original."""
        self._smooth(now)
        self.in_flight -= 1
        self._calls.add(now, math.ceil(1000.0 * (now - call.arrived)) / 1000.0)

    def utilisation(self, now: float) -> float:
        """Smoothed share of workers that are busy."""
        self._smooth(now)
        return self._cpu

    def most_in_flight(self, now: float) -> int:
        """Calls in flight that throughput times latency allow; computed once a bucket."""
        bucket = math.floor(now * self._per_second)
        if bucket != self._cached:
            self._cached = bucket
            passed = [(count, total / count) for count, total in self._calls.closed(now)]
            most = max((count for count, _ in passed), default=1)
            fastest = max(min((mean for _, mean in passed), default=0.001), 0.001)
            self._most = math.floor(most * self._per_second * fastest + 0.5)
        return self._most

    def _sheds(self, now: float) -> bool:
        busy = self.utilisation(now) >= self._threshold
        if not busy:
            if self._dropped is None:
                return False
            if now - self._dropped > COOLING:
                self._dropped = None
                return False
        crowded = self.in_flight > 1 and self.in_flight > self.most_in_flight(now)
        if crowded and busy and self._dropped is None:
            self._dropped = now
        return crowded

    def _smooth(self, now: float) -> None:
        ticks = math.floor(now / self._tick)
        passed = ticks - self._cpu_ticks
        if passed > 0:
            busy = min(self.in_flight, self._workers) / self._workers
            self._cpu = busy + (self._cpu - busy) * CPU_DECAY**passed
            self._cpu_ticks = ticks
