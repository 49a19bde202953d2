"""The demo's services by their shape: what a request asks for, and the work that it takes."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

__all__ = ["DEMO", "MIX", "SHAPES", "Ask", "Shape", "Work", "slots_of", "times"]

MIX = {"critical": 0.10, "high": 0.20, "normal": 0.50, "low": 0.15, "bulk": 0.05}
SPREAD = 0.4
"""Standard deviation of the logarithm of the time that a request holds a slot or a thread."""
COMPUTE_SECONDS = 0.005
"""CPU time of a request of a service that computes."""
HOLD_SECONDS = 0.04
"""Mean time for which a request holds a thread."""
THREADS = 8

Work = Callable[[float], Awaitable[None]]
"""Does the work of one request, given as a multiple of the mean."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What a share of the requests asks for: a path, at a tier. Its work is a multiple of the shape's mean."""

    path: str
    tier: str
    share: float
    work: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A kind of service and its traffic.

    Attributes:
        about: One line for people.
        make: The work of one process, with its part of the slots.
        asks: The traffic.
        slots: Requests that all processes work on at once; each has one at least.
        crowd: Requests always under way while the capacity is measured: enough for every process.
        computes: Its processes have a CPU as their bottleneck, so that they are late by nature.
    """

    about: str
    make: Callable[[int], Work]
    asks: tuple[Ask, ...]
    slots: int
    crowd: int
    computes: bool = False


def slots_of(worker: int, workers: int, slots: int) -> int:
    """This worker's part of the slots: one host works on as much, however many processes it has."""
    return slots // workers + (worker < slots % workers)


def times(seconds: float) -> Callable[[], float]:
    """Lognormal times with a mean of ``seconds``."""
    rng = random.Random(7)
    return lambda: rng.lognormvariate(math.log(seconds) - SPREAD**2 / 2.0, SPREAD)


def _pooled(seconds: float) -> Callable[[int], Work]:
    """A pool whose slots are held for ``seconds`` on average, as the connections of a database are."""

    def make(slots: int) -> Work:
        pool, draw = asyncio.Semaphore(slots), times(seconds)

        async def work(factor: float) -> None:
            held = factor * draw()
            async with pool:
                await asyncio.sleep(held)

        return work

    return make


def _compute(seconds: float) -> None:
    """Keep this thread busy for so much CPU time."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def _on_loop(slots: int) -> Work:
    """Async handlers that compute: the loop does nothing else meanwhile."""

    async def work(factor: float) -> None:
        _compute(factor * COMPUTE_SECONDS)

    return work


def _idle(slots: int) -> Work:
    """Async handlers that answer at once: what is left is the server's own work."""

    async def work(factor: float) -> None:
        pass

    return work


def _in_threads(run: Callable[[float], None], draw: Callable[[], float]) -> Callable[[int], Work]:
    """Sync handlers in a pool of threads, as frameworks run them."""

    def make(slots: int) -> Work:
        pool = ThreadPoolExecutor(slots)

        async def work(factor: float) -> None:
            await asyncio.get_running_loop().run_in_executor(pool, run, factor * draw())

        return work

    return make


def _two_routes() -> tuple[Ask, ...]:
    return tuple(
        Ask(path, tier, share / 2) for path in ("/checkout", "/search") for tier, share in MIX.items()
    )


def _seven_routes() -> tuple[Ask, ...]:
    """Routes of one tier and kind of work each; on average a request is one work."""
    routes = (
        ("/checkout", "critical", 2, 1.0),
        ("/account", "high", 4, 0.5),
        ("/search", "normal", 4, 1.0),
        ("/suggest", "normal", 4, 0.4),
        ("/history", "low", 2, 2.0),
        ("/reviews", "low", 3, 1.0),
        ("/export", "bulk", 1, 4.0),
    )
    total = sum(weight for _, _, weight, _ in routes)
    mean = sum(weight * work for _, _, weight, work in routes) / total
    return tuple(Ask(path, tier, weight / total, work / mean) for path, tier, weight, work in routes)


SHAPES: dict[str, Shape] = {
    "pooled": Shape(
        about="two routes share a pool of slots",
        make=_pooled(0.1),
        asks=_two_routes(),
        slots=40,
        crowd=140,
    ),
    "cpu": Shape(
        about="async handlers compute 5 ms on the event loop's thread",
        make=_on_loop,
        asks=_two_routes(),
        slots=40,
        crowd=20,
        computes=True,
    ),
    "seven-routes": Shape(
        about="seven routes share one database that nobody has named",
        make=_pooled(0.05),
        asks=_seven_routes(),
        slots=20,
        crowd=70,
    ),
    "threads-compute": Shape(
        about="sync handlers compute 5 ms in a pool of threads",
        make=_in_threads(_compute, lambda: COMPUTE_SECONDS),
        asks=_two_routes(),
        slots=THREADS,
        crowd=20,
        computes=True,
    ),
    "threads-hold": Shape(
        about="sync handlers hold a thread for 40 ms",
        make=_in_threads(time.sleep, times(HOLD_SECONDS)),
        asks=_two_routes(),
        slots=THREADS,
        crowd=30,
    ),
    "empty": Shape(
        about="async handlers answer at once",
        make=_idle,
        asks=_two_routes(),
        slots=40,
        crowd=20,
        computes=True,
    ),
}
DEMO = ("pooled", "cpu", "seven-routes")
"""Shapes that the demo shows; ``atrion lab real`` plays others as well."""
