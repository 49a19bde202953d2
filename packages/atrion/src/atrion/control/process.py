"""The process itself as a bottleneck: what waits before the guard, where no guard sees it. Pure: it is told the time.

A loop's thread that never rests, or a pool of threads that is always full, has a queue in front of it: in the loop, in
the server, in the kernel. Its length is unknown there, but that it never ends is known: by the share of time in which
the thread, or every thread of the pool, is busy. A controller of proportion and integral holds that share a little
below one, where the queue empties again and again.
"""

from __future__ import annotations

from typing import Final, final

from atrion._native import mypyc_attr

__all__ = ["POOL_SHARE", "THREAD_SHARE", "TICK", "Process", "Threads"]

TICK: Final = 0.1
"""Seconds from one observation to the next."""
THREAD_SHARE: Final = 0.93
"""Share of its time that one thread should be busy: at random arrivals about six calls then wait."""
POOL_SHARE: Final = 0.85
"""Share of the time in which all threads of a pool should be busy: a pool serves others while it is not full."""
RATE: Final = 30.0
"""Ohms per second by which a share of one raises resistance: through a band in a third of one."""
QUICK: Final = 10.0
"""Ohms that a share of one adds at once: the width of a band."""
EVIDENCE: Final = 20.0
"""Ohms of the integral that are proof and no resistance yet: two thirds of a second without rest."""
LONGEST: Final = 2.0 * TICK
"""Seconds that one observation can prove: one long computation is no crowd."""
CEILING: Final = 130.0
"""Most ohms: above every voltage, for a process that what is critical alone can overload."""


@mypyc_attr(acyclic=True)
@final
class Process:
    """What a busy process adds to the resistance of every route that is served by it: ``ohms``, 0 in calm.

    ``goal`` is the share of time, above 0 and below 1, in which it should be busy.
    """

    __slots__ = ("_goal", "_last", "_level", "ohms")

    def __init__(self, goal: float = THREAD_SHARE, now: float = 0.0) -> None:
        self._goal: float = goal
        self._last: float = now
        self._level: float = 0.0
        self.ohms: float = 0.0

    def observe(self, now: float, share: float, waiting: bool = True) -> None:
        """It was busy for ``share``, 0 to 1, of the time until ``now``, in seconds.

        Without anybody ``waiting``, such as behind a single client that asks again and again, busy is only busy.
        A pause of the whole process is a long time with a small share, and so calm.
        """
        passed = now - self._last
        self._last = now
        if not passed > 0.0:
            return
        # Not bounded below: else chance alone would raise it in front of a process that is well used.
        error = min((share - self._goal) / (1.0 - self._goal), 1.0)
        if not waiting and not error < -1.0:
            error = -1.0
        step = error * min(passed, LONGEST) if error > 0.0 else error * passed
        self._level = min(max(self._level + RATE * step, 0.0), EVIDENCE + CEILING)
        if self._level < EVIDENCE:
            self.ohms = 0.0
        else:
            self.ohms = min(max(self._level - EVIDENCE + QUICK * error, 0.0), CEILING)


@final
class Threads:
    """How long every one of ``size`` threads, at least 1, was busy at once. Calls come one at a time: hold a lock."""

    __slots__ = ("_began", "_full", "_last", "busy", "size")

    def __init__(self, size: int, now: float) -> None:
        self.size: int = size
        self.busy: int = 0
        self._full: float = 0.0
        self._began: float = now
        self._last: float = now

    def enter(self, now: float) -> None:
        """A thread takes up a call."""
        self._pass(now)
        self.busy += 1

    def leave(self, now: float) -> None:
        """A thread is done with one."""
        self._pass(now)
        self.busy = max(self.busy - 1, 0)

    def _pass(self, now: float) -> None:
        if now > self._last:
            if self.busy >= self.size:
                self._full += now - self._last
            self._last = now

    def due(self, now: float) -> bool:
        """Whether a tick has passed since the last :meth:`share`."""
        return now - self._began >= TICK

    def share(self, now: float) -> float:
        """The share of the time since the last time it was asked, 0 to 1, in which all were busy."""
        self._pass(now)
        passed = now - self._began
        share = min(self._full / passed, 1.0) if passed > 0.0 else 0.0
        self._began = now
        self._full = 0.0
        return share
