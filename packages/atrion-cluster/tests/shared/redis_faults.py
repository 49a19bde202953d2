"""An engine under load on a Redis that is troubled and heals."""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from atrion import Atrion, FlowRejected, Telemetry
from atrion.errors import ProviderError
from atrion.state import NodeRow, PhysicsVector
from atrion_cluster.redis import RedisClusterProvider
from benchmarks.stores.redis_server import RedisServer
from store_rows import Provide, until

Break = Callable[[], Awaitable[None] | None]
INTERVAL = 0.02


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
