"""A Redis Cluster: routes are spread over its masters, and followed when slots move or a master is away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator

import pytest
from redis.crc import key_slot

from atrion.errors import ProviderError
from atrion.state import ClusterScar
from atrion_cluster.redis.topology import tags_of
from benchmarks.stores.redis_server import RedisCluster, RedisServer
from store_rows import Provide, heard_by, row


@pytest.mark.parametrize("shards", [1, 2, 3, 6, 12, 100])
def test_tags_lie_evenly_over_the_slots(shards: int) -> None:
    width = 16384 / shards
    slots = [key_slot(tag.encode()) for tag in tags_of("shop", shards)]
    assert len(set(slots)) == shards
    assert shards == 1 or [int(slot / width) for slot in slots] == list(range(shards))


@pytest.fixture
def own_cluster() -> Iterator[RedisCluster]:
    with RedisCluster() as cluster:
        yield cluster


def test_routes_are_spread_over_the_masters_in_one_round_trip_each(
    redis_cluster: RedisCluster, provide: Provide, namespace: str
) -> None:
    routes = [f"r{number}" for number in range(60)]

    def calls() -> list[int]:
        return [
            int(server.do("INFO", "commandstats")["cmdstat_fcall"]["calls"])
            for server in redis_cluster.servers
        ]

    async def main() -> None:
        writer, reader = (provide(redis_cluster.url) for _ in range(2))
        await writer.exchange("writer", {route: row(30.0) for route in routes}, routes)
        assert set(await heard_by(reader, routes)) == set(routes)
        for server in redis_cluster.servers:
            assert (
                len(server.do("KEYS", f"{{{namespace}:*:routes")) == 2
            )  # two shards of six on each of three
        before = calls()
        for _ in range(5):
            await reader.exchange("reader", {}, routes)
        assert [after - count for after, count in zip(calls(), before, strict=True)] == [10, 10, 10]
        await asyncio.gather(writer.disconnect(), reader.disconnect())

    asyncio.run(main())


def test_a_master_that_is_away_takes_only_its_own_routes_along(
    own_cluster: RedisCluster, provide: Provide, caplog: pytest.LogCaptureFixture
) -> None:
    routes = [f"r{number}" for number in range(30)]

    async def main() -> None:
        writer, reader = (provide(own_cluster.url) for _ in range(2))
        await writer.exchange("writer", {route: row(30.0) for route in routes}, routes)
        assert len(await heard_by(reader, routes)) == 30
        own_cluster.servers[1].hang()
        lost = 0
        for turn in range(4):
            heard: dict[str, ClusterScar] = {}
            await writer.exchange("writer", {route: row(60.0 + 30.0 * turn) for route in routes}, routes)
            heard |= await reader.exchange("reader", {}, routes)
            lost = 30 - len(heard)
        assert 0 < lost < 20
        own_cluster.servers[1].go_on()
        scars: dict[str, float] = {}
        end = time.monotonic() + 15.0
        while not (len(scars) == 30 and min(scars.values()) > 140.0) and time.monotonic() < end:
            await writer.exchange("writer", {}, routes)
            answer = await reader.exchange("reader", {}, routes)
            scars |= {route: scar.scar for route, scar in answer.items() if scar.evidence > 1.0}
            await asyncio.sleep(0.02)
            if len(scars) < 30 or min(scars.values()) <= 140.0:
                scars |= {r: s.scar for r, s in (await heard_by(reader, routes)).items() if s.evidence > 1.0}
        assert len(scars) == 30
        assert min(scars.values()) == pytest.approx(150.0, abs=1.0)
        await asyncio.gather(writer.disconnect(), reader.disconnect())

    with caplog.at_level(logging.WARNING, "atrion"):
        asyncio.run(main())
    starts = [record for record in caplog.records if "a part of the store fails" in record.message]
    assert 1 <= len(starts) <= 2  # one for each of the two providers


def test_slots_that_move_to_another_master_are_followed(
    own_cluster: RedisCluster, namespace: str, provide: Provide
) -> None:
    routes = [f"r{number}" for number in range(30)]
    source, target = own_cluster.servers[0], own_cluster.servers[2]

    async def main() -> None:
        writer, reader = (provide(own_cluster.url) for _ in range(2))
        await writer.exchange("writer", {route: row(30.0) for route in routes}, routes)
        assert len(await heard_by(reader, routes)) == 30
        name = target.do("CLUSTER", "MYID")
        for slot in {key_slot(tag.encode()) for tag in tags_of(namespace, 6)}:
            if slot < 16384 // 3:
                source.do("DEL", *source.do("CLUSTER", "GETKEYSINSLOT", slot, 1000))
                for server in (target, source, own_cluster.servers[1]):
                    server.do("CLUSTER", "SETSLOT", slot, "NODE", name)
        heard: dict[str, ClusterScar] = {}
        end = time.monotonic() + 15.0
        while len(heard) < 30 and time.monotonic() < end:
            await asyncio.sleep(0.02)
            try:
                await writer.exchange("writer", {route: row(60.0) for route in routes}, routes)
                heard = {r: s for r, s in (await heard_by(reader, routes)).items() if s.scar > 50.0}
            except ProviderError:
                await writer.connect()
        assert len(heard) == 30
        await asyncio.gather(writer.disconnect(), reader.disconnect())

    asyncio.run(main())


def test_a_server_that_is_no_cluster_is_said_so(provide: Provide, redis_server: RedisServer) -> None:
    provider = provide(f"redis+cluster://127.0.0.1:{redis_server.port}")
    with pytest.raises(
        ProviderError, match=r"no node of the cluster serves all slots.*cluster support disabled"
    ):
        asyncio.run(provider.connect())
