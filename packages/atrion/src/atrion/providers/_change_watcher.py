"""Hearing of what other processes of this host write to a file: by looking at its time, which costs microseconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from atrion.errors import ProviderError

__all__ = ["ChangeWatcher"]

LOOK_SECONDS = 0.01
"""Seconds between two looks."""
SETTLED = 20_000_000
"""Nanoseconds after which a file's time is sure to tell of another write: file systems count in ticks."""


class ChangeWatcher:
    """Awaits ``changed`` soon after the file at ``path`` was written, in the running loop, until it is stopped."""

    def __init__(self, path: Path, changed: Callable[[], Awaitable[None]]) -> None:
        self._path = path
        self._changed = changed
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Watch, unless it does already; does nothing outside of an event loop."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        if self._loop is not loop or self._task is None or self._task.done():
            self._loop = loop
            self._task = loop.create_task(self._live(), name="atrion-workers-watch")

    async def stop(self) -> None:
        """Stop watching."""
        task, self._task = self._task, None
        if task is not None and self._loop is asyncio.get_running_loop():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _live(self) -> None:
        seen = (0, 0)
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                found = self._path.stat()
            except OSError:
                continue  # the next pulse says so
            mark = (found.st_ino, found.st_mtime_ns)
            if mark == seen and time.time_ns() - found.st_mtime_ns > SETTLED:
                continue
            seen = mark
            with suppress(ProviderError):  # the next pulse meets it too, and counts it
                await self._changed()
