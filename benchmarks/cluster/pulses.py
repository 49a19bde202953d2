"""What a pulse costs the pod: CPU of one process, its engine on Redis and in memory."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from atrion import Atrion, Telemetry
from atrion_cluster import RedisClusterProvider
from benchmarks.stores.redis_server import RedisServer

INTERVAL = 0.1


@dataclass(frozen=True, slots=True)
class PulseCost:
    """CPU milliseconds of one pulse, and the share of a core at a pulse every 100 ms."""

    case: str
    routes: int
    milliseconds: float
    share: float


def measure(pulses: int) -> list[PulseCost]:
    """Calm and busy, with Redis and without."""
    found = []
    with RedisServer() as server:
        for routes in (100, 1000):
            for case, provider, busy in (
                ("calm, in memory", None, False),
                ("calm, Redis", server.url, False),
                ("busy, in memory", None, True),
                ("busy, Redis", server.url, True),
            ):
                given = None if provider is None else RedisClusterProvider({"url": provider})
                cost = asyncio.run(_measure(given, routes, busy, pulses))
                found.append(PulseCost(case, routes, 1e3 * cost, cost / INTERVAL))
    return found


async def _measure(provider: Any, routes: int, busy: bool, pulses: int) -> float:
    """CPU seconds of a pulse."""
    engine = Atrion(provider=provider)
    names = [f"route{number}" for number in range(routes)]
    await engine.state.connect()
    spent = 0.0
    for turn in range(pulses + 5):
        if busy or turn == 0:
            for name in names:
                engine.update_physics(name, Telemetry(latency=0.01))
        began = time.process_time()
        await engine.pulse_once()
        if turn >= 5:
            spent += time.process_time() - began
        await asyncio.sleep(0.02)
    await engine.state.disconnect()
    return spent / pulses
