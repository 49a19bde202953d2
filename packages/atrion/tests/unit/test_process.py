from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atrion.control.process import CEILING, POOL_SHARE, TICK, Process, Threads
from atrion.integrations import _process
from atrion.integrations._process import LoopThread, waited
from atrion.physics.voltage import Tier, band

BASE = 10.0
SHARE = st.floats(0.0, 1.0)


class Run:
    """A process under virtual time."""

    def __init__(self, **options: float) -> None:
        self.process = Process(**options)
        self.now = 0.0

    def busy(self, share: float, seconds: float, waiting: bool = True) -> float:
        for _ in range(round(seconds / TICK)):
            self.now += TICK
            self.process.observe(self.now, share, waiting)
        return self.process.ohms

    def sheds(self, tier: Tier) -> bool:
        """Whether anybody of a tier is shed."""
        return BASE + self.process.ohms >= band(int(tier))


@pytest.mark.parametrize("share", [0.0, 0.5, 0.8, 0.92])
def test_a_calm_process_never_sheds(share: float) -> None:
    run = Run()
    assert max(run.busy(share, TICK) for _ in range(600)) == 0.0


def test_random_arrivals_at_three_quarters_of_capacity_shed_nobody() -> None:
    rng = random.Random(7)
    run, due, left = Run(), 0.0, 0.0
    for _ in range(6000):
        work = 0.0
        end = run.now + TICK
        while due < end:
            due += rng.expovariate(150.0)
            work += 0.005
        left += work
        run.busy(min(left / TICK, 1.0), TICK)
        left = max(left - TICK, 0.0)
        assert not run.sheds(Tier.NORMAL)


def test_a_saturated_process_sheds_the_lowest_tiers_first() -> None:
    run = Run()
    first: dict[Tier, float] = {}
    while len(first) < len(Tier):
        run.busy(1.0, TICK)
        for tier in Tier:
            if run.sheds(tier):
                first.setdefault(tier, run.now)
        assert run.now < 10.0
    assert sorted(first, key=lambda tier: first[tier]) == sorted(Tier)
    assert first[Tier.NORMAL] < 2.0
    assert first[Tier.CRITICAL] > 2.0


def test_it_is_calm_at_once_afterwards() -> None:
    run = Run()
    run.busy(1.0, 1.5)
    assert run.sheds(Tier.NORMAL)
    run.busy(0.4, TICK)
    assert not run.sheds(Tier.NORMAL)
    assert run.busy(0.4, 0.9) == 0.0


def test_single_spikes_do_nothing() -> None:
    run = Run()
    for _ in range(100):
        assert run.busy(1.0, 2 * TICK) == 0.0
        assert run.busy(0.6, 3 * TICK) == 0.0


def test_one_long_computation_proves_no_more_than_two_ticks() -> None:
    process = Process()
    process.observe(30.0, 1.0)
    assert process.ohms == 0.0


def test_a_pause_of_the_process_is_calm() -> None:
    run = Run()
    run.busy(1.0, 2.0)
    run.process.observe(run.now + 10.0, 0.01)
    assert run.process.ohms == 0.0
    assert Run().busy(1.0, 2 * TICK) == 0.0


def test_a_single_client_may_keep_it_busy() -> None:
    run = Run()
    assert run.busy(1.0, 60.0, waiting=False) == 0.0
    run.busy(1.0, 2.0)
    assert run.sheds(Tier.NORMAL)
    assert run.busy(1.0, 3.0, waiting=False) == 0.0


def test_a_clock_that_stands_or_goes_back_changes_nothing() -> None:
    run = Run()
    before = run.busy(1.0, 1.0)
    for now in (run.now, run.now - 5.0):
        run.process.observe(now, 1.0)
        assert run.process.ohms == before


@given(st.lists(st.tuples(st.floats(0.0, 1e6), SHARE, st.booleans()), max_size=50))
def test_resistance_stays_within_its_bounds(history: list[tuple[float, float, bool]]) -> None:
    run = Run()
    for passed, share, waiting in history:
        run.now += passed
        run.process.observe(run.now, share, waiting)
        assert 0.0 <= run.process.ohms <= CEILING


# --- threads -------------------------------------------------------------------------------------------------


def test_a_pool_is_busy_while_all_its_threads_are() -> None:
    threads = Threads(2, 0.0)
    threads.enter(0.00)
    threads.enter(0.02)
    assert not threads.due(0.05)
    threads.leave(0.07)
    threads.leave(0.08)
    assert threads.due(0.1)
    assert threads.share(0.1) == pytest.approx(0.5)
    assert threads.share(0.2) == 0.0


def test_a_pool_that_is_always_full_sheds_and_a_call_that_never_ends_counts() -> None:
    threads, process = Threads(1, 0.0), Process(POOL_SHARE)
    threads.enter(0.0)
    for tick in range(1, 20):
        process.observe(tick * TICK, threads.share(tick * TICK))
    assert BASE + process.ohms >= band(int(Tier.NORMAL))


def test_a_pool_bears_more_leaves_than_entries_and_a_clock_that_goes_back() -> None:
    threads = Threads(1, 5.0)
    threads.leave(4.0)
    threads.enter(4.5)
    assert threads.busy == 1
    assert threads.share(5.0) == 0.0


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


class Machine:
    """The clocks of a thread that is idle."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(_process.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(_process.time, "thread_time", lambda: 0.0)
        self.thread = LoopThread()

    def play(self, waits: list[float | None], ticks: int = 20) -> float:
        for _ in range(ticks):
            for wait in waits:
                self.now += TICK / len(waits)
                self.thread.arrive(wait)
        return self.thread.process.ohms


def test_requests_that_come_late_are_proof_of_a_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    assert machine.play([0.01, 0.02]) == 0.0
    assert machine.play([0.5, 0.6]) > 30.0
    assert machine.play([0.01, 0.02]) == 0.0


def test_a_few_late_ones_or_a_clock_that_differs_prove_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    assert machine.play([0.01, 0.9, 0.02, 0.01]) == 0.0
    assert machine.play([None]) == 0.0
    assert Machine(monkeypatch).play([5.0, 5.01]) == 0.0  # the proxy's clock is five seconds behind
