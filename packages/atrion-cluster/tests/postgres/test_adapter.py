from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atrion import (
    Atrion,
    AtrionError,
    ConfigurationError,
    InMemoryProvider,
    PhysicsVector,
    ProviderError,
    Telemetry,
)
from atrion_cluster import PostgresPersistenceAdapter
from atrion_cluster.postgres.names import LONGEST, from_text, to_text

SECRET = "s3cret-of-the-tests"


def vector(scar: float) -> PhysicsVector:
    return PhysicsVector(10.0, 0.5, scar, 1.0)


# --- tables --------------------------------------------------------------------------------------------------


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


# --- keeping -------------------------------------------------------------------------------------------------


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


# --- what is not to be trusted -------------------------------------------------------------------------------


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


# --- configuration and secrets -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url, word",
    [
        ("postgresql://u:topsecret@h/d?nonsense=1", "cannot be read"),
        ("postgresql://u:topsecret@[h/d", "must be postgresql://"),
        ("postgresql://u:topsecret@h/d?namespace=a/b", "namespace"),
        ("postgresql://u:topsecret@h/d?history=-1", "history"),
        ("postgresql://u:topsecret@h/d?history=long", "history"),
        ("postgresql://u:topsecret@h/d?forget_after=1", "forget_after"),
        ("postgresql://u:topsecret@h/d?deadline=0", "deadline"),
    ],
)
def test_what_cannot_be_used_is_refused_in_words_without_the_password(url: str, word: str) -> None:
    with pytest.raises(ConfigurationError, match=word) as caught:
        Atrion(persistence=url)
    assert "topsecret" not in str(caught.value)


@pytest.mark.parametrize("url", [None, 5, "mysql://h/d", ""])
def test_what_is_no_postgresql_url_is_refused(url: Any) -> None:
    with pytest.raises(ConfigurationError, match="postgresql://user"):
        PostgresPersistenceAdapter(url)


def test_both_schemes_are_registered(server: Any) -> None:
    for scheme in ("postgresql", "postgres"):
        engine = Atrion(provider=server.url(namespace="n").replace("postgresql", scheme))
        assert isinstance(engine.state.provider, PostgresPersistenceAdapter)


def test_no_text_holds_the_password(server: Any) -> None:
    async def main() -> None:
        adapter = PostgresPersistenceAdapter(server.url())
        assert SECRET not in repr(adapter) + str(vars(adapter))
        assert "127.0.0.1" in repr(adapter)
        await adapter.connect()
        await adapter.disconnect()
        wrong = PostgresPersistenceAdapter(server.url(password="wrong-one"))
        nowhere = PostgresPersistenceAdapter(server.url(port=1))
        for broken in (wrong, nowhere):
            with pytest.raises(ProviderError, match=r"PostgreSQL at 127\.0\.0\.1") as caught:
                await broken.connect()
            assert "wrong-one" not in str(caught.value)
            assert SECRET not in str(caught.value)
        with pytest.raises(AtrionError, match="not connected"):
            await wrong.get_vector("r")

    asyncio.run(main())
