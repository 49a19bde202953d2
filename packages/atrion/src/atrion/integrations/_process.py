"""Measures waiting for an event loop or a thread pool with real clocks, for :mod:`atrion.control.process`."""

from __future__ import annotations

import threading
import time
import weakref

from atrion._platform import at_fork
from atrion.control.process import Process, Threads
from atrion.integrations._arrivals import Arrivals, Watch
from atrion.integrations._loop_thread import LoopThread

try:
    from resource import RUSAGE_THREAD, getrusage
except ImportError:  # not Linux
    COUNTS_RESTS = False
else:
    COUNTS_RESTS = True

__all__ = ["Loops", "ThreadPool"]

COMPUTING = 0.8
"""Share of a core above which a process computes: its threads then wait for the GIL and are not idle."""


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
    """A server's pool of ``size`` threads in which synchronous handlers run; a size of 0 is learned.

    A guard calls :meth:`enter` at the start of a request, passes the result to :meth:`Call.behind
    <atrion.control.call.Call.behind>` before it decides, and calls :meth:`leave` when the thread has finished the
    request, refused or not. Both are called in the thread that runs the handler. A server that starts a thread for
    each request has no pool, and is never found saturated.
    """

    __slots__ = ("_arrivals", "_backlog", "_lock", "_threads", "_worker")

    def __init__(self, size: int = 0) -> None:
        now = time.monotonic()
        self._threads = Threads(size, now)
        self._arrivals = Arrivals(now)
        self._backlog = Watch(now)
        self._lock = threading.Lock()
        self._worker = _Worker()

    def enter(
        self,
        port: object = None,
        told: float | None = None,
        waited: float | None = None,
        behind: int | None = None,
    ) -> Process:
        """A request to the server's ``port`` begins; returns the state of the process.

        ``told``: seconds for which it has waited by a proxy's clock. ``waited``: seconds for which it has waited for a
        thread by the clock of this machine. ``behind``: requests that wait for a thread behind it. None if not known.
        """
        worker = self._worker
        with self._lock:
            now = time.monotonic()
            between = 0.0
            known = waited is not None or behind is not None
            if not known and worker.left is not None and not self._rested(worker, now - worker.left):
                between = now - worker.left
            self._threads.enter(now, between, self._backlog.waiting(now, port), waited, behind)
            if told is not None and behind is None:
                self._arrivals.hear(told - (waited or 0.0), now)  # the wait before it reached this machine
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
