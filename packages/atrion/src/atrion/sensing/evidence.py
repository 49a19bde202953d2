"""How sure a share is: what a few calls say of all of them."""

from __future__ import annotations

import math
from typing import Final, final

from atrion._native import mypyc_attr

__all__ = ["Lateness", "Share", "lower_bound"]

MAX_STEP: Final = 0.5
"""Most that one tick may change a share: what happens once, in one moment, is no state of affairs."""
SLICES: Final = 16.0
"""Parts of the promise in which calls in flight are told late from young."""


def lower_bound(share: float, seen: float) -> float:
    """What a true share is at least, with 84% confidence, if ``share`` of ``seen`` calls had it.

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
    """The share of calls that have something in common, over the last ``memory`` of them."""

    __slots__ = ("_memory", "mean", "seen")

    def __init__(self, memory: float) -> None:
        self._memory: float = memory
        self.mean: float = 0.0
        self.seen: float = 0.0

    def add(self, having: int, calls: int) -> None:
        """``having`` of ``calls`` had it."""
        if calls <= 0:
            return
        weight = max(1.0 - math.exp(-calls / self._memory), calls / (self.seen + calls))
        if self.seen > 0.0:
            weight = min(weight, MAX_STEP)
        self.mean += weight * (having / calls - self.mean)
        self.seen = min(self.seen + calls, self._memory)

    def bound(self, more: float = 0.0) -> float:
        """The least that the share is, ``more`` calls that have it included."""
        seen = self.seen + more
        return lower_bound((self.mean * self.seen + more) / seen, seen) if seen > 0.0 else 0.0


LATE_MEMORY: Final = 32.0
"""Calls over which the share of late answers is taken."""


@mypyc_attr(acyclic=True)
@final
class Lateness:
    """The share of answers that come later than was promised, calls in flight that are already late included.

    ``recent`` of those that ended before the last reading were late.
    """

    __slots__ = ("_begun", "_late", "_share", "_times", "recent")

    def __init__(self) -> None:
        self._share: Share = Share(LATE_MEMORY)
        self._late: int = 0
        self.recent: int = 0
        self._times: list[float] = []
        self._begun: list[int] = []

    def add(self) -> None:
        """A call was answered, or given up, after more than the promise."""
        self._late += 1

    def read(self, ended: int, begun: int, over: int, now: float, promise: float) -> float:
        """The least share of late answers, in [0, 1].

        ``ended`` calls since the last reading; ``begun`` and ``over`` count all there ever were; ``now`` and
        ``promise`` in seconds.
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
