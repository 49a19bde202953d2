"""What an engine learns from the calls that it guards: time, lateness, silence, and clocks that lie."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from atrion import SLO, Atrion, Tier
from atrion.testing import VirtualClock
from packages.atrion.tests.unit.calling import Breaker


def test_calls_teach_the_service_time_and_ordinary_ones_are_no_pressure(
    engine: Atrion, clock: VirtualClock
) -> None:
    for _ in range(200):
        with engine.flow("r"):
            clock.advance(0.05)
    flow = engine.flow("r")
    flow.decide()
    clock.advance(0.1)
    assert engine.decide("r")
    flow.finish()
    seen = engine.snapshot()["r"]
    assert seen.service_time == pytest.approx(0.05, rel=0.1)
    assert seen.pressure_latency <= 0.0
    assert seen.scar_tissue == 0.0


def test_calls_later_than_promised_are_noticed_before_they_end(engine: Atrion, clock: VirtualClock) -> None:
    engine.configure("r", slo=SLO(latency=1.0))
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(engine.flow("r", Tier.CRITICAL))
        before = engine.snapshot()["r"].resistance
        for _ in range(50):
            clock.advance(0.1)
            engine.decide("r")
        assert engine.snapshot()["r"].pressure_latency > 0.5
        assert engine.snapshot()["r"].resistance > before + 50.0


def test_where_nothing_was_promised_a_slow_call_is_no_harm(engine: Atrion, clock: VirtualClock) -> None:
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(engine.flow("r"))
        for _ in range(50):
            clock.advance(0.1)
            assert engine.decide("r", "bulk").allowed
    for _ in range(20):
        with engine.flow("r", "bulk"):
            clock.advance(30.0)
    assert engine.snapshot()["r"].pressure_latency == 0.0


@pytest.mark.parametrize("rate", [0.02, 1.0, 50.0])
def test_a_dependency_that_answers_nobody_any_more_is_noticed(
    engine: Atrion, clock: VirtualClock, rate: float
) -> None:
    for _ in range(50):
        with engine.flow("r"):
            clock.advance(0.05)
    with ExitStack() as stack:
        asked = 0
        while engine.decide("r").allowed:
            stack.enter_context(engine.flow("r", "critical"))
            clock.advance(1.0 / rate)
            asked += 1
            assert asked < 400
    assert asked / rate < 2.0 or asked < 40


def test_one_stuck_call_says_nothing_of_the_others(engine: Atrion, clock: VirtualClock) -> None:
    with engine.flow("r", "critical"):
        for _ in range(600):
            with engine.flow("r", "bulk"):
                clock.advance(0.01)
            clock.advance(0.19)
        assert engine.snapshot()["r"].resistance == engine.snapshot()["r"].resistance < 15.0


def test_dropped_calls_are_late_calls(engine: Atrion, clock: VirtualClock) -> None:
    engine.configure("r", slo=SLO(latency=1.0))
    for _ in range(10):
        flow = engine.flow("r", Tier.CRITICAL)
        if flow.decide():
            clock.advance(3.0)
            flow.finish(3)
    assert engine.snapshot()["r"].pressure_latency > 0.7


def test_a_pause_of_the_machine_is_no_pressure(engine: Atrion, clock: VirtualClock) -> None:
    for pause in [0.0] * 100 + [0.03] * 20 + [5.0] + [0.001] * 20:
        with ExitStack() as stack:
            for _ in range(6):
                stack.enter_context(engine.flow("r"))
            clock.advance(pause + 1e-6)
            assert engine.decide("r", "bulk").allowed
        clock.advance(0.1)
        assert engine.decide("r", "bulk").allowed


def test_a_thread_that_comes_late_with_an_older_time_changes_nothing(
    engine: Atrion, clock: VirtualClock
) -> None:
    for _ in range(300):
        with engine.flow("r"):
            clock.advance(0.01)
            clock.advance(-0.005)
        assert engine.decide("r", "bulk").allowed
    assert engine.snapshot()["r"].clock_faults == 0


def test_a_clock_that_goes_back_an_hour_is_counted_and_survived(
    engine: Atrion, clock: VirtualClock, broken: Breaker
) -> None:
    clock.now = 10_000.0
    broken(engine, "r")
    flow = engine.flow("calm")
    assert flow.decide()
    clock.advance(-3600.0)
    flow.finish()
    assert not engine.decide("r")
    assert engine.snapshot()["r"].clock_faults == 1
    assert engine.snapshot()["calm"].clock_faults == 1
    assert "CIRCUIT_BREAKER" in repr(engine.snapshot()["r"])
    assert engine.snapshot()["calm"].in_flight == 0
    assert engine.decide("calm", key="alice")
    before = engine.snapshot()["r"].scar_tissue
    clock.advance(5.0)
    engine.decide("r")
    assert engine.snapshot()["r"].scar_tissue < before
