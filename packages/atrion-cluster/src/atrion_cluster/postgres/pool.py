"""A small connection pool without background tasks; every call has a deadline.

Connections are opened on demand and reused. Nothing outlives its event loop or delays ``disconnect``. A connection
whose call is cancelled, fails or exceeds its deadline is closed at once. Each event loop and each process has
connections of its own.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import psycopg

from atrion.errors import ProviderError
from atrion_cluster.postgres.driver import Connection
from atrion_cluster.postgres.settings import PostgresSettings
from atrion_cluster.postgres.statements import statement

__all__ = ["READ_ONLY", "ConnectionPool"]

T = TypeVar("T")

READ_ONLY = "the server is read-only: name the primary, not a replica"
CONNECTIONS = 2
"""Maximum connections of a process, besides the one that listens."""


class _LoopConnections:
    """The connections of one event loop of one process."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.pid = os.getpid()
        self.turns = asyncio.Semaphore(CONNECTIONS)
        self.idle: list[Connection] = []
        self.open: set[Connection] = set()

    def close(self, connection: Connection) -> None:
        connection.drop()
        self.open.discard(connection)

    def leave(self) -> None:
        """Close everything, except in a forked child, which must not touch its parent's connections."""
        self.idle.clear()
        if self.pid != os.getpid():
            _parents.append(self)
            return
        for connection in list(self.open):
            self.close(connection)


_parents: list[_LoopConnections] = []
"""Connections of the parent process, kept so that they are never closed here."""


class ConnectionPool:
    """Connections to one server."""

    def __init__(self, settings: PostgresSettings) -> None:
        self._settings = settings
        self._connections: _LoopConnections | None = None

    def _of_this_loop(self) -> _LoopConnections:
        loop, connections = asyncio.get_running_loop(), self._connections
        if connections is None or connections.loop is not loop or connections.pid != os.getpid():
            self.close()
            self._connections = connections = _LoopConnections(loop)
        return connections

    def close(self) -> None:
        """Close every connection, at once."""
        connections, self._connections = self._connections, None
        if connections is not None:
            connections.leave()

    async def connect(self) -> Connection:
        """A new connection, to be returned with :meth:`release`."""
        connections = self._of_this_loop()
        connection = await Connection.connect(
            self._settings.conninfo, autocommit=True, prepare_threshold=None
        )
        connections.open.add(connection)
        try:
            patience = str(int(self._settings.deadline * 1000))
            await connection.execute(statement("prepare"), {"patience": patience})
        except BaseException:
            connections.close(connection)
            raise
        return connection

    def release(self, connection: Connection) -> None:
        """Close a connection, at once."""
        connection.drop()
        if self._connections is not None:
            self._connections.open.discard(connection)

    async def rows(self, name: str, given: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """The rows of a statement in the namespace; none where it gives none.

        Raises:
            ProviderError: it failed, or took longer than the deadline.
        """
        parameters = {"namespace": self._settings.namespace, **given}

        async def work(connection: Connection) -> list[tuple[Any, ...]]:
            cursor = await connection.execute(statement(name), parameters)
            return await cursor.fetchall() if cursor.description else []

        return await self.run(work)

    async def run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do ``work`` on a connection, within the deadline.

        Raises:
            ProviderError: it failed, or took longer.
        """
        settings = self._settings
        try:
            async with asyncio.timeout(settings.deadline):
                return await self._run(self._of_this_loop(), work)
        except TimeoutError:
            raise ProviderError(f"{settings.where} does not answer within {settings.deadline} s") from None
        except (psycopg.Error, OSError) as error:
            raise ProviderError(f"{settings.where}: {_words(error)}") from error

    async def _run(self, connections: _LoopConnections, work: Callable[[Connection], Awaitable[T]]) -> T:
        async with connections.turns:
            while True:
                used = bool(connections.idle)
                connection = connections.idle.pop() if used else await self.connect()
                try:
                    answer = await work(connection)
                except psycopg.OperationalError:
                    lost = connection.closed
                    connections.close(connection)
                    if used and lost:
                        continue  # the server closed it while it was idle, so try a new one
                    raise
                except BaseException:
                    connections.close(connection)
                    raise
                connections.idle.append(connection)
                return answer


def _words(error: Exception) -> str:
    """The first line of the driver's message; the others repeat it for each address."""
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
        return READ_ONLY
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
