"""The pulse (RFC-0007 §4): a background loop, as a task or as a daemon thread."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any
from zlib import crc32

__all__ = ["Pulse", "to_the_end"]

logger: logging.Logger = logging.getLogger("atrion")

JITTER = 0.2
MAX_BACKOFF = 1.0
"""Most seconds between attempts while the store is down, so that its recovery is noticed soon."""
LEAST_GAP = 0.1
"""Least time between two turns, as a share of the interval, however often the pulse is woken."""
START_SECONDS = 3.0
"""Most seconds that entering waits for the thread to connect; the thread continues by itself."""
STOP_SECONDS = 3.0
"""Most seconds that leaving waits for the thread to end."""


async def to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Await ``work``, which is bounded in time, to its end; a cancellation meanwhile is raised afterwards."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    task.result()


class _Occupied(Exception):
    """Another event loop already runs in the pulse's thread."""


def _is_in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class _Runner:
    """Where the pulse can run: an event loop that was entered, or a thread. ``entries`` counts how often it was."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self.entries = 1
        self.loop = loop
        self.task: asyncio.Task[None] | None = None
        self.woken: asyncio.Event | None = None
        """Set to let the next turn come now; None until the pulse runs here."""
        self.thread: threading.Thread | None = None
        self.ready = threading.Event()
        self.quit = threading.Event()
        self.stop: Callable[[], object] | None = None

    @property
    def gone(self) -> bool:
        """Whether its loop or thread has ended without an exit."""
        if self.thread is not None:
            return self.thread.ident is not None and not self.thread.is_alive()
        return self.loop is not None and self.loop.is_closed()


class Pulse:
    """Calls ``turn`` every ``interval`` seconds ± 20%, and at once when woken; backs off while it returns False.

    It runs from the first entry to the last exit. If several loops and a thread were entered, it runs in the first one
    that was not left. ``turn`` returns whether the store answered; its exceptions are logged, and the loop continues.

    Args:
        turn: One pulse.
        interval: Seconds.
        enter: Connects, before the first turn.
        leave: Disconnects, after the last turn in a loop; another one then connects for itself.
        node: Whose pulse it is: nodes turn at different times.
    """

    def __init__(
        self,
        turn: Callable[[], Awaitable[bool]],
        interval: float,
        enter: Callable[[], Awaitable[None]],
        leave: Callable[[], Coroutine[Any, Any, None]],
        node: str = "",
    ) -> None:
        self.node = node
        self._process = os.getpid()
        self._turn = turn
        self._enter = enter
        self._leave = leave
        self.interval = interval
        self.turns: int = 0
        self._failed = 0
        self._lock = threading.Lock()
        self._runners: dict[asyncio.AbstractEventLoop | None, _Runner] = {}

    @property
    def running(self) -> bool:
        """Whether it runs somewhere."""
        return self._leader() is not None

    def _leader(self) -> _Runner | None:
        """The runner that pulses: the first of those that run."""
        runners = list(self._runners.values())
        return next((runner for runner in runners if runner.woken is not None and not runner.gone), None)

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
        # By node, child of its process and turn: they differ, and yet a simulation repeats itself.
        place = crc32(f"{self.node}:{os.getpid() - self._process}:{self.turns}".encode()) / 2.0**32
        return base * (1.0 - JITTER + 2.0 * JITTER * place)

    def wake(self) -> None:
        """Let the next turn come now, from any thread; does nothing while nothing runs or the store fails."""
        runner = self._leader()
        if runner is None or runner.woken is None or runner.loop is None or self._failed:
            return
        if not runner.woken.is_set():
            with suppress(RuntimeError):  # the loop has just ended
                runner.loop.call_soon_threadsafe(runner.woken.set)

    async def _run(self, runner: _Runner) -> None:
        runner.woken = woken = asyncio.Event()
        while True:
            gap = LEAST_GAP * self.interval
            await asyncio.sleep(gap)
            with suppress(TimeoutError):
                async with asyncio.timeout(max(self.period() - gap, 0.0)):
                    await woken.wait()
            woken.clear()
            if self._leader() is runner:
                await self.once()

    # --- entering and leaving --------------------------------------------------------------------------------

    def _count_in(self, home: asyncio.AbstractEventLoop | None) -> tuple[_Runner, bool]:
        """The runner of ``home``, entered once more; and whether it is new."""
        with self._lock:
            for ended in [other for other, runner in self._runners.items() if runner.gone]:
                del self._runners[ended]
            runner = self._runners.get(home)
            if runner is not None:
                runner.entries += 1
                return runner, False
            self._runners[home] = runner = _Runner(home)
            return runner, True

    def _count_out(self, home: asyncio.AbstractEventLoop | None) -> _Runner | None:
        """The runner of ``home`` if this is its last exit; if it ran the pulse, another one takes over."""
        with self._lock:
            runner = self._runners.get(home)
            if runner is None:
                return None
            runner.entries -= 1
            return runner if runner.entries <= 0 else None

    def _others(self, runner: _Runner) -> bool:
        """Whether another runner has entered, and so has connected."""
        return any(not (other is runner or other.gone) for other in list(self._runners.values()))

    def _forget(self, runner: _Runner) -> None:
        with self._lock:
            for home in [home for home, other in self._runners.items() if other is runner]:
                del self._runners[home]

    async def join(self) -> None:
        """Enter the running loop: connect, unless another one has, and run there as a task."""
        loop = asyncio.get_running_loop()
        runner, new = self._count_in(loop)
        if not new:
            return
        try:
            if not self._others(runner):
                await self._enter()
        except BaseException:
            self._forget(runner)
            raise
        if runner.entries > 0:
            runner.task = loop.create_task(self._run(runner), name="atrion-pulse")

    async def part(self) -> None:
        """Leave the running loop. The last one to leave flushes once and disconnects, within a second."""
        runner = self._count_out(asyncio.get_running_loop())
        if runner is not None or not self._runners:
            await to_the_end(self._end(runner))

    async def _end(self, runner: _Runner | None) -> None:
        leads = self._leader() in {runner, None}
        if runner is not None and runner.task is not None:
            runner.task.cancel()
            await asyncio.wait([runner.task])
        if leads:
            await self._leave()
        if runner is not None:
            self._forget(runner)

    def join_thread(self, wait: bool = True) -> None:
        """Enter without a loop: run in a daemon thread that has one.

        Waits until it has connected, for a few seconds. A thread that cannot run is logged, and tries again.
        """
        runner, new = self._count_in(None)
        if new:
            runner.thread = threading.Thread(
                target=self._thread, args=(runner,), name="atrion-pulse", daemon=True
            )
            try:
                runner.thread.start()
            except RuntimeError:
                self._forget(runner)
                logger.exception("the pulse has no thread to run in; decisions go on locally")
                return
        if wait and not runner.ready.wait(START_SECONDS):
            logger.warning("the pulse takes long to connect; decisions go on locally meanwhile")

    def part_thread(self) -> None:
        """Leave the thread; the last one to leave ends it, and waits for that for a few seconds."""
        runner = self._count_out(None)
        if runner is None or runner.thread is None:
            return
        runner.quit.set()
        if runner.stop is not None:
            with suppress(RuntimeError):  # the loop has just ended
                runner.stop()
        if runner.thread is not threading.current_thread():
            runner.thread.join(STOP_SECONDS)
        self._forget(runner)

    def _thread(self, runner: _Runner) -> None:
        failed = 0
        while not runner.quit.is_set():
            try:
                if _is_in_a_loop():
                    raise _Occupied
                with asyncio.Runner() as loop:
                    loop.run(self._thread_main(runner))
            except _Occupied:
                failed += 1
                if failed == 1:
                    logger.warning(
                        "the pulse cannot run while another event loop runs in this thread, as under gevent's"
                        " monkey-patching: share one Atrion in the process; decisions go on locally"
                    )
            except Exception:
                failed += 1
                if failed == 1:
                    logger.exception("the pulse cannot run and tries again; decisions go on locally")
            runner.woken = None
            runner.ready.set()
            runner.quit.wait(min(0.1 * 2.0 ** min(failed, 10), MAX_BACKOFF))

    async def _thread_main(self, runner: _Runner) -> None:
        stopped = asyncio.Event()
        loop = runner.loop = asyncio.get_running_loop()
        runner.stop = lambda: loop.call_soon_threadsafe(stopped.set)
        if runner.quit.is_set():
            return
        if not self._others(runner):
            await self._enter()
        runner.task = loop.create_task(self._run(runner))
        runner.ready.set()
        await stopped.wait()
        await self._end(runner)

    # --- forks -----------------------------------------------------------------------------------------------

    def abandon(self) -> bool:
        """In a child: forget what did not survive the fork; returns whether it ran before."""
        # Threads are no longer alive by now: threading has already noticed the fork.
        ran = bool(self._runners)
        self._runners = {}
        self._lock = threading.Lock()
        return ran
