"""What a server loses, by a flush, an eviction, garbage or time, and what comes back."""

from __future__ import annotations

import asyncio
import struct
import time
from itertools import chain

import pytest

from atrion.errors import ProviderError
from atrion.state import ClusterScar
from atrion_cluster.redis.topology import keys_of, tags_of
from benchmarks.stores.redis_server import RedisServer
from store_rows import Provide, near, row


def test_what_was_flushed_is_back_within_two_pulses_and_without_alarm(
    own_server: RedisServer, provide: Provide
) -> None:

    async def main() -> None:
        nodes = [provide(own_server.url) for _ in range(3)]
        alarms: list[str] = []
        for number, provider in enumerate(nodes):
            await provider.connect()
            provider.listen(f"n{number}", lambda route, _: alarms.append(route))
            await provider.exchange(f"n{number}", {"r": row(30.0 * number)}, ["r"])
        for number, provider in enumerate(nodes):
            await provider.exchange(f"n{number}", {}, ["r"])
        await asyncio.sleep(0.05)
        alarms.clear()
        own_server.do("FLUSHALL")
        own_server.do("FUNCTION", "FLUSH")
        heard: list[ClusterScar | None] = [None] * 3
        for _ in range(2):
            for number, provider in enumerate(nodes):
                answer = await provider.exchange(f"n{number}", {}, ["r"])
                heard[number] = answer.get("r", heard[number])
        for number, provider in enumerate(nodes):  # what the later ones said, the earlier hear with the next
            answer = await provider.exchange(f"n{number}", {}, ["r"])
            heard[number] = answer.get("r", heard[number])
        assert heard == [near(45.0, 40.0), near(30.0, 40.0), near(15.0, 40.0)]
        assert alarms == []
        await asyncio.gather(*(provider.disconnect() for provider in nodes))

    asyncio.run(main())


def test_a_route_evicted_from_a_server_that_is_full_starts_anew(
    own_server: RedisServer, namespace: str, provide: Provide
) -> None:
    (tag,) = tags_of(namespace, 1)

    async def main() -> None:
        a, b = (provide(own_server.url) for _ in range(2))
        await a.exchange("a", {"r": row(30.0)}, ["r"])
        await b.exchange("b", {"r": row(60.0)}, ["r"])
        own_server.do("DEL", keys_of(tag, "a")[1])  # as an eviction of the whole hash would
        heard: dict[str, ClusterScar] = {}
        await a.exchange("a", {"s": row(1.0)}, ["r", "s"])  # who writes next, finds it gone
        for _ in range(2):
            await a.exchange("a", {}, ["r", "s"])
            heard |= await b.exchange("b", {}, ["r", "s"])
        assert heard["r"] == near(30.0, 20.0)
        own_server.do("HSET", keys_of(tag, "a")[1], "r", "garbage")
        await a.exchange("a", {"r": row(30.0)}, ["r"])
        assert (await b.exchange("b", {"r": row(50.0)}, ["r"]))["r"] == near(30.0, 20.0)
        await asyncio.gather(a.disconnect(), b.disconnect())

    asyncio.run(main())


def test_garbage_of_another_type_under_our_keys_is_cleared(
    own_server: RedisServer, namespace: str, provide: Provide
) -> None:
    (tag,) = tags_of(namespace, 1)

    async def main() -> None:
        a, b = (provide(own_server.url) for _ in range(2))
        for key in keys_of(tag, "a"):
            await a.exchange("a", {"r": row(10.0)}, ["r"])
            own_server.do("DEL", key)
            own_server.do("SET", key, "garbage")
            with pytest.raises(ProviderError, match="WRONGTYPE"):
                await a.exchange("a", {"r": row(50.0)}, ["r"])
            await a.connect()
            await a.exchange("a", {"r": row(30.0)}, ["r"])
            await b.connect()
            assert await b.exchange("b", {}, ["r"]) == {"r": near(30.0, 20.0)}
        await asyncio.gather(a.disconnect(), b.disconnect())

    asyncio.run(main())


def test_what_nobody_touches_goes_and_nothing_lives_for_ever(
    own_server: RedisServer, provide: Provide, namespace: str
) -> None:
    meta, routes, changed, nodes, own = keys_of(tags_of(namespace, 1)[0], "a")
    old_row = struct.pack("<7d", 50.0, 1.0, 5.0, 7.0, 9.0, 0.1, time.time() - 61.0)
    old_record = struct.pack("<12d", *[time.time() - 601.0] * 12)

    async def main() -> None:
        provider = provide(own_server.url)
        await provider.exchange("a", {"r": row(5.0)}, ["r"])
        # In one round trip: a loop that is blocked for longer than a timeout loses the census it has begun.
        olds = [f"old{number}" for number in range(1000)]
        own_server.do("HSET", own, *chain.from_iterable((old, old_row) for old in olds))
        own_server.do("HSET", routes, *chain.from_iterable((old, old_record) for old in olds))
        own_server.do("ZADD", changed, *chain.from_iterable((0, old) for old in olds))
        for turn in range(100):
            await provider.exchange("a", {f"r{number}": row(5.0 + turn) for number in range(20)}, ["r"])
        await provider.disconnect()

    asyncio.run(main())
    assert own_server.do("HLEN", own) < 400  # below a few hundred nothing is looked for
    assert own_server.do("HLEN", routes) < 400
    assert own_server.do("ZCARD", changed) == own_server.do("HLEN", routes)
    assert own_server.do("HEXISTS", routes, "r")
    assert 0 < own_server.do("PTTL", own) <= 60_000

    async def later() -> None:
        provider = provide(own_server.url)
        await provider.exchange("b", {}, ["r"])
        await provider.disconnect()

    asyncio.run(later())
    assert all(0 < own_server.do("TTL", key) <= 3600 for key in (meta, routes, changed, nodes))
