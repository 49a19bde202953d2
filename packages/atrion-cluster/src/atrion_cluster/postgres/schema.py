"""Checks and creates the tables."""

from __future__ import annotations

from typing import NamedTuple

import psycopg

from atrion.errors import ProviderError
from atrion_cluster.postgres.driver import Connection
from atrion_cluster.postgres.pool import READ_ONLY
from atrion_cluster.postgres.statements import migrations, statement

__all__ = ["OLDEST_SERVER", "Status", "last_migration", "migrate", "read_status"]

OLDEST_SERVER = 130_000
"""PostgreSQL 13: the first with transaction numbers that do not wrap around."""


class Status(NamedTuple):
    """The state of a server."""

    version: int
    read_only: bool
    migrated: bool
    snapshot: str


async def read_status(connection: Connection) -> Status:
    """Ask the server."""
    row = await (await connection.execute(statement("status"))).fetchone()
    assert row is not None
    return Status(*row)


async def last_migration(connection: Connection, status: Status) -> int:
    """The last migration that was applied; 0 for none."""
    if not status.migrated:
        return 0
    row = await (await connection.execute(statement("migration_last"))).fetchone()
    assert row is not None
    return int(row[0])


async def migrate(connection: Connection) -> Status:
    """Create missing tables, one process at a time; returns the state of the server.

    Raises:
        ProviderError: the server is too old or read-only, or the role must not create tables.
    """
    status = await read_status(connection)
    if status.version < OLDEST_SERVER:
        raise ProviderError(f"PostgreSQL 13 or newer is needed, and this is {status.version // 10_000}")
    if status.read_only:
        raise ProviderError(READ_ONLY)
    newest = max(migrations())
    if await last_migration(connection, status) >= newest:
        return status
    try:
        async with connection.transaction():
            await connection.execute(statement("migration_lock"))
            await connection.execute(statement("migration_table"))
            last = await last_migration(connection, status._replace(migrated=True))
            for version, text in migrations().items():
                if version > last:
                    await connection.execute(text)
                    await connection.execute(statement("migration_done"), {"version": version})
    except psycopg.errors.InsufficientPrivilege as error:
        raise ProviderError(
            "the tables are missing and this role may not make them: GRANT CREATE ON SCHEMA public TO it, "
            "or connect once as a role that may"
        ) from error
    return status
