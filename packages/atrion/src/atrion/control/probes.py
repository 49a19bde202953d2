"""Probes: requests admitted above the resistance, so that a failing route is still measured and can recover."""

from __future__ import annotations

from typing import Final, final

from atrion._native import mypyc_attr

__all__ = ["Probes"]

INTERVAL: Final = 0.35
"""Seconds between two probes: three a second cost next to nothing."""
ASKS: Final = 5
"""Requests of which one may be a probe, so that few requests fail on a quiet route, too."""
WAITING_INTERVAL: Final = 5.0
"""The same for a router while a call of the route is unanswered: it has other routes, and that call will soon tell."""
WAITING_ASKS: Final = 20
"""Requests of which one may be a probe then: a twentieth of a router's traffic may be lost to it."""
IDLE: Final = 300.0
"""Seconds without any measurement after which the next request is a probe."""
MOST: Final = 64
"""Most probes of one tick."""


@mypyc_attr(acyclic=True)
@final
class Probes:
    """Decides which requests of one route are probes: one at a time, and twice as many after every tick of successes.

    ``now`` is when the route was last measured. Times in seconds.
    """

    __slots__ = ("_asks", "_last", "_left", "_step", "offered")

    def __init__(self, now: float) -> None:
        self._asks: int = 0
        self._left: int = 0
        self._step: int = 1
        self._last: float = now
        self.offered: bool = False
        """Whether a router was asked to send a probe: the next request that would be shed then passes."""

    def restart(self, now: float) -> None:
        """The clock was set back to ``now``."""
        self._last = now

    def learn(self, successes: int, failures: int) -> None:
        """Learn from the calls that ended in a tick."""
        if failures > 0:
            self._step = 1
            self._left = 0
        elif successes > 0:
            self._step = min(2 * self._step, MOST)
            self._left = self._step

    def take_offer(self) -> bool:
        """Whether a probe was offered, which this request then takes."""
        offered = self.offered
        self.offered = False
        return offered

    def passes(self, now: float, measured: bool, waiting: bool = False) -> bool:
        """Whether a request that would be shed is a probe; never if ``measured`` by enough calls in flight.

        ``waiting`` says that a router asks, and that a call of the route is unanswered.
        """
        self._asks += 1
        if measured:
            return False
        if self._left > 0:
            self._left -= 1
            self._last = now
            return True
        since = now - self._last
        interval, asks = (WAITING_INTERVAL, WAITING_ASKS) if waiting else (INTERVAL, ASKS)
        if since < interval or (self._asks < asks and since < IDLE):
            return False
        self._asks = 0
        self._last = now
        return True
