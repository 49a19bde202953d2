"""Why resistance is high, as a decision and a snapshot name it."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from atrion import (
    SLO,
    Atrion,
    FlowRejected,
    InMemoryProvider,
    Mode,
    Outcome,
    PhysicsVector,
    Reason,
    Telemetry,
)
from atrion.control.process import Process
from atrion.testing import VirtualClock
from packages.atrion.tests.unit.calling import Ticker


def reason(engine: Atrion, tier: str = "bulk") -> Reason:
    """Why a request of ``tier`` is shed now; a snapshot of this instant says the same."""
    decision = engine.decide("r", tier, key="alice")
    assert not decision.allowed
    assert engine.snapshot()["r"].reason is decision.reason
    return decision.reason


def calls(engine: Atrion, clock: VirtualClock, count: int, seconds: float, outcome: Outcome) -> None:
    for _ in range(count):
        flow = engine.flow("r", "critical")
        if flow.decide().allowed:
            clock.advance(seconds)
            flow.finish(int(outcome))
        else:
            clock.advance(0.1)


def test_calm_has_no_reason(engine: Atrion, clock: VirtualClock) -> None:
    for _ in range(100):
        calls(engine, clock, 1, 0.05, Outcome.SUCCESS)
        assert engine.snapshot()["r"].reason is None
        assert engine.decide("r").reason is Reason.FLOWS


def test_too_many_in_flight_are_a_standing_queue(engine: Atrion) -> None:
    with ExitStack() as stack:
        while engine.decide("r", "bulk", key="alice").allowed:
            stack.enter_context(engine.flow("r", "critical"))
        assert reason(engine) is Reason.SATURATED
    assert engine.snapshot()["r"].reason is None


def test_a_process_that_never_rests_is_named_apart(engine: Atrion) -> None:
    process = Process()
    for tick in range(1, 20):
        process.observe(0.1 * tick, 1.0)
    engine.flow("r").behind(process)
    assert reason(engine) is Reason.PROCESS_SATURATED


def test_failures_are_named_with_and_without_the_breaker(engine: Atrion, clock: VirtualClock) -> None:
    calls(engine, clock, 8, 0.1, Outcome.FAILURE)
    assert reason(engine) is Reason.FAILING
    calls(engine, clock, 40, 0.1, Outcome.FAILURE)
    assert engine.decide("r").mode is Mode.CIRCUIT_BREAKER
    assert reason(engine, "critical") is Reason.FAILING
    assert "shed (failing)" in str(engine.decide("r", "critical"))
    with pytest.raises(FlowRejected, match="failing"):
        engine.select(["r"])


def test_answers_later_than_promised_are_named_before_and_after_they_come(
    engine: Atrion, clock: VirtualClock
) -> None:
    engine.configure("r", slo=SLO(latency=0.2))
    with ExitStack() as stack:
        for _ in range(6):
            stack.enter_context(engine.flow("r", "critical"))
        clock.advance(0.1)
        engine.decide("r")
        clock.advance(0.3)
        assert reason(engine) is Reason.LATE
        clock.advance(0.1)
    clock.advance(0.1)
    assert reason(engine) is Reason.LATE


def test_a_dependency_that_answers_nobody_any_more_is_stalled(engine: Atrion, clock: VirtualClock) -> None:
    calls(engine, clock, 50, 0.05, Outcome.SUCCESS)
    with ExitStack() as stack:
        while engine.decide("r", "bulk", key="alice").allowed:
            stack.enter_context(engine.flow("r", "critical"))
            clock.advance(1.0)
        assert reason(engine) is Reason.STALLED
        clock.advance(0.1)
        assert reason(engine) is Reason.STALLED


def test_a_stall_is_over_when_something_comes_back_whoevers_fault_it_is(
    engine: Atrion, clock: VirtualClock
) -> None:
    calls(engine, clock, 50, 0.05, Outcome.SUCCESS)
    with ExitStack() as stack:
        while engine.decide("r", "bulk", key="alice").allowed:
            flow = stack.enter_context(engine.flow("r", "critical"))
            clock.advance(1.0)
        flow.ignore()
    for _ in range(10):
        clock.advance(1.0)
        engine.decide("r")
    assert engine.snapshot()["r"].reason is None


def test_a_stall_whose_callers_have_all_given_up_heals_while_nobody_asks(
    engine: Atrion, clock: VirtualClock
) -> None:
    calls(engine, clock, 50, 0.05, Outcome.SUCCESS)
    calls(engine, clock, 40, 1.0, Outcome.DROPPED)
    before = engine.snapshot()["r"]
    assert before.reason is Reason.STALLED
    assert before.scar_tissue > 100.0
    for _ in range(100):
        clock.advance(0.1)
        engine.update_physics("r", Telemetry())
    after = engine.snapshot()["r"]
    assert after.scar_tissue < 1.0
    assert after.reason is Reason.STALLED  # it has not been heard of since
    calls(engine, clock, 10, 0.05, Outcome.SUCCESS)
    clock.advance(1.0)
    engine.decide("r")
    assert engine.snapshot()["r"].reason is None


@pytest.mark.parametrize(
    "sample, named",
    [
        ({"latency": 5.0}, Reason.LATE),
        ({"error_rate": 1.0}, Reason.FAILING),
        ({"saturation": 2.0}, Reason.SATURATED),
    ],
)
def test_what_callers_tell_is_named_likewise(
    engine: Atrion, tick: Ticker, sample: dict[str, float], named: Reason
) -> None:
    tick(engine, "r", 20, **sample)
    assert reason(engine) is named


def test_a_scar_keeps_the_name_of_what_made_it_until_it_has_healed(
    engine: Atrion, clock: VirtualClock, tick: Ticker
) -> None:
    tick(engine, "r", 20, error_rate=1.0)
    tick(engine, "r", 5, error_rate=0.0, latency=0.01)
    assert engine.snapshot()["r"].pressure_error < 0.0
    assert reason(engine) is Reason.FAILING
    tick(engine, "r", 100, error_rate=0.0, latency=0.01)
    assert engine.snapshot()["r"].reason is None
    tick(engine, "r", 20, saturation=2.0)
    tick(engine, "r", 5, saturation=0.0)
    assert reason(engine) is Reason.SATURATED


def test_a_scar_of_which_nobody_knows_the_cause_is_resistance(
    engine: Atrion, clock: VirtualClock, tick: Ticker
) -> None:
    tick(engine, "r", 20, error_rate=1.0)
    engine.reset("r")
    engine.restore("r", PhysicsVector(0.0, 0.0, 50.0, 0.0))
    assert reason(engine) is Reason.RESISTANCE
    engine.reset("r")
    assert engine.route("r", Telemetry(), voltage=5.0).reason is Reason.RESISTANCE
    assert engine.snapshot()["r"].reason is None


def test_what_other_nodes_have_seen_is_named_after_them(clock: VirtualClock, tick: Ticker) -> None:
    hub = InMemoryProvider(clock=clock.monotonic)
    sick = Atrion(provider=hub, node="sick", clock=clock, gamma=0.5)
    engine = Atrion(provider=hub, node="well", clock=clock, gamma=0.5)
    tick(engine, "r", 3, error_rate=0.0)
    tick(sick, "r", 20, error_rate=1.0)
    assert asyncio.run(sick.pulse_once())
    assert asyncio.run(engine.pulse_once())
    assert reason(engine) is Reason.CLUSTER
    assert sick.snapshot()["r"].reason is Reason.FAILING
    clock.advance(60.0)
    assert asyncio.run(engine.pulse_once())
    assert engine.snapshot()["r"].reason is None
