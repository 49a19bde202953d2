"""What keeping state in PostgreSQL costs, also while it hangs: ``python -m benchmarks.stores.postgres``."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import statistics
import time
from typing import Any

from atrion import Atrion, PhysicsVector
from atrion_cluster import PostgresPersistenceAdapter
from benchmarks.stores.postgres_server import PostgresServer


async def batches(url: str, routes: int, turns: int = 20) -> tuple[float, float]:
    """Median seconds of keeping so many routes in one batch, and of recalling them."""
    adapter = PostgresPersistenceAdapter(url, namespace=f"batch{routes}", deadline=10.0)
    await adapter.connect()
    kept, recalled = [], []
    for turn in range(turns):
        vectors = {
            f"GET /route/{n}": PhysicsVector(10.0, 0.0, float(turn + n % 7), 1.0) for n in range(routes)
        }
        began = time.perf_counter()
        await adapter.update_vectors(vectors)
        between = time.perf_counter()
        assert len(await adapter.recall("node", routes)) == routes
        recalled.append(time.perf_counter() - between)
        kept.append(between - began)
    await adapter.disconnect()
    return statistics.median(kept), statistics.median(recalled)


async def heard(url: str, count: int = 100) -> list[float]:
    """Seconds from a write to a subscriber on another connection, sorted; apart, since bursts are told as one."""
    writer, reader = (PostgresPersistenceAdapter(url, namespace="heard") for _ in range(2))
    await asyncio.gather(writer.connect(), reader.connect())
    times: list[float] = []
    news = asyncio.Event()
    reader.subscribe("r", lambda _: news.set())
    for number in range(count):
        began = time.perf_counter()
        await writer.update_vector("r", PhysicsVector(10.0, 0.0, float(number), 1.0))
        await news.wait()
        times.append(time.perf_counter() - began)
        news.clear()
        await asyncio.sleep(0.06)
    await asyncio.gather(writer.disconnect(), reader.disconnect())
    return sorted(times)


async def guarded(engines: dict[str, Atrion], calls: int = 200, rounds: int = 60) -> dict[str, list[float]]:
    """Seconds of each guarded call with each engine, in turn, while all pulses run in this loop."""
    times: dict[str, list[float]] = {name: [] for name in engines}
    for number in range(rounds):
        for name, engine in engines.items():
            engine.restore("kept", PhysicsVector(0.0, 0.0, float(number % 9), 0.0))  # so that there is news
            for _ in range(calls):
                began = time.perf_counter()
                flow = engine.flow("r", "critical")
                with flow:
                    pass
                times[name].append(time.perf_counter() - began)
            await asyncio.sleep(0.01)
    return {name: sorted(found) for name, found in times.items()}


async def beside(server: PostgresServer) -> dict[str, dict[str, float]]:
    """p50 and p99 of guarded calls in memory and with a persistence, well and hung, as ratios to memory."""
    engines = {"memory": Atrion(), "postgres": Atrion(persistence=server.url(namespace="beside"))}
    result = {}
    for engine in engines.values():
        await engine.connect()
    for state in ("well", "hung"):
        if state == "hung":
            server.signal(signal.SIGSTOP)
        times = await guarded(engines)
        result[state] = {
            point: at(times["postgres"], share) / at(times["memory"], share)
            for point, share in (("p50", 0.5), ("p99", 0.99))
        }
    for engine in engines.values():
        await engine.disconnect()
    server.signal(signal.SIGCONT)
    return result


def at(times: list[float], share: float) -> float:
    """The quantile of sorted times."""
    return times[min(int(share * len(times)), len(times) - 1)]


def measure() -> dict[str, Any]:
    """Everything."""
    server = PostgresServer()
    try:
        result: dict[str, Any] = {"batches": {}}
        for routes in (10, 100, 1000, 10_000):
            kept, recalled = asyncio.run(batches(server.url(), routes))
            result["batches"][routes] = {"keep_seconds": kept, "recall_seconds": recalled}
        times = asyncio.run(heard(server.url()))
        result["heard_seconds"] = {"p50": at(times, 0.5), "p99": at(times, 0.99)}
        result["guarded_call_ratio"] = asyncio.run(beside(server))
    finally:
        server.remove()
    return result


def page(result: dict[str, Any]) -> str:
    lines = ["one batch, there and back:"]
    for routes, times in result["batches"].items():
        keep, recall = times["keep_seconds"] * 1e3, times["recall_seconds"] * 1e3
        lines.append(f"  {routes:>6} routes   kept in {keep:7.1f} ms   recalled in {recall:7.1f} ms")
    news = result["heard_seconds"]
    lines.append(
        f"a change is heard in {news['p50'] * 1e3:.1f} ms in the median, {news['p99'] * 1e3:.1f} ms at p99"
    )
    for state, ratio in result["guarded_call_ratio"].items():
        quantiles = f"{ratio['p50']:.2f} × memory in the median, {ratio['p99']:.2f} × at p99"
        lines.append(f"a guarded call while the server is {state}: {quantiles}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    result = measure()
    print(json.dumps(result) if parser.parse_args().json else page(result))


if __name__ == "__main__":
    main()
