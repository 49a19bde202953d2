"""Threads on the real clock: whatever they do at once, nothing healthy is refused, and nothing is lost."""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from atrion import SLO, Atrion, FlowRejected, InMemoryProvider, compiled
from atrion.state import SystemClock

THREADS = 8
CALLS = 20_000 if compiled else 1_000
TIERS = ("bulk", "low", "normal", "high", "critical")
Work = Callable[[], None]


@contextmanager
def hurried() -> Iterator[None]:
    """Threads take turns after microseconds, wherever they are."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def together(*works: Work, beside: Work | None = None) -> None:
    """Run ``works`` in a thread each, and ``beside`` again and again in one more until they are done."""
    errors: list[BaseException] = []
    over = threading.Event()

    def guarded(work: Work) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    def again() -> None:
        while not over.is_set() and not errors:
            guarded(beside or over.wait)  # type: ignore[arg-type]  # what it returns is of no interest
            time.sleep(0.0005)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    other = threading.Thread(target=again)
    with hurried():
        for thread in (*threads, other):
            thread.start()
        for thread in threads:
            thread.join()
        over.set()
        other.join()
    assert errors == []


def call(engine: Atrion, count: int, routes: tuple[str, ...] = ("r",)) -> Work:
    """Healthy calls of all tiers, none of which may be refused."""

    def work() -> None:
        for number in range(count):
            with engine.flow(routes[number % len(routes)], TIERS[number % len(TIERS)]):
                pass

    return work


def side_by_side(engine: Atrion, route: str = "r") -> int:
    """How many low calls flow at once."""
    with ExitStack() as stack:
        for number in itertools.count():
            try:
                stack.enter_context(engine.flow(route, "bulk", key="alice"))
            except FlowRejected:
                return number
    raise AssertionError


def as_new(engine: Atrion, pool: str | None) -> bool:
    """Whether as many calls flow at once as in an engine that has seen none.

    A busy machine lets a tick pass meanwhile, so it tries again; what was left behind would be there each time.
    """
    for _ in range(200):
        engine.configure("r", pool=pool)
        engine.reset("r")  # it begins anew
        if side_by_side(engine) == side_by_side(Atrion()):
            return True
    return False


def settled(engine: Atrion, total: int, *pools: str) -> None:
    """Everything was admitted, counted and has ended, and nothing is left of it: in ``pools``, or where ``r`` is."""
    seen = list(engine.snapshot().values())
    assert sum(state.admitted for state in seen) == total
    assert sum(state.in_flight for state in seen) == 0
    assert sum(state.shed for state in seen) == 0
    assert sum(state.clock_faults for state in seen) == 0
    assert {state.reason for state in seen} == {None}
    for pool in pools or (None,):
        assert as_new(engine, pool)


def test_healthy_calls_of_many_threads_are_all_served() -> None:
    engine = Atrion()
    together(*[call(engine, CALLS)] * THREADS)
    settled(engine, THREADS * CALLS)


def test_a_decorated_function_is_served_in_every_thread() -> None:
    engine = Atrion()
    done = []

    @engine.protect("r", tier="critical")
    def double(number: int) -> int:
        return 2 * number

    def work() -> None:
        done.append(sum(double(number) for number in range(CALLS)))

    together(*[work] * THREADS)
    assert done == [CALLS * (CALLS - 1)] * THREADS
    settled(engine, THREADS * CALLS)


@pytest.mark.slow
def test_the_first_calls_of_a_route_may_come_at_once() -> None:
    for _ in range(50):
        engine = Atrion()
        together(*[call(engine, 5)] * THREADS)
        settled(engine, THREADS * 5)


class HeldUp(SystemClock):
    """The machine's clock, as read by threads that are held up between reading it and going on."""

    def __init__(self, longest: float) -> None:
        super().__init__()
        self.longest = longest
        dice = random.Random(1)

        def monotonic() -> float:
            now = time.monotonic()
            if dice.random() < 0.02:
                time.sleep(self.longest * dice.random())
            return now

        self.monotonic = monotonic


@pytest.mark.parametrize("longest", [0.0, 0.001, 0.5])
def test_a_thread_that_arrives_with_an_older_time_changes_nothing(longest: float) -> None:
    clock = HeldUp(longest)
    engine = Atrion(clock=clock)
    count = 100 if longest > 0.1 else 2000
    together(*[call(engine, count)] * THREADS)
    clock.longest = 0.0
    settled(engine, THREADS * count)


def test_the_pulse_beside_callers_changes_nothing() -> None:
    hub = InMemoryProvider()
    with Atrion(provider=hub, node="other", interval=0.001), Atrion(provider=hub, interval=0.001) as engine:
        together(*[call(engine, CALLS)] * THREADS)
        assert engine.state.healthy
        assert engine.state.failures == 0
    settled(engine, THREADS * CALLS)


def test_a_pulse_by_hand_from_another_thread_changes_nothing() -> None:
    engine = Atrion(provider=InMemoryProvider())
    together(*[call(engine, CALLS, ("r", "s", "t"))] * THREADS, beside=lambda: asyncio.run(pulse(engine)))
    settled(engine, THREADS * CALLS, "new")


async def pulse(engine: Atrion) -> None:
    assert await engine.pulse_once()


def test_looking_deciding_and_selecting_beside_callers_change_nothing() -> None:
    engine = Atrion()

    def look() -> None:
        engine.snapshot()
        assert engine.decide("r", "bulk")
        assert engine.select(["r", "s"]) in {"r", "s"}

    together(*[call(engine, CALLS, ("r", "s"))] * THREADS, beside=look)
    settled(engine, THREADS * CALLS, "new")


@pytest.mark.parametrize("routes", [("r",), ("r", "s", "t")])
def test_a_reset_under_load_loses_nothing_that_is_in_flight(routes: tuple[str, ...]) -> None:
    engine = Atrion()
    works = [call(engine, CALLS, routes)] * THREADS
    together(*works, beside=lambda: (engine.reset("r"), engine.reset())[0])
    settled(engine, THREADS * CALLS, *(["new"] if len(routes) > 1 else []))


def test_configuring_under_load_loses_nothing_that_is_in_flight() -> None:
    engine = Atrion()
    numbers = itertools.count()

    def configure() -> None:
        number = next(numbers)
        engine.configure("r", slo=SLO(latency=1.0 + number % 3), pool=("one", "two", None)[number % 3])

    together(*[call(engine, CALLS, ("r", "s"))] * THREADS, beside=configure)
    settled(engine, THREADS * CALLS, "one", "two", "new")


def test_calls_that_are_held_through_resets_and_new_pools_end_where_they_are() -> None:
    engine = Atrion()

    def hold() -> None:
        for _ in range(CALLS // 20):
            flows = [engine.flow("r", "critical") for _ in range(3)]
            for flow in flows:
                assert flow.decide()
            for flow in flows:
                flow.finish()

    numbers = itertools.count()

    def move() -> None:
        engine.reset("r")
        engine.configure("r", pool=("one", "two")[next(numbers) % 2])

    together(*[hold] * THREADS, beside=move)
    settled(engine, THREADS * 3 * (CALLS // 20), "one", "two", "new")


def test_tasks_of_several_loops_share_an_engine() -> None:
    engine = Atrion()

    async def calls() -> None:
        for number in range(CALLS // 10):
            async with engine.flow("r", TIERS[number % len(TIERS)]):
                await asyncio.sleep(0)

    async def loop() -> None:
        await asyncio.gather(calls(), calls())

    together(*[lambda: asyncio.run(loop())] * 4, beside=lambda: engine.reset("r"))
    settled(engine, 8 * (CALLS // 10))
