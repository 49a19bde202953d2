"""A thousand pods on one real Redis: every pod's side of the exchange is real, its traffic is made up."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from dataclasses import dataclass

from atrion.errors import ProviderError
from atrion.state import NodeRow, PhysicsVector
from atrion.state.blending import EVIDENCE_SECONDS
from atrion_cluster import RedisClusterProvider
from benchmarks.cluster.rates import server_seconds
from benchmarks.stores.redis_server import RedisServer

RENEWED = 0.29 * EVIDENCE_SECONDS
"""Seconds after which a busy route's row has faded by a quarter, and is sent again."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """A run of a fleet against one server."""

    case: str
    pods: int
    routes: int
    seconds: float
    wanted: float
    exchanges: float
    server_share: float
    bytes_per_exchange: float
    p50: float
    p99: float
    failures: int


def measure(pods: int, routes: int, seconds: float, interval: float) -> list[Fleet]:
    """Idle, and with every route of every tenth pod busy and one that breaks everywhere."""
    found = []
    for case, busy in (("idle", 0.0), ("a tenth of the pods busy", 0.1)):
        with RedisServer("--maxclients", "20000") as server:
            found.append(asyncio.run(_run(server, case, pods, routes, seconds, interval, busy)))
    return found


async def _run(
    server: RedisServer, case: str, pods: int, routes: int, seconds: float, interval: float, busy: float
) -> Fleet:
    names = [f"api/route-{number}" for number in range(routes)]
    providers = [RedisClusterProvider({"url": server.url, "timeout": 5.0}) for _ in range(pods)]
    for start in range(0, pods, 50):
        await asyncio.gather(
            *(
                _join(provider, f"pod{start + n}", names)
                for n, provider in enumerate(providers[start : start + 50])
            )
        )
    took: list[float] = []
    failures = 0

    async def pod(number: int, end: float) -> None:
        nonlocal failures
        dice = random.Random(number)
        provider, node = providers[number], f"pod{number}"
        speaks = number < busy * pods
        await asyncio.sleep(dice.uniform(0.0, interval))
        while time.monotonic() < end:
            began = time.monotonic()
            rows = {}
            if speaks:
                count = sum(dice.random() < interval / RENEWED for _ in names)
                rows = {name: _row(dice.uniform(0.0, 2.0)) for name in dice.sample(names, count)}
            try:
                await provider.exchange(node, rows, names)
            except ProviderError:
                failures += 1
                await provider.connect()
            took.append(1e3 * (time.monotonic() - began))
            await asyncio.sleep(max(interval * dice.uniform(0.8, 1.2) - (time.monotonic() - began), 0.0))

    before, cpu, began = server.do("INFO", "stats"), server_seconds(server), time.monotonic()
    await asyncio.gather(*(pod(number, began + seconds) for number in range(pods)))
    passed = time.monotonic() - began
    after, cpu = server.do("INFO", "stats"), server_seconds(server) - cpu
    for provider in providers:
        await provider.disconnect()
    moved = sum(after[key] - before[key] for key in ("total_net_input_bytes", "total_net_output_bytes"))
    cuts = statistics.quantiles(took, n=100)
    return Fleet(
        case, pods, routes, passed, pods / interval, len(took) / passed, cpu / passed, moved / len(took), cuts[49],
        cuts[98], failures,
    )  # fmt: skip


async def _join(provider: RedisClusterProvider, node: str, names: list[str]) -> None:
    await provider.connect()
    await provider.exchange(node, {}, names)


def _row(scar: float) -> NodeRow:
    return NodeRow(PhysicsVector(12.0, 0.0, scar, 0.0), 100.0, 0.8)
