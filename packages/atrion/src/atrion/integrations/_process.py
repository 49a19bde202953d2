"""The clocks of the thread that runs an event loop, read for :class:`~atrion.control.process.Process`."""

from __future__ import annotations

import math
import os
import threading
import time

from atrion.control.process import TICK, Process

try:
    from resource import RUSAGE_THREAD, getrusage
except ImportError:  # anything but Linux
    KNOWS_RESTS = False
else:
    KNOWS_RESTS = True

__all__ = ["LoopThread", "Loops", "waited"]

LATE = 0.25
"""Seconds of waiting before the guard above which a request is late: half of what people and proxies put up with."""
OLDEST = 60.0
"""Seconds above which an age is none, but a clock that is wrong."""
FORGIVEN = 0.01
"""Seconds per second by which the least wait is forgotten, so that a clock that was set is forgiven within a minute."""


def waited(stamp: str, wall: float) -> float | None:
    """Seconds from ``stamp``, an ``X-Request-Start``, to ``wall``, in seconds since 1970; None where it is nonsense.

    Seconds, milliseconds and microseconds are told apart by their size, with or without ``t=``.
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


class LoopThread:
    """The thread that makes it: how busy it is, whether requests wait for it, and what that adds to resistance.

    Busy is its CPU time and, on Linux, the time for which it waits for a CPU.
    """

    __slots__ = (
        "_begun",
        "_cpu",
        "_due",
        "_file",
        "_last",
        "_late",
        "_least",
        "_queued",
        "_rests",
        "_stamped",
        "process",
    )

    def __init__(self) -> None:
        now = time.monotonic()
        self.process = Process(now=now)
        try:
            self._file = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        except (OSError, AttributeError):
            self._file = -1
        self._begun = 0
        self._rests = self._rested()
        self._late = self._stamped = 0
        self._least = OLDEST
        self._last = now
        self._due = now + TICK
        self._cpu = time.thread_time()
        self._queued = self._read()

    def __del__(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    @staticmethod
    def _rested() -> int:
        """How often the thread has gone to rest of itself; 0 where nobody counts that."""
        return getrusage(RUSAGE_THREAD).ru_nvcsw if KNOWS_RESTS else 0

    def _read(self) -> float:
        """Seconds for which the thread has waited for a CPU since it began."""
        if self._file < 0:
            return 0.0
        try:
            return int(os.pread(self._file, 64, 0).split()[1]) / 1e9
        except (OSError, ValueError, IndexError):
            return self._queued

    def arrive(self, wait: float | None = None) -> Process:
        """A request begins, after ``wait`` seconds where that is known; what the process is like now."""
        self._begun += 1
        if wait is not None:
            self._stamped += 1
            # Clocks of two machines differ by a constant, which the least wait of late has in it.
            self._least = min(self._least, wait)
            if wait - self._least > LATE:
                self._late += 1
        now = time.monotonic()
        if now >= self._due:
            self._tick(now)
        return self.process

    def _tick(self, now: float) -> None:
        passed = now - self._last
        cpu = time.thread_time()
        queued = self._read()
        share = min((cpu - self._cpu + queued - self._queued) / passed, 1.0)
        # A loop that rests before most requests has nobody waiting, however busy its only client keeps it.
        waiting = True
        if KNOWS_RESTS:
            rests = self._rested()
            waiting = 2 * (rests - self._rests) < self._begun
            self._rests = rests
        if 2 * self._late > self._stamped:
            share = 1.0
            waiting = True
        self.process.observe(now, share, waiting)
        self._cpu = cpu
        self._queued = queued
        self._last = now
        self._due = now + TICK
        self._begun = self._late = self._stamped = 0
        self._least = min(self._least + FORGIVEN * passed, OLDEST)


class Loops(threading.local):
    """A :class:`LoopThread` for every thread that asks, made anew in a child process."""

    def __init__(self) -> None:
        self._process_id = 0
        self._own: LoopThread | None = None

    def mine(self) -> LoopThread:
        """That of the thread that asks."""
        own = self._own
        if own is None or self._process_id != os.getpid():
            self._process_id = os.getpid()
            self._own = own = LoopThread()
        return own
