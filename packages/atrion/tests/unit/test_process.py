from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atrion.control.process import CEILING, REST, TICK, LoopQueue, Process, Threads
from atrion.integrations._process import Arrivals, waited
from atrion.physics.voltage import BAND_WIDTH, Tier, band

BASE = 10.0
WORK = 0.005
"""Seconds that a handler keeps its loop or thread busy."""


def sheds(process: Process, tier: Tier) -> bool:
    """Whether anybody of a tier is shed."""
    return BASE + process.ohms >= band(int(tier))


# --- the controller ------------------------------------------------------------------------------------------


class Run:
    """A process under virtual time."""

    def __init__(self) -> None:
        self.process = Process()
        self.now = 0.0

    def crowded(self, error: float, seconds: float) -> float:
        for _ in range(round(seconds / TICK)):
            self.now += TICK
            self.process.observe(self.now, error)
        return self.process.ohms


@pytest.mark.parametrize("error", [REST, -1.0, 0.0])
def test_a_calm_process_never_sheds(error: float) -> None:
    run = Run()
    assert max(run.crowded(error, TICK) for _ in range(600)) == 0.0


def test_connections_that_are_opened_at_once_are_no_queue_of_requests() -> None:
    """Clients that connect before they ask, as pools of connections do, fill the backlog for a moment."""
    queue = LoopQueue(0.0)
    for now, backlog in [
        (0.0, 154),
        (0.001, 154),
        (0.003, 154),
        (0.119, 64),
        (0.120, 64),
        (0.2, 10),
        (0.21, 0),
    ]:
        queue.arrive(now, backlog)
        queue.admit()
        assert not sheds(queue.process, Tier.BULK)
        queue.turn(now + 0.0001)


def test_nor_are_they_where_threads_serve_them() -> None:
    pool = Threads(1, 0.0)
    for now, backlog in [(0.443, 218), (0.45, 218), (0.597, 126), (0.75, 40), (0.9, 0), (1.05, 0)]:
        pool.enter(now, 0.0, backlog)
        assert not sheds(pool.process, Tier.BULK)
        pool.leave(now + 0.001)


def test_a_crowded_process_sheds_the_lowest_tiers_first() -> None:
    run = Run()
    first: dict[Tier, float] = {}
    while len(first) < len(Tier):
        run.crowded(1.0, TICK)
        for tier in Tier:
            if sheds(run.process, tier):
                first.setdefault(tier, run.now)
        assert run.now < 10.0
    assert sorted(first, key=lambda tier: first[tier]) == sorted(Tier)
    assert first[Tier.NORMAL] < 2.0
    assert first[Tier.CRITICAL] > 2.0


def test_it_is_calm_at_once_afterwards() -> None:
    run = Run()
    run.crowded(1.0, 1.5)
    assert sheds(run.process, Tier.NORMAL)
    run.crowded(REST, TICK)
    assert not sheds(run.process, Tier.NORMAL)
    assert run.crowded(REST, 0.5) == 0.0


def test_single_spikes_do_nothing() -> None:
    run = Run()
    for _ in range(100):
        assert run.crowded(1.0, 2 * TICK) == 0.0
        assert run.crowded(-1.0, 3 * TICK) == 0.0


def test_one_long_observation_proves_no_more_than_two_ticks() -> None:
    process = Process()
    process.observe(30.0, 1.0)
    assert process.ohms == 0.0


def test_a_clock_that_stands_or_goes_back_changes_nothing() -> None:
    run = Run()
    before = run.crowded(1.0, 1.0)
    for now in (run.now, run.now - 5.0):
        run.process.observe(now, 1.0)
        assert run.process.ohms == before


@given(st.lists(st.tuples(st.floats(0.0, 1e6), st.floats(-1e3, 1e3), st.booleans()), max_size=50))
def test_resistance_stays_within_its_bounds(history: list[tuple[float, float, bool]]) -> None:
    run = Run()
    for passed, error, late in history:
        run.now += passed
        run.process.observe(run.now, error)
        if late:
            run.process.refuse_at_once()
        assert 0.0 <= run.process.ohms <= CEILING


def test_what_is_refused_at_once_is_not_critical() -> None:
    process = Process()
    process.refuse_at_once()
    assert sheds(process, Tier.HIGH)
    assert not sheds(process, Tier.CRITICAL)


# --- an event loop -------------------------------------------------------------------------------------------

MIX = (0.05, 0.15, 0.5, 0.2, 0.1)
"""Shares of the tiers, from bulk to critical."""
REFUSAL = 5e-5
"""Seconds of the loop that a refusal takes."""
EMPTY = 2e-5
"""Seconds in which a loop comes round that has nothing to do."""


class Answer:
    """What became of a request that arrived at ``at``."""

    def __init__(self, at: float, tier: Tier) -> None:
        self.at = at
        self.tier = tier
        self.served = False
        self.latency = 0.0

    @property
    def good(self) -> bool:
        return self.served and self.latency < 0.8


class Loop:
    """An event loop under virtual time, whose handlers compute: everything that is ready runs, then it looks again.

    With ``accepts`` it takes up so many requests at a time, as uvloop accepts connections; the rest is its backlog.
    """

    def __init__(self, work: Callable[[], float] = lambda: WORK, accepts: int | None = None) -> None:
        self.queue = LoopQueue(0.0)
        self.now = 0.0
        self._work = work
        self._accepts = accepts
        self._rng = random.Random(3)
        self._asked = False

    def play(self, rate: float, seconds: float) -> list[Answer]:
        """The answers to random arrivals for so long."""
        rng, due = self._rng, self.now
        until = due + seconds
        answers: list[Answer] = []
        while (due := due + rng.expovariate(rate)) < until:
            answers.append(Answer(due, Tier(rng.choices(range(5), MIX)[0])))
        begun = 0
        while begun < len(answers):
            while self._asked and self.now < answers[begun].at:
                self._come_round(EMPTY)
            self.now = max(self.now, answers[begun].at)
            ready = begun
            while ready < len(answers) and answers[ready].at <= self.now:
                ready += 1
            end = ready if self._accepts is None else min(ready, begun + self._accepts)
            for answer in answers[begun:end]:
                self._serve(answer, ready - end)
            for answer in answers[begun:end]:  # a loop may write them all at the end
                answer.latency = self.now - answer.at
            self._come_round(EMPTY)
            begun = end
        return answers

    def _serve(self, answer: Answer, backlog: int) -> None:
        self.now += EMPTY
        self._asked |= self.queue.arrive(self.now, backlog)
        answer.served = band(answer.tier) + BAND_WIDTH * self._rng.random() > BASE + self.queue.process.ohms
        if answer.served:
            self.queue.admit()
        self.now += self._work() if answer.served else REFUSAL

    def _come_round(self, seconds: float) -> None:
        self.now += seconds
        if self._asked:
            self._asked = self.queue.turn(self.now)


def refused(answers: list[Answer]) -> float:
    return sum(not answer.served for answer in answers) / len(answers)


@pytest.mark.parametrize("load", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("work", [0.0005, 0.005, 0.02])
def test_random_arrivals_at_a_loop_that_keeps_up_are_all_admitted(load: float, work: float) -> None:
    assert refused(Loop(lambda: work).play(load / work, 6000 * work)) == 0.0


def test_work_that_varies_is_admitted_as_well() -> None:
    rng = random.Random(5)
    assert refused(Loop(lambda: rng.expovariate(1.0 / WORK)).play(0.8 / WORK, 60.0)) < 0.002


@pytest.mark.parametrize("accepts", [None, 1])
@pytest.mark.parametrize("overload", [3.0, 6.0])
def test_an_overloaded_loop_serves_what_is_critical_in_time(overload: float, accepts: int | None) -> None:
    loop = Loop(accepts=accepts)
    assert refused(loop.play(0.3 / WORK, 5.0)) == 0.0
    over = loop.play(overload / WORK, 10.0)
    critical = [answer for answer in over if answer.tier is Tier.CRITICAL]
    assert sum(answer.good for answer in critical) > 0.95 * len(critical)
    assert sum(answer.good for answer in over) * WORK / 10.0 > 0.85
    after = loop.play(0.3 / WORK, 5.0)
    assert sum(answer.good for answer in after) > 0.93 * len(after)


def test_a_request_that_takes_long_itself_waits_for_nothing() -> None:
    queue, now = LoopQueue(0.0), 0.0
    for _ in range(100):
        queue.arrive(now)
        queue.admit()
        queue.turn(now + 1.0)
        queue.turn(now + 1.0 + EMPTY)
        now += 1.0 + 2 * EMPTY
        assert queue.process.ohms == 0.0


def test_a_few_clients_that_ask_again_at_once_may_keep_a_loop_busy() -> None:
    queue, now = LoopQueue(0.0), 0.0
    for _ in range(3000):
        for _ in range(4):
            queue.arrive(now)
            queue.admit()
            now += WORK
        queue.turn(now)
        assert queue.process.ohms == 0.0


def test_a_loop_that_waits_for_the_interpreters_lock_while_it_reads_has_a_queue() -> None:
    # Threads compute what was admitted, and the loop gets the lock only now and then: between two batches, too.
    queue, now = LoopQueue(0.0), 0.0
    for _ in range(40):
        for _ in range(20):
            queue.arrive(now)
        for _ in range(12):
            queue.admit()
        now += 0.1
        queue.turn(now)
        now += 0.1
        queue.turn(now)
    assert sheds(queue.process, Tier.NORMAL)


def test_what_piled_up_in_a_pause_of_the_process_is_served() -> None:
    loop = Loop(lambda: 0.001)
    loop.play(100.0, 5.0)
    waiting = loop.now
    loop.now += 3.0
    loop.queue.arrive(loop.now)
    for _ in range(200):  # requests of the pause, 0.2 s of work
        loop.now += 0.001
        loop.queue.arrive(loop.now)
        loop.queue.admit()
        assert loop.queue.process.ohms == 0.0
    assert loop.now - waiting > 3.0


def test_a_batch_whose_loop_has_ended_is_forgotten() -> None:
    queue = LoopQueue(0.0)
    assert queue.arrive(1.0)
    assert not queue.arrive(1.1)
    queue.rest(60.0)
    assert queue.arrive(60.0)
    assert queue.process.ohms == 0.0


# --- threads -------------------------------------------------------------------------------------------------


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


# --- arrival -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stamp",
    ["t=1700000000.000", "1700000000", " 1700000000.0 ", "t=1700000000000", "1700000000000000", "t=1.7e9"],
)
def test_a_stamp_is_read_in_its_unit(stamp: str) -> None:
    assert waited(stamp, 1700000000.5) == pytest.approx(0.5)


@pytest.mark.parametrize(
    "stamp",
    ["", "t=", "now", "nan", "inf", "-1", "1700000001", "1699999900", "0", "t=t=1700000000", "1" * 400],
)
def test_a_stamp_that_is_nonsense_says_nothing(stamp: str) -> None:
    assert waited(stamp, 1700000000.5) is None


def heard(waits: list[float], seconds: float, arrivals: Arrivals | None = None, now: float = 0.0) -> Arrivals:
    """Requests that have waited so long, in turn."""
    arrivals = arrivals or Arrivals(now)
    for _ in range(round(seconds / TICK)):
        for wait in waits:
            now += TICK / len(waits)
            arrivals.hear(wait, now)
    return arrivals


def test_requests_that_come_late_are_proof_of_a_queue() -> None:
    arrivals = heard([0.01, 0.02], 2.0)
    assert arrivals.process.ohms == 0.0
    heard([0.5, 0.6], 2.0, arrivals, 2.0)
    assert arrivals.process.ohms > 30.0
    heard([0.01, 0.02], 2.0, arrivals, 4.0)
    assert arrivals.process.ohms == 0.0


@pytest.mark.parametrize(
    "waits",
    [
        [0.01, 0.9, 0.02, 0.01],  # a few are late
        [5.0, 5.01],  # the proxy's clock is five seconds behind
    ],
)
def test_a_few_late_ones_or_a_clock_that_differs_prove_nothing(waits: list[float]) -> None:
    assert heard(waits, 5.0).process.ohms == 0.0


def test_the_greater_resistance_counts() -> None:
    arrivals, other = heard([0.01, 0.5, 0.5, 0.5, 0.5], 1.5), Process()
    assert arrivals.or_else(other) is arrivals.process
    other.refuse_at_once()
    assert other.ohms > arrivals.process.ohms
    assert arrivals.or_else(other) is other
