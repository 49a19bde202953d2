"""The pulse (RFC-0007 §4): a loop beside the traffic, as a task or as a daemon thread."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress

__all__ = ["Pulse"]

logger: logging.Logger = logging.getLogger("atrion")

JITTER = 0.2
MAX_BACKOFF = 5.0


class Pulse:
    """Calls ``turn`` every ``interval`` seconds ± 20%, backing off while it says False.

    ``turn`` says whether the store answered; whatever it raises is logged and the loop lives on.
    """

    def __init__(self, turn: Callable[[], Awaitable[bool]], interval: float) -> None:
        self._turn = turn
        self.interval = interval
        self.turns: int = 0
        self._failed = 0
        self._task: asyncio.Task[None] | None = None
        self._thread: threading.Thread | None = None
        self._stop: Callable[[], object] | None = None

    @property
    def running(self) -> bool:
        """Whether the loop beats."""
        return self._task is not None or (self._thread is not None and self._thread.is_alive())

    async def once(self) -> bool:
        """One turn, now; never raises but for cancellation."""
        try:
            worked = await self._turn()
        except Exception:
            logger.exception("a pulse failed; the next one goes on")
            worked = False
        self.turns += 1
        self._failed = 0 if worked else self._failed + 1
        return worked

    def period(self) -> float:
        """Seconds until the next turn: jittered, doubled for every failure in a row, bounded."""
        base = min(self.interval * 2.0 ** min(self._failed, 10), max(MAX_BACKOFF, self.interval))
        return base * random.uniform(1.0 - JITTER, 1.0 + JITTER)

    async def _loop(self) -> None:
        while True:
            await asyncio.sleep(self.period())
            await self.once()

    def start_task(self) -> None:
        """Beat as a task of the running loop."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._loop(), name="atrion-pulse")

    async def stop_task(self) -> None:
        """End the task."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def start_thread(
        self, enter: Callable[[], Awaitable[None]], leave: Callable[[], Awaitable[None]]
    ) -> None:
        """Beat in a daemon thread with its own loop; returns when ``enter`` was awaited there."""
        if self._thread is not None:
            return
        ready = threading.Event()

        async def main() -> None:
            stopped = asyncio.Event()
            loop = asyncio.get_running_loop()
            self._stop = lambda: loop.call_soon_threadsafe(stopped.set)
            try:
                await enter()
            finally:
                ready.set()
            beat = loop.create_task(self._loop())
            await stopped.wait()
            beat.cancel()
            with suppress(asyncio.CancelledError):
                await beat
            await leave()

        def run() -> None:
            try:
                asyncio.run(main())
            except Exception:
                logger.exception("the pulse thread ended; decisions go on locally")

        self._thread = threading.Thread(target=run, name="atrion-pulse", daemon=True)
        self._thread.start()
        ready.wait()

    def stop_thread(self, timeout: float) -> None:
        """End the thread, waiting at most ``timeout`` seconds."""
        thread, self._thread = self._thread, None
        if thread is not None and self._stop is not None and thread.is_alive():
            with suppress(RuntimeError):
                self._stop()
            thread.join(timeout)

    def abandon(self) -> None:
        """Forget task and thread, which did not survive a fork."""
        self._task = None
        self._thread = None
