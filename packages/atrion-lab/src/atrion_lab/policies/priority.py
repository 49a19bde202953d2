"""failsafe-go's priorities: levels, the threshold below which they are rejected, and levels by usage.

Source: https://github.com/failsafe-go/failsafe-go (MIT), commit 5759a5e (0.9.7 and later), packages ``priority`` and
``internal`` (``BasePrioritizer``); formulas and defaults are restated, no code is taken.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from random import Random
from typing import final

from atrion_lab.policies.common import Rolling
from atrion_lab.policies.port import Call

__all__ = ["WIDTH", "Threshold", "Usage", "random_level"]

WIDTH = 100
"""Levels of a tier; there are five tiers, and 499 is the most important level."""


def random_level(call: Call, rng: Random) -> int:
    """A level within the call's tier, another one for every call."""
    return WIDTH * call.tier + rng.randrange(WIDTH)


@final
class Threshold:
    """The level below which calls are rejected: the quantile, at the rejection rate, of the last levels admitted.

    The library leaves it to its user how often that is calibrated; once a second, as in its documentation
    (https://failsafe-go.dev/execution-prioritization).

    Args:
        window: Levels remembered, ≥ 1.
        interval: Seconds between calibrations, > 0.
    """

    def __init__(self, window: int = 1000, interval: float = 1.0) -> None:
        self._recent: deque[int] = deque(maxlen=window)
        self._interval = interval
        self._next = interval
        self.level: int = 0

    def note(self, level: int) -> None:
        """A call of this level was admitted."""
        self._recent.append(level)

    def due(self, now: float) -> bool:
        """Whether it is time to calibrate."""
        return now >= self._next

    def calibrate(self, now: float, rate: float) -> None:
        """Reject the lowest share ``rate``, in [0, 1], of what was admitted lately; 0 rejects nothing."""
        self._next = now + self._interval
        self.level = 0
        if rate > 0.0 and self._recent:
            self.level = sorted(self._recent)[max(math.ceil(rate * len(self._recent)), 1) - 1]


@final
class Usage:
    """Levels by fairness: within a tier, the key that has used least of late has the highest level.

    A key's level follows the quantile of its usage among all keys, calibrated together with the threshold; an unknown
    key has the top of its tier. The library bounds the number of keys, as its user says; there is no bound here. Its
    tests have a window of a minute.

    Args:
        window: Seconds over which usage is summed, in 30 buckets, > 0.
    """

    def __init__(self, window: float = 60.0) -> None:
        self._window = window
        self._usage: dict[str, Rolling] = {}
        self._quantiles: dict[str, float] = {}

    def record(self, key: str, seconds: float, now: float) -> None:
        """A call of ``key`` took so long."""
        if key not in self._usage:
            self._usage[key] = Rolling(self._window, 30)
        self._usage[key].add(now, seconds)

    def level(self, key: str, tier: int) -> int:
        """Where a key stands within a tier."""
        quantile = self._quantiles.get(key, 0.0)
        return WIDTH * tier + int((WIDTH - 1) * (1.0 - quantile))

    def calibrate(self, now: float) -> None:
        """Rank the keys by what they used."""
        for rolling in self._usage.values():
            rolling.roll(now)
        self._usage = {key: rolling for key, rolling in self._usage.items() if rolling.count}
        ranked = sorted(rolling.total for rolling in self._usage.values())
        self._quantiles = {
            key: round(bisect_left(ranked, rolling.total) / len(ranked), 2)
            for key, rolling in self._usage.items()
        }
