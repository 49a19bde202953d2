"""The tables: made once, brought up to date, and refused in words."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from atrion import ProviderError
from atrion_cluster import PostgresPersistenceAdapter
from store_rows import vector


def test_many_processes_at_once_make_the_tables_once(server: Any) -> None:
    server.execute("CREATE DATABASE virgin")
    url = server.url(database="virgin")

    async def main() -> None:
        adapters = [PostgresPersistenceAdapter(url, deadline=5.0) for _ in range(8)]
        await asyncio.gather(*(adapter.connect() for adapter in adapters))
        await adapters[0].update_vector("r", vector(1.0))
        assert await adapters[-1].get_vector("r") == vector(1.0)
        for adapter in adapters:
            await adapter.disconnect()

    asyncio.run(main())
    assert server.execute("SELECT version FROM atrion_migration ORDER BY version", database="virgin") == [
        (1,),
        (2,),
    ]


def test_older_tables_are_brought_up_to_date_and_newer_ones_are_used(server: Any) -> None:
    server.execute("CREATE DATABASE older")
    url = server.url(database="older")

    async def connect() -> None:
        adapter = PostgresPersistenceAdapter(url, history=60.0)
        await adapter.connect()
        await adapter.update_vector("r", vector(1.0))
        assert len(await adapter.history("r")) >= 1
        await adapter.disconnect()

    asyncio.run(connect())
    server.execute("DROP TABLE atrion_history", database="older")
    server.execute("DELETE FROM atrion_migration WHERE version = 2", database="older")
    asyncio.run(connect())
    server.execute("INSERT INTO atrion_migration (version) VALUES (9999)", database="older")
    asyncio.run(connect())


def test_a_role_that_may_not_make_tables_is_told_what_to_do(server: Any) -> None:
    server.execute("CREATE DATABASE strict")
    server.execute("CREATE ROLE guest LOGIN PASSWORD 'guests-secret'")
    url = server.url(user="guest", password="guests-secret", database="strict")

    async def main() -> None:
        adapter = PostgresPersistenceAdapter(url)
        with pytest.raises(ProviderError, match="GRANT CREATE ON SCHEMA public"):
            await adapter.connect()
        await adapter.disconnect()

    server.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC", database="strict")
    asyncio.run(main())
