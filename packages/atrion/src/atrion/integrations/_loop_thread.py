"""Measures how long requests wait for the event loop of a thread, for :mod:`atrion.control.process`. Compiled."""

from __future__ import annotations

import sys
import time
from asyncio import AbstractEventLoop, get_running_loop
from contextvars import Context
from typing import Any, final

from atrion.control.process import LoopQueue, Process
from atrion.integrations._arrivals import Arrivals, Watch

__all__ = ["LoopThread"]


def _running() -> Any:
    """The asyncio loop or the trio run of this thread; None if there is neither."""
    try:
        return get_running_loop()
    except RuntimeError:
        trio = sys.modules.get("trio")
    try:
        return None if trio is None else trio.lowlevel.current_trio_token()
    except RuntimeError:
        return None


@final
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
        if isinstance(loop, AbstractEventLoop):
            loop.call_soon(self._come_round, loop, context=self._context)
        else:
            loop.run_sync_soon(self._come_round, loop)

    def _come_round(self, loop: Any) -> None:
        if loop is self._loop and self._queue.turn(time.monotonic()):
            self._tell_next(loop)
