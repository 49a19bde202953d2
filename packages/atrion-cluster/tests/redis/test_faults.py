"""A store that fails in every way under traffic: callers see nothing, the log two lines, and it is whole afterwards."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest

from atrion.state import PhysicsVector
from atrion_cluster.redis.topology import keys_of, tags_of
from benchmarks.stores.proxy import Proxy
from benchmarks.stores.redis_server import RedisServer
from redis_faults import Fault, traffic
from store_rows import Provide, until


@pytest.fixture
def proxy(own_server: RedisServer) -> Iterator[Proxy]:
    with Proxy(own_server.port) as proxy:
        yield proxy


@pytest.fixture
def fault(own_server: RedisServer, provide: Provide, caplog: pytest.LogCaptureFixture) -> Fault:
    caplog.set_level(logging.INFO, "atrion")
    return Fault(own_server, own_server.url, provide, caplog)


@pytest.fixture
def fault_by_proxy(
    own_server: RedisServer, proxy: Proxy, provide: Provide, caplog: pytest.LogCaptureFixture
) -> Fault:
    caplog.set_level(logging.INFO, "atrion")
    return Fault(own_server, proxy.url, provide, caplog)


def test_killed_and_started_again(fault: Fault) -> None:
    asyncio.run(fault.is_seen(fault.server.kill, heal=fault.server.start))


@pytest.mark.slow
def test_hung_for_ten_seconds(fault: Fault) -> None:
    asyncio.run(fault.is_seen(fault.server.hang, heal=fault.server.go_on, during=10.0))


def test_restarted_empty(fault: Fault, namespace: str) -> None:
    own_rows = keys_of(tags_of(namespace, 1)[0], "one")[4]

    def said() -> bool:
        return bool(fault.server.do("HLEN", own_rows) == 1)

    async def main() -> None:
        engine = fault.engine
        async with traffic(engine) as load:
            engine.restore("r", PhysicsVector(50.0, 0.0, 300.0, 0.0))
            await fault.other.says(40.0)
            await until(said, "its own scar is kept")
            fault.server.restart()
            await fault.is_whole(90.0)
            await until(said, "its own scar is kept again, without being asked")
            assert set(await fault.other.provider.list_nodes()) == {"one", "other"}
        assert load.errors == []

    asyncio.run(main())
    assert len(fault.caplog.records) in {0, 2}  # nobody need notice what happens between two pulses


def test_restarted_with_another_password(fault: Fault) -> None:
    def heal() -> None:
        fault.server.connect = {"password": "other"}
        fault.server.do("CONFIG", "SET", "requirepass", "")
        fault.server.connect = {}

    def trouble() -> None:
        fault.server.kill()
        fault.server.connect = {"password": "other"}
        fault.server.start("--requirepass", "other")

    asyncio.run(fault.is_seen(trouble, heal=heal))
    assert "other" not in fault.caplog.text


def test_out_of_memory(fault: Fault) -> None:
    def trouble() -> None:
        fault.server.do("CONFIG", "SET", "maxmemory-policy", "noeviction")
        fault.server.do("CONFIG", "SET", "maxmemory", "1mb")

    asyncio.run(
        fault.is_seen(trouble, heal=lambda: fault.server.do("CONFIG", "SET", "maxmemory", 0) and None)
    )


def test_made_a_read_only_replica(fault: Fault) -> None:
    with RedisServer() as master:
        asyncio.run(
            fault.is_seen(
                lambda: fault.server.do("REPLICAOF", "127.0.0.1", master.port) and None,
                heal=lambda: fault.server.do("REPLICAOF", "NO", "ONE") and None,
            )
        )


@pytest.mark.slow
def test_a_partition(fault_by_proxy: Fault, proxy: Proxy) -> None:
    def dark(value: bool) -> None:
        proxy.dark = value

    asyncio.run(fault_by_proxy.is_seen(lambda: dark(True), heal=lambda: dark(False), during=2.0))


def test_denied_by_the_acl(fault: Fault) -> None:
    asyncio.run(
        fault.is_seen(
            lambda: fault.server.do("ACL", "SETUSER", "default", "-fcall") and None,
            heal=lambda: fault.server.do("ACL", "SETUSER", "default", "+fcall") and None,
        )
    )


def test_functions_denied_from_the_start(fault: Fault) -> None:
    async def main() -> None:
        fault.server.do("ACL", "SETUSER", "default", "-function|load")
        async with traffic(fault.engine) as load:
            await asyncio.sleep(0.2)
            assert not fault.engine.state.healthy
            fault.server.do("ACL", "SETUSER", "default", "+function|load")
            await fault.is_whole()
        assert load.errors == []

    asyncio.run(main())
    fault.two_lines()
    assert "does not take Atrion's functions" in fault.caplog.text


def test_a_connection_that_is_cut_again_and_again(fault_by_proxy: Fault, proxy: Proxy) -> None:
    async def main() -> None:
        engine = fault_by_proxy.engine
        async with traffic(engine) as load:
            for _ in range(6):
                turns = engine.pulses
                proxy.cut()
                await until(lambda: engine.pulses > turns + 3, "the pulse goes on")  # noqa: B023  # this turn's
                assert engine.state.healthy
            await fault_by_proxy.is_whole()
        assert load.errors == []

    asyncio.run(main())
    assert (
        len(fault_by_proxy.caplog.records) <= 12
    )  # one at each start and one at each end, where one met a pulse


@pytest.mark.slow
def test_half_a_second_of_latency_and_ten_percent_loss(fault_by_proxy: Fault, proxy: Proxy) -> None:
    def bad() -> None:
        proxy.delay, proxy.loss = 0.5, 0.1

    def good() -> None:
        proxy.delay, proxy.loss = 0.0, 0.0

    asyncio.run(fault_by_proxy.is_seen(bad, heal=good, during=2.0))


def test_slow_but_within_the_deadline_is_no_fault(fault_by_proxy: Fault, proxy: Proxy) -> None:
    async def main() -> None:
        engine = fault_by_proxy.engine
        async with traffic(engine) as load:
            proxy.delay = 0.1
            await fault_by_proxy.other.says(40.0)
            await until(lambda: engine.snapshot()["r"].blended_scar > 15.0, "what another node says is heard")
            assert engine.state.failures == 0
        assert load.errors == []

    asyncio.run(main())


def test_garbage_in_the_keys_and_on_the_channel(fault: Fault, namespace: str) -> None:
    (tag,) = tags_of(namespace, 1)
    meta, routes, changed, nodes, _ = keys_of(tag, "one")

    async def main() -> None:
        engine, server = fault.engine, fault.server
        async with traffic(engine) as load:
            for garbage in (b"", b"\xff" * 10, b"\x00" * 96, b"\xff" * 112, b"x" * 100_000):
                server.do("HSET", routes, "r", garbage, garbage or "empty", garbage, b"x" * 5000, garbage)
                server.do("ZADD", changed, 1e15, garbage, 3, b"y" * 5000, "+inf", "endless")
                server.do("ZADD", nodes, 1e15, garbage, "-inf", "never")
                server.do("HSET", meta, "version", garbage)
                server.do("PUBLISH", f"{namespace}:sync", garbage)
                await asyncio.sleep(0.05)
            for key in (meta, routes, changed, nodes):
                server.do("DEL", key)
                server.do("SET", key, "of another type")
                await asyncio.sleep(0.1)
            await fault.is_whole()
            assert fault.engine.state.provider.dropped >= 5  # type: ignore[attr-defined]  # the provider is ours
        assert load.errors == []

    asyncio.run(main())
