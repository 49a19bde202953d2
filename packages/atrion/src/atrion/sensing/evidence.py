"""Confidence in shares: how much a few calls say about all of them."""

from __future__ import annotations

import math
from typing import Final, final

from atrion._native import mypyc_attr

__all__ = ["Lateness", "Share", "lower_bound"]

MAX_STEP: Final = 0.5
"""Most that one tick may change a share: a single event is no trend."""
SLICES: Final = 16.0
"""Parts of the promised latency by which the age of calls in flight is resolved."""


def lower_bound(share: float, seen: float) -> float:
    """The least true share, with 84% confidence, if it is ``share`` among ``seen`` calls.

    The lower end of E. B. Wilson's score interval (1927) for one standard deviation.
    """
    if seen <= 0.0:
        return 0.0
    share = min(max(share, 0.0), 1.0)
    spread = math.sqrt(share * (1.0 - share) / seen + 0.25 / (seen * seen))
    return max((share + 0.5 / seen - spread) / (1.0 + 1.0 / seen), 0.0)


@mypyc_attr(acyclic=True)
@final
class Share:
    """A share of calls, over the last ``memory`` of them."""

    __slots__ = ("_memory", "mean", "seen")

    def __init__(self, memory: float) -> None:
        self._memory: float = memory
        self.mean: float = 0.0
        self.seen: float = 0.0

    def add(self, having: int, calls: int) -> None:
        """Count ``calls``, of which ``having`` belong to the share."""
        if calls <= 0:
            return
        weight = max(1.0 - math.exp(-calls / self._memory), calls / (self.seen + calls))
        if self.seen > 0.0:
            weight = min(weight, MAX_STEP)
        self.mean += weight * (having / calls - self.mean)
        self.seen = min(self.seen + calls, self._memory)

    def bound(self, more: float = 0.0) -> float:
        """The least true share, with ``more`` calls that belong to it."""
        seen = self.seen + more
        return lower_bound((self.mean * self.seen + more) / seen, seen) if seen > 0.0 else 0.0


LATE_MEMORY: Final = 32.0
"""Calls over which the share of late answers is taken."""


@mypyc_attr(acyclic=True)
@final
class Lateness:
    """The share of answers that come later than promised, including calls in flight that are already late.

    ``recent`` is how many late calls ended before the last reading.
    """

    __slots__ = ("_begun", "_late", "_share", "_times", "recent")

    def __init__(self) -> None:
        self._share: Share = Share(LATE_MEMORY)
        self._late: int = 0
        self.recent: int = 0
        self._times: list[float] = []
        self._begun: list[int] = []

    def add(self) -> None:
        """Count a call that was answered, or given up, later than promised."""
        self._late += 1

    def read(self, ended: int, begun: int, over: int, now: float, promise: float) -> float:
        """The least share of late answers, in [0, 1].

        ``ended`` counts calls since the last reading, ``begun`` and ``over`` all calls so far; ``now`` and ``promise``
        in seconds.
        """
        self.recent = min(self._late, ended)
        self._share.add(self.recent, ended)
        self._late = 0
        times, counts = self._times, self._begun
        if times and now < times[-1]:
            times.clear()
            counts.clear()
        if not times or now - times[-1] >= promise / SLICES:
            times.append(now)
            counts.append(begun)
        while len(times) > 1 and times[1] <= now - promise:
            times.pop(0)
            counts.pop(0)
        overdue = counts[0] - over if times[0] <= now - promise else 0
        return self._share.bound(float(max(overdue, 0)))
