"""Measures waiting for an event loop or a thread pool with real clocks, for :mod:`atrion.control.process`."""

from __future__ import annotations

import asyncio
import math
import sys
import threading
import time
import weakref
from contextvars import Context
from typing import Any

from atrion._platform import at_fork
from atrion.control.process import REST, STEEP, TICK, LoopQueue, Process, Threads
from atrion.integrations._sockets import Watch

try:
    from resource import RUSAGE_THREAD, getrusage
except ImportError:  # not Linux
    COUNTS_RESTS = False
else:
    COUNTS_RESTS = True

__all__ = ["Arrivals", "LoopThread", "Loops", "ThreadPool", "waited"]

LATE = 0.25
"""Seconds of waiting before the guard above which a request is late."""
OLDEST = 60.0
"""Seconds above which an age is taken for a wrong clock."""
FORGIVEN = 0.01
"""Seconds per second by which the minimum wait decays, so that a corrected clock has no effect after a minute."""
COMPUTING = 0.8
"""Share of a core above which a process computes: its threads then wait for the GIL and are not idle."""


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


def _running() -> Any:
    """The asyncio loop or the trio run of this thread; None if there is neither."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        trio = sys.modules.get("trio")
    try:
        return None if trio is None else trio.lowlevel.current_trio_token()
    except RuntimeError:
        return None


class LoopThread:
    """The queue in front of the event loop of one thread."""

    __slots__ = ("_arrivals", "_backlog", "_context", "_loop", "_queue")

    def __init__(self) -> None:
        now = time.monotonic()
        self._queue = LoopQueue(now)
        self._arrivals = Arrivals(now)
        self._context = Context()  # empty, so that the loop keeps nothing of the request
        self._loop: Any = None
        self._backlog = Watch(now)

    def arrive(self, port: object = None, wait: float | None = None) -> Process:
        """A request to the server's ``port`` begins on this thread's loop; returns the state of the process.

        ``wait``: seconds for which it has waited, if known.
        """
        now = time.monotonic()
        queue = self._queue
        if wait is not None:
            self._arrivals.hear(wait, now)
        loop = _running()
        if loop is not self._loop:
            self._loop = loop
            queue.rest(now)
        if loop is not None and queue.arrive(now, self._backlog.waiting(now, port)):
            self._tell_next(loop)
        return self._arrivals.or_else(queue.process)

    def admit(self) -> None:
        """The request that began last was admitted."""
        self._queue.admit()

    def _tell_next(self, loop: Any) -> None:
        """Called after everything that was ready on the loop has run."""
        if isinstance(loop, asyncio.AbstractEventLoop):
            loop.call_soon(self._come_round, loop, context=self._context)
        else:
            loop.run_sync_soon(self._come_round, loop)

    def _come_round(self, loop: Any) -> None:
        if loop is self._loop and self._queue.turn(time.monotonic()):
            self._tell_next(loop)


class Loops(threading.local):
    """One :class:`LoopThread` per thread, created anew in a child process."""

    def __init__(self) -> None:
        self.own: LoopThread | None = None
        _all.add(self)

    def mine(self) -> LoopThread:
        """The one of the current thread."""
        own = self.own
        if own is None:
            self.own = own = LoopThread()
        return own


_all: weakref.WeakSet[Loops] = weakref.WeakSet()


def _forget() -> None:
    """In a child, whose only thread is the one that forked."""
    for loops in list(_all):
        loops.own = None


at_fork(_forget)


class _Worker(threading.local):
    """The state of one thread at the end of its last call."""

    left: float | None = None
    """Time of the end, in seconds; None before the first."""
    computed: float = 0.0
    """CPU time of the whole process then, in seconds."""
    rests: int = 0
    """Voluntary context switches of the thread then."""


class ThreadPool:
    """A server's pool of ``size`` threads, at least 1, in which synchronous handlers run.

    A guard calls :meth:`enter` at the start of a request, passes the result to :meth:`Call.behind
    <atrion.control.call.Call.behind>` before it decides, and calls :meth:`leave` when the thread has finished the
    request, refused or not. Both are called in the thread that runs the handler. A server that starts a thread for
    each request has no pool, and is never found saturated.
    """

    __slots__ = ("_arrivals", "_backlog", "_lock", "_threads", "_worker")

    def __init__(self, size: int) -> None:
        now = time.monotonic()
        self._threads = Threads(size, now)
        self._arrivals = Arrivals(now)
        self._backlog = Watch(now)
        self._lock = threading.Lock()
        self._worker = _Worker()

    def enter(self, port: object = None, wait: float | None = None) -> Process:
        """A request to the server's ``port`` begins; returns the state of the process.

        ``wait``: seconds for which it has waited, if known.
        """
        worker = self._worker
        with self._lock:
            now = time.monotonic()
            between = 0.0
            if worker.left is not None and not self._rested(worker, now - worker.left):
                between = now - worker.left
            self._threads.enter(now, between, self._backlog.waiting(now, port))
            if wait is not None:
                self._arrivals.hear(wait, now)
            return self._arrivals.or_else(self._threads.process)

    def leave(self) -> None:
        """The request has ended."""
        worker = self._worker
        with self._lock:
            worker.left = time.monotonic()
            worker.computed = time.process_time()
            worker.rests = _rests()
            self._threads.leave(worker.left)

    @staticmethod
    def _rested(worker: _Worker, passed: float) -> bool:
        """Whether the thread was idle since its last request, and did not only wait for the GIL."""
        if COUNTS_RESTS and _rests() == worker.rests:
            return False
        return time.process_time() - worker.computed < COMPUTING * passed


def _rests() -> int:
    """Voluntary context switches of the thread; 0 if the system does not count them."""
    return getrusage(RUSAGE_THREAD).ru_nvcsw if COUNTS_RESTS else 0
