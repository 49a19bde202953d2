"""How crowded a process is, and whom that sheds, on virtual time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atrion.control.process import CEILING, REST, TICK, Process
from atrion.physics.voltage import Tier
from packages.atrion.tests.unit.crowding import sheds


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
