"""A guarded call beside a store that is well, slow, hung or gone: Redis behind it, against memory, in one run."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from atrion import Atrion, FlowRejected
from atrion_cluster import RedisClusterProvider
from benchmarks.stores.proxy import Proxy
from benchmarks.stores.redis_server import RedisServer

BATCH = 2000


@dataclass(frozen=True, slots=True)
class Guarded:
    """Microseconds of a guarded call in one state of the store; ratios of Redis to memory in the same run."""

    store: str
    memory_p50: float
    redis_p50: float
    memory_p99: float
    redis_p99: float
    errors: int

    @property
    def ratio_p50(self) -> float:
        """The median's."""
        return self.redis_p50 / self.memory_p50

    @property
    def ratio_p99(self) -> float:
        """The 99th percentile's."""
        return self.redis_p99 / self.memory_p99


def measure(seconds: float) -> list[Guarded]:
    """Every state of the store for so many seconds."""
    with RedisServer() as server, Proxy(server.port) as proxy:

        def slow(on: bool) -> None:
            proxy.delay, proxy.loss = (0.5, 0.1) if on else (0.0, 0.0)

        def dark(on: bool) -> None:
            proxy.dark = on

        def full(on: bool) -> None:
            server.do("CONFIG", "SET", "maxmemory", "1mb" if on else "0")

        def cuts(on: bool) -> None:
            if on:
                proxy.cut()

        def hung(on: bool) -> None:
            (server.hang if on else server.go_on)()

        def killed(on: bool) -> None:
            (server.kill if on else server.start)()

        states: list[tuple[str, Callable[[bool], None], bool]] = [
            ("well", lambda _: None, False),
            ("500 ms of latency, 10% loss", slow, False),
            ("a partition", dark, False),
            ("out of memory", full, False),
            ("cut every second", cuts, True),
            ("hung (SIGSTOP)", hung, False),
            ("killed", killed, False),
        ]
        return [
            asyncio.run(_measure(name, change, again, proxy.url, seconds)) for name, change, again in states
        ]


async def _measure(
    name: str, change: Callable[[bool], None], again: bool, url: str, seconds: float
) -> Guarded:
    shared = Atrion(provider=RedisClusterProvider({"url": url}))
    alone = Atrion()
    times: dict[Atrion, list[float]] = {shared: [], alone: []}
    errors = 0
    async with shared, alone:
        await asyncio.sleep(0.3)
        change(True)
        end, cut = time.monotonic() + seconds, time.monotonic()
        while time.monotonic() < end:
            if again and time.monotonic() - cut > 1.0:
                cut = time.monotonic()
                change(True)
            for engine, kept in times.items():
                errors += _batch(engine, kept)
                await asyncio.sleep(0.001)  # the pulses of both run here
        change(False)
    percentiles = {engine: statistics.quantiles(kept, n=100) for engine, kept in times.items()}
    return Guarded(
        name, percentiles[alone][49], percentiles[shared][49], percentiles[alone][98], percentiles[shared][98], errors
    )  # fmt: skip


def _batch(engine: Atrion, kept: list[float]) -> int:
    errors = 0
    clock = time.perf_counter
    for _ in range(BATCH):
        began = clock()
        try:
            with engine.flow("r"):
                pass
        except FlowRejected:
            pass
        except Exception:
            errors += 1
        kept.append(1e6 * (clock() - began))
    return errors
