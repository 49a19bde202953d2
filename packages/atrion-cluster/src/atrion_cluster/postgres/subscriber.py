"""Notifies subscribers of changes: a connection that listens, in a task of the running loop while there are any.

A notification only triggers a query for changes, so nothing is lost while the connection is down, and the content of
notifications is not trusted.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import suppress

import psycopg
from psycopg.sql import SQL, Identifier

from atrion.state import PhysicsVector
from atrion_cluster.postgres.driver import Connection
from atrion_cluster.postgres.names import LONGEST, from_text, to_text
from atrion_cluster.postgres.pool import ConnectionPool
from atrion_cluster.postgres.settings import PostgresSettings
from atrion_cluster.postgres.statements import statement

__all__ = ["ChangeSubscriber"]

logger: logging.Logger = logging.getLogger("atrion")

QUIET = 30.0
"""Seconds without a notification after which changes are queried anyway."""
GAP = 0.05
"""Minimum seconds between two queries for changes."""
NAMED = 256
"""Maximum routes queried by name; with more, all changes are queried."""
MAX_BACKOFF = 2.0
"""Maximum seconds between two attempts to listen."""


class ChangeSubscriber:
    """The subscribers of routes, and the task that notifies them."""

    def __init__(self, pool: ConnectionPool, settings: PostgresSettings) -> None:
        self.failures: int = 0
        self.dropped: int = 0
        self.since: str | None = None
        """The snapshot after which changes are reported; None before the first connect."""
        self._pool = pool
        self._settings = settings
        self._callbacks: dict[str, list[Callable[[PhysicsVector], None]]] = {}
        self._told: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def subscribe(self, route: str, callback: Callable[[PhysicsVector], None]) -> Callable[[], None]:
        """Call ``callback`` on changes; returns a function that ends this."""
        self._callbacks.setdefault(route, []).append(callback)

        def end() -> None:
            callbacks = self._callbacks.get(route, [])
            if callback in callbacks:
                callbacks.remove(callback)
            if not callbacks:
                self._callbacks.pop(route, None)
                self._told.pop(route, None)

        return end

    def listen(self) -> None:
        """Start listening in the running loop if there are subscribers; does not wait."""
        if self.since is None or not self._callbacks:
            return
        loop = asyncio.get_running_loop()
        if self._loop is not loop or self._task is None or self._task.done():
            self._loop = loop
            self._task = loop.create_task(self._live(), name="atrion-postgres-subscriber")

    async def stop(self) -> None:
        """Stop listening; the subscribers stay."""
        task, self._task = self._task, None
        if task is not None and self._loop is asyncio.get_running_loop():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _live(self) -> None:
        loop, failed = asyncio.get_running_loop(), 0
        while True:
            connection: Connection | None = None
            try:
                async with asyncio.timeout(self._settings.deadline):
                    connection = await self._pool.connect()
                    await connection.execute(SQL("LISTEN {}").format(Identifier(self._settings.channel)))
                while True:
                    async with asyncio.timeout(self._settings.deadline):
                        await self._tell(connection)
                    failed, told_at = 0, loop.time()
                    async for _ in connection.notifies(timeout=QUIET, stop_after=1):
                        pass
                    await asyncio.sleep(told_at + GAP - loop.time())  # a burst is handled as one
            except (psycopg.Error, OSError):
                failed += 1
                self.failures += 1
            finally:
                if connection is not None:
                    self._pool.release(connection)
            await asyncio.sleep(min(0.1 * 2.0 ** min(failed, 10), MAX_BACKOFF) * random.uniform(0.8, 1.2))

    async def _tell(self, connection: Connection) -> None:
        """Query the changes and notify their subscribers."""
        few = len(self._callbacks) <= NAMED
        asked = {
            "namespace": self._settings.namespace,
            "since": self.since,
            "routes": [to_text(route) for route in self._callbacks] if few else None,
            "longest_name": LONGEST,
        }
        for snapshot, text, changed, *numbers in await (
            await connection.execute(statement("changed"), asked)
        ).fetchall():
            self.since = snapshot
            route = None if text is None else from_text(text)
            if route is None or route not in self._callbacks or self._told.get(route) == changed:
                continue
            self._told[route] = changed
            vector = PhysicsVector(*numbers)
            if vector.is_sane():
                self._call(route, vector)
            else:
                self.dropped += 1

    def _call(self, route: str, vector: PhysicsVector) -> None:
        for callback in list(self._callbacks.get(route, ())):
            try:
                callback(vector)
            except Exception:
                logger.exception("a subscriber of %r failed; the others go on", route)
