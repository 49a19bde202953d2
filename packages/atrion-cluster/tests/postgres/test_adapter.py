"""What the adapter keeps of routes and their past, and what it makes of rows that make no sense."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atrion import Atrion, InMemoryProvider, PhysicsVector, Telemetry
from atrion_cluster import PostgresPersistenceAdapter
from atrion_cluster.postgres.names import LONGEST, from_text, to_text
from store_rows import vector


def test_batches_that_cross_each_other_do_not_lock_up(server: Any) -> None:
    async def main() -> None:
        one, other = (PostgresPersistenceAdapter(server.url(), namespace="cross") for _ in range(2))
        await asyncio.gather(one.connect(), other.connect())
        names = [f"r{number}" for number in range(200)]
        for turn in range(10):
            await asyncio.gather(
                one.update_vectors({name: vector(float(turn)) for name in names}),
                other.update_vectors({name: vector(float(turn)) for name in reversed(names)}),
            )
        await asyncio.gather(one.disconnect(), other.disconnect())

    asyncio.run(main())


def test_the_past_is_kept_as_long_as_asked_and_no_longer(server: Any) -> None:
    async def main() -> None:
        adapter = PostgresPersistenceAdapter(server.url(), namespace="past", history=3600.0)
        await adapter.connect()
        for scar in (1.0, 2.0, 3.0):
            await adapter.update_vector("r", vector(scar))
        found = await adapter.history("r")
        assert [kept.vector.scar_tissue for kept in found] == [3.0, 2.0, 1.0]
        assert all(kept.is_sane() for kept in found)
        assert [kept.vector.scar_tissue for kept in await adapter.history("r", limit=1)] == [3.0]
        server.execute(
            "UPDATE atrion_history SET kept_at = kept_at - interval '2 hours' "
            "WHERE namespace = 'past' AND scar_tissue < 3"
        )
        await adapter.forget()
        assert [kept.vector.scar_tissue for kept in await adapter.history("r")] == [3.0]
        await adapter.disconnect()

        without = PostgresPersistenceAdapter(server.url(), namespace="no-past")
        await without.connect()
        await without.update_vector("r", vector(1.0))
        assert await without.history("r") == []
        await without.disconnect()

    asyncio.run(main())


def test_routes_no_longer_heard_of_are_let_go(server: Any) -> None:
    async def main() -> None:
        adapter = PostgresPersistenceAdapter(server.url(), namespace="old", forget_after=3600.0)
        await adapter.connect()
        await adapter.update_vectors({"old": vector(1.0), "new": vector(2.0)})
        server.execute("UPDATE atrion_vector SET kept_at = kept_at - interval '2 hours' WHERE route = 'old'")
        await adapter.forget()
        assert await adapter.list_routes(10) == ["new"]
        assert await adapter.list_nodes() == []
        await adapter.disconnect()

    asyncio.run(main())


def test_a_role_that_may_not_delete_keeps_all_the_same(own_server: Any) -> None:
    async def main() -> None:
        owner = PostgresPersistenceAdapter(own_server.url())
        await owner.connect()
        await owner.disconnect()
        own_server.execute(
            "GRANT SELECT, INSERT, UPDATE ON atrion_vector, atrion_history, atrion_migration TO app"
        )
        adapter = PostgresPersistenceAdapter(own_server.url(user="app", password="apps-secret"))
        await adapter.connect()
        await adapter.update_vector("r", vector(1.0))
        assert await adapter.get_vector("r") == vector(1.0)
        await adapter.disconnect()

    asyncio.run(main())


def test_ages_come_from_the_servers_clock_and_are_never_negative(server: Any) -> None:
    async def main() -> None:
        adapter = PostgresPersistenceAdapter(server.url(), namespace="ages")
        await adapter.connect()
        await adapter.update_vectors({"past": vector(1.0), "future": vector(2.0), "ancient": vector(3.0)})
        for name, shift in (("past", "-1 hour"), ("future", "1 hour"), ("ancient", "-2 days")):
            server.execute(
                "UPDATE atrion_vector SET kept_at = clock_timestamp() + %s::interval "
                "WHERE namespace = 'ages' AND route = %s", shift, name,
            )  # fmt: skip
        found = await adapter.recall("node", 10)
        assert set(found) == {"past", "future"}
        assert found["past"].age == pytest.approx(3600.0, abs=60.0)
        assert found["future"].age == 0.0
        await adapter.disconnect()

    asyncio.run(main())


def test_it_keeps_beside_a_provider_that_shares(server: Any) -> None:
    url = server.url(namespace="beside")

    async def main() -> None:
        first = Atrion(provider=InMemoryProvider(), persistence=url)
        await first.connect()
        first.update_physics("r", Telemetry(latency=0.01))
        first.restore("r", vector(80.0), 0.0)
        await first.pulse_once()
        await first.disconnect()
        again = Atrion(provider=InMemoryProvider(), persistence=url)
        await again.connect()
        assert again.decide("r").resistance > 60.0
        await again.disconnect()

    asyncio.run(main())


def test_it_serves_synchronous_programs(server: Any) -> None:
    url = server.url(namespace="sync")
    with Atrion(provider=url, interval=0.01) as engine:
        engine.restore("r", vector(5.0), 0.0)
    with Atrion(provider=url, interval=0.01) as engine:
        assert engine.decide("r").resistance > 0.0
        assert engine.state.failures == 0


def test_subscribers_of_many_routes_hear_each_of_their_own(server: Any) -> None:
    async def main() -> None:
        reader, writer = (PostgresPersistenceAdapter(server.url(), namespace="many") for _ in range(2))
        await asyncio.gather(reader.connect(), writer.connect())
        names = [f"r{number}" for number in range(600)]
        heard: dict[str, list[float]] = {name: [] for name in names}
        last = asyncio.Event()
        for name in names:
            reader.subscribe(name, lambda found, name=name: heard[name].append(found.scar_tissue))
        reader.subscribe("the last", lambda _: last.set())
        for scar in (1.0, 2.0):
            await writer.update_vectors({name: vector(scar) for name in [*names, "nobody's"]})
        await writer.update_vector("the last", vector(1.0))
        await last.wait()
        assert all(scars[-1] == 2.0 and len(set(scars)) == len(scars) for scars in heard.values())
        await asyncio.gather(reader.disconnect(), writer.disconnect())

    asyncio.run(main())


def test_rows_that_make_no_sense_are_dropped_and_counted(server: Any) -> None:
    async def main() -> None:
        adapter = PostgresPersistenceAdapter(server.url(), namespace="rubbish")
        await adapter.connect()
        await adapter.update_vector("good", vector(5.0))
        for route, numbers in {
            "nan": (math.nan, 0.0, 1.0, 1.0),
            "inf": (1.0, math.inf, 1.0, 1.0),
            "negative": (1.0, 0.0, -5.0, 1.0),
            "x" * (LONGEST + 1): (1.0, 0.0, 1.0, 1.0),
        }.items():
            server.execute(
                "INSERT INTO atrion_vector VALUES ('rubbish', %s, %s, %s, %s, %s, now(), pg_current_xact_id())",
                route, *numbers,
            )  # fmt: skip
        assert set(await adapter.recall("node", 10)) == {"good"}
        assert adapter.dropped_rows == 3
        assert await adapter.get_vector("nan") is None
        assert adapter.dropped_rows == 4
        assert set(await adapter.list_routes(10)) == {"good", "nan", "inf", "negative"}
        heard: list[PhysicsVector] = []
        adapter.subscribe("negative", heard.append)
        news = asyncio.Event()
        adapter.subscribe("good", heard.append)
        adapter.subscribe("good", lambda found: news.set() if found == vector(6.0) else None)
        await adapter.update_vector("good", vector(6.0))
        await news.wait()
        assert all(kept.is_sane() for kept in heard)
        await adapter.disconnect()

    asyncio.run(main())


def test_columns_of_other_types_are_nonsense_and_no_crash(server: Any) -> None:
    server.execute("CREATE DATABASE altered")
    url = server.url(database="altered")

    async def main() -> None:
        adapter = PostgresPersistenceAdapter(url)
        await adapter.connect()
        await adapter.update_vector("r", vector(5.0))
        server.execute("ALTER TABLE atrion_vector ALTER resistance TYPE text", database="altered")
        assert await adapter.get_vector("r") is None
        assert adapter.dropped_rows == 1
        await adapter.disconnect()

    asyncio.run(main())


@given(st.text(st.characters(), max_size=256))
def test_any_route_id_has_a_text_of_its_own(route: str) -> None:
    text = to_text(route)
    assert "\0" not in text
    assert len(text.encode()) <= LONGEST
    assert from_text(text) == route
