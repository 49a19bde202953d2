"""Detects writes of other processes to a file by polling its modification time, which costs microseconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from atrion.errors import ProviderError

__all__ = ["ChangeWatcher"]

LOOK_SECONDS = 0.01
"""Seconds between two checks."""
SETTLED = 20_000_000
"""Nanoseconds after which another write is sure to change a file's time: file systems round it to ticks."""


class ChangeWatcher:
    """Awaits ``changed`` in the running event loop soon after each write to the file at ``path``, until stopped."""

    def __init__(self, path: Path, changed: Callable[[], Awaitable[None]]) -> None:
        self._path = path
        self._changed = changed
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Start watching, unless already started; does nothing outside of an event loop."""
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
                continue  # the next pulse reports it
            mark = (found.st_ino, found.st_mtime_ns)
            if mark == seen and time.time_ns() - found.st_mtime_ns > SETTLED:
                continue
            seen = mark
            with suppress(ProviderError):  # the next pulse fails likewise and counts it
                await self._changed()
