"""Shared by the baselines: known settings, success as clients see it, and rolling windows."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import final

from atrion.errors import ConfigurationError
from atrion.physics import unit_hash
from atrion.physics.config import check_number
from atrion.sensing.telemetry import Outcome
from atrion_lab.policies.port import Call

__all__ = ["Facts", "Rolling", "failed", "level", "waited"]

LEVELS = 128
"""Places within a tier, as in DAGOR and Cinnamon."""
ROTATION = 3600.0
"""Seconds a key keeps its place."""
GOLDEN = 0.6180339887498949
"""Share of the tier that its place moves by then."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a fair operator knows of the service that a policy guards.

    Attributes:
        deadline: Seconds its clients wait, > 0.
        workers: Calls it serves at once, ≥ 1.
        service: Mean seconds of a call on a healthy, idle server, > 0.

    Raises:
        ConfigurationError: a value is out of its range.
    """

    deadline: float = 0.5
    workers: int = 16
    service: float = 0.05

    def __post_init__(self) -> None:
        check_number("Facts.deadline", self.deadline, 0.0, above=True)
        check_number("Facts.service", self.service, 0.0, above=True)
        if not self.workers >= 1:
            raise ConfigurationError("Facts.workers", self.workers, "give at least 1")

    @property
    def capacity(self) -> float:
        """Calls a second that it can serve."""
        return self.workers / self.service


def failed(call: Call, outcome: Outcome, now: float) -> bool:
    """Whether its client saw the call fail: an error, no answer, or one after the deadline."""
    return outcome in {Outcome.FAILURE, Outcome.DROPPED} or now > call.deadline


def waited(call: Call) -> float:
    """Seconds between a call's arrival and its start, of a call that was started."""
    return max(call.started - call.arrived, 0.0)


def level(call: Call, now: float, rng: Random) -> int:
    """A call's place among 5 × 128, 0 being the most important: its tier, then its key's hourly hash or a draw."""
    place = rng.random() if call.key is None else unit_hash(call.key, now // ROTATION * GOLDEN % 1.0)
    return (4 - call.tier) * LEVELS + int(place * LEVELS)


@final
class Rolling:
    """Counts and sums of the last ``window`` seconds, kept in ``buckets`` of equal width."""

    __slots__ = ("_buckets", "_keep", "_width", "count", "total")

    def __init__(self, window: float, buckets: int) -> None:
        self._width = window / buckets
        self._keep = buckets
        self._buckets: deque[list[float]] = deque()  # index, count, sum
        self.count: int = 0
        self.total: float = 0.0

    def add(self, now: float, value: float = 1.0) -> None:
        """Take a sample."""
        self.roll(now)
        index = math.floor(now / self._width)
        if not self._buckets or self._buckets[-1][0] != index:
            self._buckets.append([index, 0, 0.0])
        newest = self._buckets[-1]
        newest[1] += 1
        newest[2] += value
        self.count += 1
        self.total += value

    def roll(self, now: float) -> None:
        """Forget what is older than the window."""
        oldest = math.floor(now / self._width) - self._keep
        buckets = self._buckets
        while buckets and buckets[0][0] <= oldest:
            _, count, total = buckets.popleft()
            self.count -= int(count)
            self.total -= total
        if not buckets:
            self.total = 0.0  # also sheds the rounding that a long life collects

    def closed(self, now: float) -> Iterator[tuple[int, float]]:
        """Count and sum of each bucket that is over; empty ones are left out."""
        self.roll(now)
        current = math.floor(now / self._width)
        return ((int(count), total) for index, count, total in self._buckets if index < current)
