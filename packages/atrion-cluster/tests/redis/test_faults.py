"""A store that fails in every way under traffic: callers see nothing, the log two lines, and it is whole afterwards."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress

import pytest

from atrion import Atrion, FlowRejected, Telemetry
from atrion.errors import ProviderError
from atrion.state import NodeRow, PhysicsVector
from atrion_cluster.redis import RedisClusterProvider
from atrion_cluster.redis.topology import keys_of, tags_of
from benchmarks.stores.proxy import Proxy
from benchmarks.stores.redis_server import RedisServer

Provide = Callable[..., RedisClusterProvider]
Break = Callable[[], Awaitable[None] | None]
INTERVAL = 0.02


@pytest.fixture
def proxy(own_server: RedisServer) -> Iterator[Proxy]:
    with Proxy(own_server.port) as proxy:
        yield proxy


class Load:
    """Guarded calls without end; whatever they raise is kept."""

    def __init__(self, engine: Atrion) -> None:
        self.engine = engine
        self.calls = 0
        self.longest = 0.0
        self.errors: list[BaseException] = []

    async def run(self) -> None:
        while True:
            for _ in range(20):
                began = time.perf_counter()
                try:
                    with self.engine.flow("r"):
                        pass
                    self.engine.decide("r")
                except FlowRejected:  # shedding is the engine's business, and no error
                    pass
                except Exception as error:
                    self.errors.append(error)
                self.longest = max(self.longest, time.perf_counter() - began)
                self.calls += 1
            await asyncio.sleep(0.001)


class Other:
    """Another node, straight at the server, which says again and again that the route is scarred."""

    def __init__(self, provider: RedisClusterProvider) -> None:
        self.provider = provider

    async def says(self, scar: float) -> None:
        row = NodeRow(PhysicsVector(50.0, 0.0, scar, 0.0), 50.0, 0.8)
        for _ in range(4):  # garbage under the keys is cleared by whoever meets it
            await self.provider.connect()
            with suppress(ProviderError):
                await self.provider.exchange("other", {"r": row}, [])
                break
        await self.provider.disconnect()


async def until(condition: Callable[[], bool], what: str, patience: float = 10.0) -> None:
    try:
        async with asyncio.timeout(patience):
            while not condition():  # noqa: ASYNC110  # nothing else would tell
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"not within {patience} s: {what}") from None


@asynccontextmanager
async def traffic(engine: Atrion):  # type: ignore[no-untyped-def]  # a fixture in all but name
    load = Load(engine)
    async with engine:
        await until(lambda: engine.pulses > 2, "the pulse runs")
        engine.update_physics("r", Telemetry(latency=0.01))
        task = asyncio.create_task(load.run())
        try:
            yield load
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


class Fault:
    """One engine on a server that is troubled and heals."""

    def __init__(
        self, server: RedisServer, url: str, provide: Provide, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.server = server
        self.engine = Atrion(provider=provide(url), interval=INTERVAL, node="one", gamma=0.5)
        self.other = Other(provide(server.url))
        self.caplog = caplog

    async def is_seen(
        self, trouble: Break, *, heal: Break, during: float = 0.4, memory: int = 100_000
    ) -> None:
        """Trouble the store under load; then heal it, and see that all is as before."""
        engine = self.engine
        async with traffic(engine) as load:
            await until(lambda: engine.snapshot()["r"].admitted > 100, "traffic flows")
            assert engine.state.healthy
            await _maybe(trouble)
            await until(lambda: not engine.state.healthy, "the engine notices")
            heard = engine.snapshot()["r"]
            assert heard.blended_scar == heard.scar_tissue  # the lost store takes its influence with it
            await asyncio.sleep(0.1)
            assert await growth(during) < memory
            calls = load.calls
            await _maybe(heal)
            await self.is_whole()
            assert load.calls > calls
            began = time.monotonic()
        assert time.monotonic() - began < 1.0
        assert load.errors == []
        self.two_lines()

    async def is_whole(self, scar: float = 40.0) -> None:
        """Within two pulses of the first that works, what the other says is heard."""
        engine = self.engine
        await until(lambda: engine.state.healthy, "the store answers again", 15.0)
        await self.other.says(scar)
        before = engine.pulses
        await until(
            lambda: engine.routes["r"].model.cluster_scar > 0.5 * scar, "what another node says is heard"
        )
        assert engine.pulses - before <= 3  # one may have been under way

    def two_lines(self) -> None:
        lines = [record.getMessage() for record in self.caplog.records if record.name == "atrion"]
        assert len(lines) == 2, lines
        assert "decisions go on locally" in lines[0]
        assert "answers again" in lines[1]


async def growth(seconds: float) -> int:
    """Bytes by which what is held grows, once it has settled."""
    tracemalloc.start()
    try:
        await asyncio.sleep(seconds / 2)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        await asyncio.sleep(seconds / 2)
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


async def _maybe(step: Break) -> None:
    result = step()
    if result is not None:
        await result


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
