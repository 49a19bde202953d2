"""Which of the refused requests may pass after all, so that a sick route is still measured and can come back."""

from __future__ import annotations

from typing import Final, final

from atrion._native import mypyc_attr

__all__ = ["Probes"]

INTERVAL: Final = 0.35
"""Seconds between two probes: three a second, so that what is dead costs next to nothing."""
ASKS: Final = 5
"""Requests of which one may be a probe, so that a quiet route too is spared most of what would fail."""
IDLE: Final = 300.0
"""Seconds without any evidence after which the next one passes."""
MOST: Final = 64
"""Most probes of one tick."""


@mypyc_attr(acyclic=True)
@final
class Probes:
    """Probes of one route: by time while it is sick, and twice as many a tick for every tick in which they succeed.

    ``now`` is when the route was heard of last. Times in seconds.
    """

    __slots__ = ("_asks", "_last", "_left", "_step", "offered")

    def __init__(self, now: float) -> None:
        self._asks: int = 0
        self._left: int = 0
        self._step: int = 1
        self._last: float = now
        self.offered: bool = False
        """Whether a router has been told to send one: the next refused request then passes."""

    def restart(self, now: float) -> None:
        """The clock has gone back to ``now``."""
        self._last = now

    def learn(self, successes: int, failures: int) -> None:
        """A tick has ended in which so many calls ended so."""
        if failures > 0:
            self._step = 1
            self._left = 0
        elif successes > 0:
            self._step = min(2 * self._step, MOST)
            self._left = self._step

    def take_offer(self) -> bool:
        """Whether this request is the offered one."""
        offered = self.offered
        self.offered = False
        return offered

    def passes(self, now: float, crowded: bool) -> bool:
        """Whether this refused request is a probe; ``crowded``: enough is in flight to be measured by."""
        self._asks += 1
        if crowded:
            return False
        if self._left > 0:
            self._left -= 1
            self._last = now
            return True
        since = now - self._last
        if since < INTERVAL or (self._asks < ASKS and since < IDLE):
            return False
        self._asks = 0
        self._last = now
        return True
