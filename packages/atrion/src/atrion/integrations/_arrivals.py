"""How long requests have waited before a guard sees them: by a proxy's clock, and in the sockets. Compiled."""

from __future__ import annotations

import math
from typing import Final, final

from atrion.control.process import REST, STEEP, TICK, Process
from atrion.integrations._sockets import Backlog

__all__ = ["Arrivals", "Watch", "waited"]

LATE: Final = 0.25
"""Seconds of waiting before the guard above which a request is late."""
OLDEST: Final = 60.0
"""Seconds above which an age is taken for a wrong clock."""
FORGIVEN: Final = 0.01
"""Seconds per second by which the minimum wait decays, so that a corrected clock has no effect after a minute."""
GLANCE: Final = 0.01
"""Seconds between two readings."""


def waited(stamp: str, wall: float) -> float | None:
    """Seconds from ``stamp``, an ``X-Request-Start``, to ``wall``, in seconds since 1970; None if it is invalid.

    Seconds, milliseconds and microseconds are distinguished by their size, with or without ``t=``.
    """
    text = stamp.strip().removeprefix("t=")
    if len(text) > 32:
        return None
    try:
        start = float(text)
    except ValueError:
        return None
    if not math.isfinite(start):
        return None
    if start > 1e14:
        start /= 1e6
    elif start > 1e11:
        start /= 1e3
    age = wall - start
    return age if 0.0 <= age <= OLDEST else None


@final
class Arrivals:
    """Waits of requests before the guard, from a server or a proxy; if most are late, resistance rises."""

    __slots__ = ("_began", "_late", "_least", "_soonest", "_stamped", "process")

    def __init__(self, now: float) -> None:
        self.process: Process = Process(now)
        self._began: float = now
        self._late: int = 0
        self._stamped: int = 0
        self._least: float = OLDEST
        self._soonest: float = OLDEST

    def hear(self, wait: float, now: float) -> None:
        """A request has waited for ``wait`` seconds."""
        # Clocks of two machines differ by a constant, which the recent minimum contains.
        self._least = min(self._least, wait)
        self._soonest = min(self._soonest, wait)
        self._stamped += 1
        self._late += wait - self._least > LATE
        if now - self._began >= TICK:
            self._tick(now)

    def _tick(self, now: float) -> None:
        if self._soonest - self._least > LATE:
            error = STEEP  # slow uploads may be late, but not all requests
        else:
            error = 1.0 if 2 * self._late > self._stamped else REST
        self.process.observe(now, error)
        self._least = min(self._least + FORGIVEN * (now - self._began), OLDEST)
        self._soonest = OLDEST
        self._began = now
        self._late = self._stamped = 0

    def or_else(self, other: Process) -> Process:
        """The process with more resistance: this one or ``other``."""
        return self.process if self.process.ohms > other.ohms else other


@final
class Watch:
    """Reads the backlog of the first request's port at most a hundred times a second."""

    __slots__ = ("_backlog", "_due", "_waiting")

    def __init__(self, now: float) -> None:
        self._backlog: Backlog | None = None
        self._due = now
        self._waiting = 0

    def waiting(self, now: float, port: object) -> int:
        """Connections that waited to be accepted on ``port`` at the last reading."""
        if now >= self._due:
            if self._backlog is None:
                self._backlog = Backlog(port)
            self._waiting = self._backlog.waiting()
            self._due = now + GLANCE
        return self._waiting
