"""What the embedded store costs and how fast news travels: ``python -m benchmarks.stores.workers``."""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from atrion import Atrion, FlowRejected, PhysicsVector
from atrion.providers.workers import WorkersProvider
from atrion.state import NodeRow

INTERVAL = 0.1
SCARRED, ROSE = 10.0, 1.0
"""Ohms of one worker's own scar, and of an idle one's resistance."""


def row(scar: float, evidence: float = 50.0) -> NodeRow:
    return NodeRow(PhysicsVector(10.0, 0.0, scar, 1.0), evidence, 0.8)


# --- the cost of a pulse -------------------------------------------------------------------------------------


async def pulse_cost(folder: Path, routes: int, nodes: int, changed: int, turns: int) -> float:
    """Median seconds of one exchange: so many routes, known to so many nodes, of which some change each pulse."""
    names = [f"GET /route/{number}" for number in range(routes)]
    providers = [WorkersProvider(folder) for _ in range(nodes)]
    for number, provider in enumerate(providers):
        await provider.connect()
        await provider.exchange(f"node-{number}", {name: row(1.0) for name in names}, names)
    times = []
    for turn in range(turns):
        for number, provider in enumerate(providers):
            rows = {name: row(float(turn % 50)) for name in names[:changed]}
            began = time.perf_counter()
            await provider.exchange(f"node-{number}", rows, names)
            times.append(time.perf_counter() - began)
    for provider in providers:
        await provider.disconnect()
    return statistics.median(times)


def guarded_call_ratio(url: str, calls: int = 5_000, rounds: int = 60) -> float:
    """What a guarded call costs with the pulse on a store, over what it costs without; measured in turn."""
    times: dict[bool, list[float]] = {False: [], True: []}
    with Atrion(interval=INTERVAL) as alone, Atrion(provider=url, interval=INTERVAL) as beside:
        for turn in range(2 * rounds):
            shared = bool(turn % 2)
            engine = beside if shared else alone
            began = time.perf_counter()
            for _ in range(calls):
                try:
                    with engine.flow("r"):
                        pass
                except FlowRejected:  # a call of nothing is slow, too, when another process takes the core
                    pass
            times[shared].append((time.perf_counter() - began) / calls)
    # The lower quartile: what else the machine does can only make a call dearer.
    beside_quartile, alone_quartile = (statistics.quantiles(times[shared])[0] for shared in (True, False))
    return beside_quartile / alone_quartile


# --- how fast news travels -------------------------------------------------------------------------------------


async def hear(url: str, count: int) -> None:
    """A worker that says when each route's resistance rose; it is idle on all of them."""
    async with Atrion(provider=url, interval=INTERVAL) as engine:
        base = {number: engine.decide(f"r{number}").resistance for number in range(count)}
        print("ready", flush=True)
        for number, before in base.items():
            await until(lambda: engine.decide(f"r{number}").resistance >= before + ROSE)  # noqa: B023  # awaited here
            print(time.monotonic(), flush=True)


async def until(condition: Callable[[], bool]) -> None:
    """Look every half millisecond."""
    while not condition():  # noqa: ASYNC110  # what is measured must not have to say so itself
        await asyncio.sleep(0.0005)  # what is measured must not have to say so itself


async def break_dependency(engine: Atrion, route: str) -> float:
    """Let calls fail until the route is scarred; says when."""
    while engine.snapshot()[route].scar_tissue < SCARRED:
        with suppress(FlowRejected, OSError), engine.flow(route):
            raise OSError("the dependency is down")
        await asyncio.sleep(0.001)
    return time.monotonic()


async def propagation(url: str, count: int) -> list[float]:
    """Seconds from a scar in this process to another's next decision, two others listening."""
    command = [sys.executable, "-m", "benchmarks.stores.workers", "--hear", url, "--count", str(count)]
    found = []
    with ExitStack() as stack:
        listeners = [stack.enter_context(listener(command)) for _ in range(2)]
        async with Atrion(provider=url, interval=INTERVAL) as engine:
            await asyncio.gather(*(asyncio.to_thread(_line, process) for process in listeners))
            for number in range(count):
                engine.decide(f"r{number}")
                await asyncio.sleep(INTERVAL * (1.0 + 0.37 * (number % 10)))  # at any time within a pulse
                scarred = await break_dependency(engine, f"r{number}")
                heard = await asyncio.gather(*(asyncio.to_thread(_line, process) for process in listeners))
                found += [float(at) - scarred for at in heard]
    return sorted(found)


@contextmanager
def listener(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A listening process, killed at the end."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def measure(count: int) -> dict[str, Any]:
    """Everything."""
    result: dict[str, Any] = {"pulse_seconds": {}}
    with tempfile.TemporaryDirectory() as folder:
        for routes in (10, 100, 1000):
            for title, changed in (("calm", 0), ("incident", routes // 10)):
                place = Path(folder) / f"{routes}-{title}"
                result["pulse_seconds"][f"{routes} routes, {title}"] = asyncio.run(
                    pulse_cost(place, routes, 4, changed, 50)
                )
        result["guarded_call_ratio"] = guarded_call_ratio(f"workers://{folder}/guard")
        times = asyncio.run(propagation(f"workers://{folder}/news", count))
    result["propagation_seconds"] = {
        "p50": times[len(times) // 2], "p99": times[min(int(0.99 * len(times)), len(times) - 1)], "count": len(times),
    }  # fmt: skip
    return result


def page(result: dict[str, Any]) -> str:
    lines = ["one pulse with 4 workers on the store, of which a tenth of the routes change in an incident:"]
    for title, seconds in result["pulse_seconds"].items():
        lines.append(f"  {title:<24} {seconds * 1e6:8.0f} µs   {seconds / INTERVAL:7.3%} of a core")
    lines.append(f"a guarded call costs {result['guarded_call_ratio']:.2f} × what it costs in memory")
    news = result["propagation_seconds"]
    lines.append(
        f"news reaches two other processes in {news['p50'] * 1e3:.0f} ms in the median, "
        f"{news['p99'] * 1e3:.0f} ms at p99, of {news['count']}"
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50, help="times that news is sent (default 50)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--hear", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.hear:
        asyncio.run(hear(arguments.hear, arguments.count))
        return
    result = measure(arguments.count)
    print(json.dumps(result) if arguments.json else page(result))


if __name__ == "__main__":
    main()
