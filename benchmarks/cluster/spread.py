"""How long until the other pods know: three processes, one route that breaks in one of them, again and again."""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.cluster.pods import PodProcess
from benchmarks.stores.redis_server import RedisServer


@dataclass(frozen=True, slots=True)
class Spread:
    """Milliseconds from a pod's scar to another idle pod's higher resistance."""

    way: str
    trials: int
    p50: float
    p99: float
    worst: float


def measure(trials: int) -> list[Spread]:
    """By the pulse alone, and with the channel."""
    found = []
    with RedisServer() as server:
        for way, channel in (("by the pulse (100 ms)", False), ("by the channel", True)):
            times = _measure(f"{server.url}?namespace={'abc'[channel]}", channel, trials)
            cuts = statistics.quantiles(times, n=100, method="inclusive")
            found.append(Spread(way, len(times), cuts[49], cuts[98], max(times)))
    return found


def _measure(url: str, channel: bool, trials: int) -> list[float]:
    times: list[float] = []
    with ExitStack() as stack:
        a, b, c = (stack.enter_context(PodProcess(url, node, channel=channel)) for node in "abc")
        for trial in range(trials):
            for pod in (a, b, c):
                pod.tell(f"know route{trial}")
                assert pod.wait("known")
            a.tell(f"break route{trial}")
            scarred = a.wait("scarred", 60.0)["at"]
            times += [1e3 * max(pod.wait("rose", 60.0)["at"] - scarred, 0.0) for pod in (b, c)]
    return times
