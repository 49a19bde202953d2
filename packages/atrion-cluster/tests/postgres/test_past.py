"""The past that PostgreSQL keeps, read back by the adapter's reader: points of a route, and all routes at a moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from atrion import PhysicsVector
from atrion.errors import ProviderError
from atrion.state import KeepsPast, Past
from atrion_cluster import PostgresPersistenceAdapter


def age(server: Any, namespace: str, seconds: float) -> None:
    """Let everything that is kept be older."""
    server.execute(
        f"UPDATE atrion_history SET kept_at = kept_at - make_interval(secs => {seconds}) "
        f"WHERE namespace = '{namespace}'"
    )


def reading(server: Any, namespace: str, look: Callable[[Past], Awaitable[None]]) -> None:
    """``look`` at a past in which the routes a and b were written an hour ago, and a ten minutes and a minute ago."""

    async def main() -> None:
        adapter = PostgresPersistenceAdapter(server.url(), namespace=namespace, history=7200.0, deadline=10.0)
        await adapter.connect()
        try:
            await adapter.update_vectors({"a": vector(1.0), "b": vector(7.0)})
            age(server, namespace, 3000.0)
            await adapter.update_vector("a", vector(2.0))
            age(server, namespace, 540.0)
            await adapter.update_vector("a", vector(3.0))
            age(server, namespace, 60.0)
            assert isinstance(adapter, KeepsPast)
            past = adapter.past()
            assert past is not None
            try:
                await look(past)
            finally:
                past.close()
        finally:
            await adapter.disconnect()

    asyncio.run(main())


def vector(scar: float) -> PhysicsVector:
    return PhysicsVector(10.0 + scar, 0.0, scar, 1.0)


def test_it_reaches_back_to_the_oldest_vector(server: Any) -> None:
    async def look(past: Past) -> None:
        assert await past.span() == pytest.approx(3600.0, abs=60.0)

    reading(server, "span", look)


def test_a_route_is_read_oldest_first_between_two_ages_in_steps(server: Any) -> None:
    async def look(past: Past) -> None:
        found = await past.between("a", 7200.0, 0.0, 1.0)
        assert [seen.vector.scar_tissue for seen in found] == [1.0, 2.0, 3.0]
        assert [seen.age for seen in found] == pytest.approx([3600.0, 600.0, 60.0], abs=60.0)
        assert [seen.vector.scar_tissue for seen in await past.between("a", 1200.0, 300.0, 1.0)] == [2.0]
        # Of each step the last vector: both of the last half hour are in one of an hour's.
        assert [seen.vector.scar_tissue for seen in await past.between("a", 3500.0, 0.0, 3500.0)] == [3.0]
        assert await past.between("nobody", 7200.0, 0.0, 1.0) == []

    reading(server, "between", look)


def test_at_a_moment_each_route_is_as_it_was_last_written_until_then(server: Any) -> None:
    async def look(past: Past) -> None:
        then = await past.moment(1200.0, 10)
        assert {route: seen.vector.scar_tissue for route, seen in then.items()} == {"a": 1.0, "b": 7.0}
        now = await past.moment(0.0, 10)
        assert {route: seen.vector.scar_tissue for route, seen in now.items()} == {"a": 3.0, "b": 7.0}
        assert await past.moment(7000.0, 10) == {}
        assert list(await past.moment(0.0, 1)) == ["a"]

    reading(server, "moment", look)


def test_what_makes_no_sense_is_left_out(server: Any) -> None:
    async def look(past: Past) -> None:
        server.execute("UPDATE atrion_history SET resistance = 'NaN' WHERE namespace = 'mad' AND route = 'b'")
        assert list(await past.moment(0.0, 10)) == ["a"]
        assert await past.between("b", 7200.0, 0.0, 1.0) == []

    reading(server, "mad", look)


def test_a_new_namespace_has_no_past_and_without_history_there_is_no_reader(server: Any) -> None:
    async def main() -> None:
        adapter = PostgresPersistenceAdapter(server.url(), namespace="none", history=60.0, deadline=10.0)
        await adapter.connect()
        past = adapter.past()
        assert past is not None
        assert await past.span() is None
        assert await past.moment(0.0, 10) == {}
        past.close()
        await adapter.disconnect()
        gone = PostgresPersistenceAdapter("postgresql://nobody@127.0.0.1:1/none", history=60.0).past()
        assert gone is not None
        with pytest.raises(ProviderError):
            await gone.span()

    asyncio.run(main())
    assert PostgresPersistenceAdapter(server.url(), namespace="none").past() is None
