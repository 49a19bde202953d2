"""psycopg still waits in the way that its connections are told not to."""

from __future__ import annotations

import asyncio
import inspect

import pytest
from psycopg import AsyncConnection

from atrion_cluster.postgres.driver import Connection
from benchmarks.stores.postgres_server import PostgresServer


def test_waiting_takes_what_psycopg_gives() -> None:
    theirs = list(inspect.signature(AsyncConnection.wait).parameters)
    assert list(inspect.signature(Connection.wait).parameters) == theirs


def test_what_is_cancelled_closes_its_connection_at_once(server: PostgresServer) -> None:
    async def main() -> None:
        connection = await Connection.connect(server.url(), autocommit=True)
        call = asyncio.ensure_future(connection.execute("SELECT pg_sleep(60)"))
        await asyncio.sleep(0.1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert connection.closed  # psycopg alone would ask the server to cancel, and keep it

    asyncio.run(main())


def test_a_dropped_connection_is_closed(server: PostgresServer) -> None:
    async def main() -> None:
        connection = await Connection.connect(server.url(), autocommit=True)
        assert not connection.closed
        connection.drop()
        assert connection.closed

    asyncio.run(main())
