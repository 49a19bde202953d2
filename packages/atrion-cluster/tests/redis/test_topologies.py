from __future__ import annotations

import asyncio
import logging
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from redis.crc import key_slot

from atrion import Atrion, ConfigurationError
from atrion.errors import ProviderError
from atrion.state import ClusterScar, NodeRow, PhysicsVector
from atrion_cluster.redis import RedisClusterProvider
from atrion_cluster.redis.topology import tags_of
from benchmarks.stores.redis_server import (
    RedisCluster,
    RedisServer,
    Sentinels,
    free_port,
    redis_binary,
    tls_server,
)

Provide = Callable[..., RedisClusterProvider]
ACL = [
    "reset", "on", ">s3cret", "~{NAMESPACE:*", "&NAMESPACE:*", "-@all", "+fcall", "+function|load", "+ping",
    "+subscribe", "+unsubscribe", "+publish", "+time", "+select", "+del", "+exists", "+expire", "+pexpire",
    "+hmget", "+hget", "+hset", "+hdel", "+hlen", "+hscan", "+hrandfield", "+zadd", "+zrem", "+zrange", "+zscore",
    "+zrangebyscore", "+zremrangebyscore",
]  # fmt: skip


def row(scar: float, evidence: float = 20.0) -> NodeRow:
    return NodeRow(PhysicsVector(50.0, 1.0, scar, 7.0), evidence, 0.0)


async def heard_by(reader: RedisClusterProvider, routes: list[str]) -> dict[str, ClusterScar]:
    """What a node that has just connected hears."""
    await reader.connect()
    return dict(await reader.exchange("reader", {}, routes))


@pytest.mark.parametrize("shards", [1, 2, 3, 6, 12, 100])
def test_tags_lie_evenly_over_the_slots(shards: int) -> None:
    width = 16384 / shards
    slots = [key_slot(tag.encode()) for tag in tags_of("shop", shards)]
    assert len(set(slots)) == shards
    assert shards == 1 or [int(slot / width) for slot in slots] == list(range(shards))


# --- a cluster -----------------------------------------------------------------------------------------------


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


# --- sentinels -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_sentinels_lead_to_the_new_master_when_the_old_one_dies(
    provide: Provide, caplog: pytest.LogCaptureFixture
) -> None:
    with Sentinels() as sentinels, caplog.at_level(logging.WARNING, "atrion"):

        async def main() -> None:
            provider, other = provide(sentinels.url), provide(sentinels.url)
            await provider.exchange("a", {"r": row(30.0)}, ["r"])
            assert (await other.exchange("b", {}, ["r"]))["r"].scar == pytest.approx(30.0)
            sentinels.master.kill()
            with pytest.raises(ProviderError):
                await provider.exchange("a", {}, ["r"])
            async with asyncio.timeout(30.0):
                while True:
                    try:
                        await provider.connect()
                        await provider.exchange("a", {"r": row(40.0)}, ["r"])
                        break
                    except ProviderError:
                        await asyncio.sleep(0.1)
            heard = await heard_by(other, ["r"])
            assert heard["r"].scar == pytest.approx(40.0, abs=0.1)
            assert int(sentinels.replica.do("DBSIZE")) > 0
            await asyncio.gather(provider.disconnect(), other.disconnect())

        asyncio.run(main())


@contextmanager
def sentinel_of(config: Path) -> Iterator[None]:
    """A master and its only sentinel, on the ports that ``config`` names."""
    words = config.read_text().split()
    with RedisServer(port=int(words[words.index("monitor") + 3])):
        process = subprocess.Popen(
            [redis_binary(), str(config), "--sentinel"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        try:
            yield
        finally:
            process.kill()
            process.wait()


def test_a_subscriber_is_told_once_the_sentinels_have_come(provide: Provide, tmp_path: Path) -> None:
    port, config = free_port(), tmp_path / "sentinel.conf"
    config.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\nsentinel monitor main 127.0.0.1 {free_port()} 1\n"
    )
    heard: list[PhysicsVector] = []

    async def main() -> None:
        url = f"redis+sentinel://127.0.0.1:{port}/main"
        reader, writer = provide(url), provide(url)
        with pytest.raises(ProviderError):
            await reader.connect()
        reader.subscribe("r", heard.append)
        await asyncio.sleep(0.3)  # it has tried to listen meanwhile
        with sentinel_of(config):
            for number in range(200):
                with suppress(ProviderError):
                    await writer.update_vector("r", PhysicsVector(float(number), 0.0, 3.0, 1.0))
                if heard:
                    break
                await asyncio.sleep(0.1)
            await asyncio.gather(reader.disconnect(), writer.disconnect())

    asyncio.run(main())
    assert heard


def test_a_service_that_no_sentinel_knows_is_said_so(provide: Provide, redis_server: RedisServer) -> None:
    provider = provide(f"redis+sentinel://127.0.0.1:{redis_server.port}/main")
    with pytest.raises(ProviderError, match="no sentinel knows a master of 'main'"):
        asyncio.run(provider.connect())


def test_a_server_that_is_no_cluster_is_said_so(provide: Provide, redis_server: RedisServer) -> None:
    provider = provide(f"redis+cluster://127.0.0.1:{redis_server.port}")
    with pytest.raises(
        ProviderError, match=r"no node of the cluster serves all slots.*cluster support disabled"
    ):
        asyncio.run(provider.connect())


# --- logins and TLS ------------------------------------------------------------------------------------------


def test_the_least_that_an_acl_user_needs(own_server: RedisServer, provide: Provide, namespace: str) -> None:
    own_server.do("ACL", "SETUSER", "app", *(rule.replace("NAMESPACE", namespace) for rule in ACL))
    url = own_server.url.replace("//", "//app:s3cret@")

    async def main() -> None:
        a, b = provide(url), provide(url)
        await asyncio.gather(a.connect(), b.connect())
        heard: asyncio.Queue[str] = asyncio.Queue()
        b.listen("b", lambda route, _: heard.put_nowait(route))
        b.subscribe("v", lambda vector: heard.put_nowait("v"))
        await a.exchange("a", {f"r{number}": row(50.0) for number in range(300)}, ["r0"])
        await b.exchange("b", {}, ["r0"])
        await a.exchange("a", {"r0": row(200.0)}, ["r0"])
        assert await asyncio.wait_for(heard.get(), 5.0) == "r0"
        await a.update_vector("v", row(5.0).vector)
        assert await asyncio.wait_for(heard.get(), 5.0) == "v"
        assert await b.get_vector("v") == row(5.0).vector
        assert len(await b.recall("a", 1000)) == 301
        assert sorted(await b.list_nodes()) == ["a", "b"]
        await asyncio.gather(a.disconnect(), b.disconnect())

    asyncio.run(main())
    denied = own_server.do("ACL", "LOG")
    assert [entry for entry in denied if b"client" not in str(entry).encode()] == []


@pytest.mark.parametrize(
    "login, said", [("app:wrong@", "invalid username-password"), ("", "[Aa]uthentication required|NOAUTH")]
)
def test_a_wrong_login_is_said_without_the_password(
    own_server: RedisServer, provide: Provide, login: str, said: str
) -> None:
    own_server.do("ACL", "SETUSER", "app", "on", ">s3cret", "~*", "&*", "+@all")
    own_server.do("ACL", "SETUSER", "default", "off")
    provider = provide(own_server.url.replace("//", f"//{login}"))

    async def main() -> None:
        await provider.connect()
        await provider.exchange("a", {}, ["r"])

    with pytest.raises(ProviderError, match=said) as caught:
        asyncio.run(main())
    assert "wrong@" not in str(caught.value)
    asyncio.run(provider.disconnect())


def test_tls(provide: Provide) -> None:
    with tls_server() as (port, authority):
        url = f"rediss://localhost:{port}/0"

        async def main() -> None:
            provider = provide(f"{url}?ssl_ca_certs={authority}")
            await provider.connect()
            assert await provider.exchange("a", {"r": row(5.0)}, ["r"]) == {"r": ClusterScar(0.0, 0.0)}
            await provider.disconnect()
            stranger = provide(url)
            with pytest.raises(ProviderError, match="certificate verify failed"):
                await stranger.connect()
            await stranger.disconnect()
            other_name = provide(f"rediss://127.0.0.2:{port}?ssl_ca_certs={authority}")
            with pytest.raises(ProviderError):
                await other_name.connect()
            await other_name.disconnect()

        asyncio.run(main())


def test_an_engine_starts_without_its_server(caplog: pytest.LogCaptureFixture) -> None:
    engine = Atrion(provider="redis://127.0.0.1:1/0", interval=0.01)

    async def main() -> None:
        async with engine:
            for _ in range(20):
                async with engine.flow("r"):
                    await asyncio.sleep(0.01)

    with caplog.at_level(logging.WARNING, "atrion"):
        asyncio.run(main())
    assert len(caplog.records) == 1
    assert "127.0.0.1:1" in caplog.text


def test_an_unreadable_url_of_an_engine_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="gamma"):
        Atrion(provider="redis://localhost?gamma=3")
