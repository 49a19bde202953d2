"""The store in memory, beyond its contract: bounded, and it forgets the silent."""

from __future__ import annotations

import asyncio

from atrion import InMemoryProvider, PhysicsVector
from atrion.state import ClusterScar, ClusterSync, Inspect
from atrion.testing import VirtualClock
from packages.atrion.tests.unit.clusters import row


def test_the_memory_is_bounded_and_the_hot_stay() -> None:
    async def main() -> None:
        store = InMemoryProvider(max_routes=2)
        assert isinstance(store, ClusterSync)
        assert isinstance(store, Inspect)
        vector = PhysicsVector(10.0, 0.0, 1.0, 0.0)
        for name in ("a", "b"):
            await store.update_vector(name, vector)
        assert await store.get_vector("a") == vector
        await store.update_vector("c", vector)
        assert await store.get_vector("b") is None
        assert await store.get_vector("a") == vector
        for name in ("a", "b", "c"):
            await store.exchange("n", {name: row(5.0, 1.0)}, [])
        assert set(await store.exchange("m", {}, ["a", "b", "c"])) == {"b", "c"}

    asyncio.run(main())


def test_rows_of_the_silent_are_dropped(clock: VirtualClock) -> None:
    async def main() -> None:
        store = InMemoryProvider(clock=clock.monotonic)
        await store.exchange("a", {"r": row(5.0, 1.0)}, [])
        clock.advance(61.0)
        await store.exchange("b", {"r": row(5.0, 1.0)}, [])
        assert await store.exchange("c", {}, ["r"]) == {"r": ClusterScar(5.0, 1.0)}
        assert await store.list_nodes() == ["b"]

    asyncio.run(main())


def test_subscribers_hear_until_they_leave() -> None:
    async def main() -> None:
        store = InMemoryProvider()
        heard: list[PhysicsVector] = []
        also: list[PhysicsVector] = []
        leave = store.subscribe("r", heard.append)
        leave_too = store.subscribe("r", also.append)
        vector = PhysicsVector(10.0, 0.0, 1.0, 0.0)
        await store.update_vector("r", vector)
        await store.update_vector("other", vector)
        leave()
        leave()
        await store.update_vector("r", vector)
        leave_too()
        assert (heard, also) == ([vector], [vector, vector])

    asyncio.run(main())


def test_a_subscriber_that_raises_harms_nobody() -> None:
    hub = InMemoryProvider()
    heard: list[PhysicsVector] = []
    hub.subscribe("r", lambda _: 1 // 0)
    hub.subscribe("r", heard.append)
    vector = PhysicsVector(10.0, 0.0, 1.0, 0.0)
    asyncio.run(hub.update_vector("r", vector))
    assert heard == [vector]
