"""The queue before a pool of threads, on virtual time: crowded or calm."""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Iterator
from itertools import count

import pytest

from atrion.control.process import Process, Threads
from atrion.physics.voltage import Tier
from packages.atrion.tests.unit.crowding import sheds


class Pool:
    """A pool of threads under virtual time; each takes up the next call ``gap`` seconds after its last."""

    def __init__(self, size: int, gap: float = 1e-4) -> None:
        self.threads = Threads(size, 0.0)
        self._size = size
        self._gap = gap

    def play(self, seconds: float, calls: int, rested: bool = False) -> Process:
        """So many at once, for 40 ms each, one after the other."""
        due = [(0.04 * (index + 1) / calls, True) for index in range(calls)]
        for _ in range(calls):
            self.threads.enter(0.0)
        while due[0][0] < seconds:
            now, ends = due.pop(0)
            if ends:
                self.threads.leave(now)
                due.append((now + self._gap, False))
            else:
                self.threads.enter(now, 0.0 if rested else self._gap)
                due.append((now + 0.04, True))
            due.sort()
        return self.threads.process


@pytest.mark.parametrize("size", [1, 4, 40])
@pytest.mark.parametrize("gap", [1e-4, 0.02])
def test_a_pool_whose_threads_never_rest_sheds(size: int, gap: float) -> None:
    assert sheds(Pool(size, gap).play(6.0, size), Tier.NORMAL)


@pytest.mark.parametrize("size", [1, 4, 40])
def test_clients_that_ask_again_at_once_may_keep_a_pool_busy(size: int) -> None:
    assert Pool(size).play(10.0, size, rested=True).ohms == 0.0


def test_a_pool_of_which_a_few_threads_are_busy_is_calm() -> None:
    assert Pool(8, 0.02).play(10.0, 2).ohms == 0.0


@pytest.mark.parametrize("size", [1, 4])
def test_random_arrivals_at_a_pool_that_keeps_up_shed_nobody(size: int) -> None:
    rng = random.Random(7)
    threads, now = Threads(size, 0.0), 0.0
    free = [0.0] * size
    due, events = 0.0, list[tuple[float, int, float]]()
    while due < 60.0:
        due += rng.expovariate(0.7 * size / 0.04)
        first = min(free)
        start = max(first, due)
        free[free.index(first)] = start + 0.04
        between = 1e-4 if first > due else 0.0
        events += [(start, 1, between), (start + 0.04, 0, 0.0)]
    for now, enters, between in sorted(events):
        if enters:
            threads.enter(now, between)
        else:
            threads.leave(now)
        assert not sheds(threads.process, Tier.NORMAL)


def queued(size: int, held: float, load: float, seconds: float, told: str) -> Iterator[Process]:
    """After each call: the state of a learned pool before which calls come, and last, at random.

    Each call tells how long it has waited, or how many wait behind it, or every second one how long.
    """
    rng = random.Random(7)
    threads = Threads(0, 0.0)
    ends, waiting = list[float](), deque[float]()
    due = now = 0.0
    for number in count():
        while not waiting or len(ends) == size:
            if ends and ends[0] <= due:
                now = heapq.heappop(ends)
                threads.leave(now)
            else:
                now = due
                waiting.append(due)
                due += rng.expovariate(load * size / held)
        if now > seconds:
            return
        waited = now - waiting.popleft()
        if told == "behind":
            threads.enter(now, behind=len(waiting))
        else:
            threads.enter(now, waited=None if told == "half" and number % 2 else waited)
        heapq.heappush(ends, now + rng.expovariate(1.0 / held))
        yield threads.process


TOLD = ("behind", "waited", "half")


@pytest.mark.parametrize("told", TOLD)
@pytest.mark.parametrize("size", [1, 4, 24])
@pytest.mark.parametrize("held", [0.03, 1.0])
def test_a_known_queue_of_a_pool_that_keeps_up_sheds_next_to_nobody(
    size: int, held: float, told: str
) -> None:
    shed = [sheds(process, Tier.NORMAL) for process in queued(size, held, 0.6, 300.0, told)]
    assert sum(shed) <= 0.01 * len(shed)


@pytest.mark.parametrize("told", TOLD)
@pytest.mark.parametrize("size", [1, 4, 24])
def test_a_known_queue_that_grows_sheds_within_half_a_second(size: int, told: str) -> None:
    assert any(sheds(process, Tier.NORMAL) for process in queued(size, size / 80.0, 4.0, 0.6, told))


def test_connections_that_are_opened_at_once_are_no_queue_of_requests() -> None:
    pool = Threads(1, 0.0)
    for now, backlog in [(0.443, 218), (0.45, 218), (0.597, 126), (0.75, 40), (0.9, 0), (1.05, 0)]:
        pool.enter(now, 0.0, backlog)
        assert not sheds(pool.process, Tier.BULK)
        pool.leave(now + 0.001)


def test_one_call_that_takes_long_is_no_crowd() -> None:
    threads = Threads(1, 0.0)
    threads.enter(0.0)
    threads.leave(30.0)
    threads.enter(30.0, 1e-4)
    assert threads.process.ohms == 0.0


def test_a_pool_bears_more_leaves_than_entries_and_a_clock_that_goes_back() -> None:
    threads = Threads(1, 5.0)
    threads.leave(4.0)
    threads.enter(4.5)
    threads.leave(6.0)
    assert threads.process.ohms == 0.0
