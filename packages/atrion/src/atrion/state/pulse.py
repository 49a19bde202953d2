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
MAX_BACKOFF = 1.0
"""Seconds between tries of a store that stays away, at most: it should be noticed soon when it comes back."""
LEAST_GAP = 0.1
"""Share of the interval between two turns, at least, however often it is woken."""


class Pulse:
    """Calls ``turn`` every ``interval`` seconds ± 20%, and at once when woken; backs off while it says False.

    ``turn`` says whether the store answered; whatever it raises is logged and the loop lives on. ``node`` is who
    pulses.
    """

    def __init__(self, turn: Callable[[], Awaitable[bool]], interval: float, node: str) -> None:
        self._turn = turn
        # Dice of its own: the host's common ones may be seeded for the host's sake. Seeded by the node's name, which
        # is all that jitter needs to keep nodes apart.
        self._dice = random.Random(node)
        self.interval = interval
        self.turns: int = 0
        self._failed = 0
        self._task: asyncio.Task[None] | None = None
        self._thread: threading.Thread | None = None
        self._stop: Callable[[], object] | None = None
        self._woken: asyncio.Event | None = None
        self._home: asyncio.AbstractEventLoop | None = None

    @property
    def running(self) -> bool:
        """Whether the loop beats."""
        beats = self._task is not None and not self._task.done()
        return beats or (self._thread is not None and self._thread.is_alive())

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
        return base * self._dice.uniform(1.0 - JITTER, 1.0 + JITTER)

    def wake(self) -> None:
        """Let the next turn come now, from any thread; does nothing while the loop rests or the store fails."""
        woken, home = self._woken, self._home
        if woken is None or home is None or woken.is_set() or self._failed:
            return
        with suppress(RuntimeError):  # the loop has just ended
            home.call_soon_threadsafe(woken.set)

    async def _loop(self) -> None:
        self._home = asyncio.get_running_loop()
        self._woken = woken = asyncio.Event()
        while True:
            gap = LEAST_GAP * self.interval
            await asyncio.sleep(gap)
            with suppress(TimeoutError):
                async with asyncio.timeout(max(self.period() - gap, 0.0)):
                    await woken.wait()
            woken.clear()
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

    def abandon(self) -> bool:
        """Forget task and thread, which did not survive a fork; says whether one of them was beating before it."""
        # A thread is no longer alive by now: threading has already noticed the fork.
        beating = (self._task is not None and not self._task.done()) or self._thread is not None
        self._task = None
        self._thread = None
        self._woken = None
        self._home = None
        return beating
