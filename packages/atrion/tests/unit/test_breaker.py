"""The breaker of a route: what opens it, what it lets through, and how it closes."""

from __future__ import annotations

from atrion import AdaptiveBreak, Atrion, FlowRejected, Mode, PhysicsConfig, Reason, Telemetry, Tier
from atrion.testing import VirtualClock
from packages.atrion.tests.unit.calling import Breaker, enter


def test_the_breaker_opens_probes_and_heals(engine: Atrion, clock: VirtualClock, broken: Breaker) -> None:
    broken(engine, "r")
    clock.advance(0.4)
    decisions = [engine.decide("r", Tier.CRITICAL) for _ in range(200)]
    probes = [decision for decision in decisions if decision]
    assert [decision.reason for decision in probes] == [Reason.PROBE]  # at most three a second
    assert decisions[0].reason is Reason.FAILING
    assert decisions[0].mode is Mode.CIRCUIT_BREAKER
    assert all(0.05 <= decision.retry_after <= 60.0 for decision in decisions if not decision)
    for _ in range(4000):
        clock.advance(0.01)
        try:
            enter(engine, "r", Tier.CRITICAL)
        except FlowRejected:
            pass
    assert engine.snapshot()["r"].mode is Mode.OPERATIONAL
    assert engine.decide("r", Tier.CRITICAL).reason is Reason.FLOWS


def test_an_hour_of_silence_in_the_breaker_ends_with_a_probe(
    engine: Atrion, clock: VirtualClock, broken: Breaker
) -> None:
    broken(engine, "r")
    clock.advance(3600.0)
    enter(engine, "r")  # the first to come is let through, and answers
    clock.advance(0.2)
    assert engine.decide("r", Tier.CRITICAL).reason is Reason.FLOWS
    assert engine.snapshot()["r"].mode is Mode.OPERATIONAL


def test_quiet_routes_probe_after_patience(engine: Atrion, clock: VirtualClock, broken: Breaker) -> None:
    broken(engine, "r")
    allowed = []
    for _ in range(12):
        clock.advance(1.0)
        allowed.append(bool(engine.decide("r")))
    assert allowed == [False, False, False, False, True] * 2 + [False, False]


def test_a_total_outage_at_one_call_a_minute_is_noticed(engine: Atrion, clock: VirtualClock) -> None:
    @engine.protect("r")
    def call() -> None:
        raise OSError

    shed = 0
    for _ in range(30):
        clock.advance(60.0)
        try:
            call()
        except OSError:
            pass
        except FlowRejected:
            shed += 1
    assert shed > 5


def test_some_failures_are_served_and_an_outage_is_shed(engine: Atrion, clock: VirtualClock) -> None:
    def run(share: float) -> float:
        shed = 0
        for i in range(2000):
            clock.advance(0.01)
            try:
                with engine.flow("r") as flow:
                    if (i * 0.618) % 1.0 < share:
                        flow.fail()
            except FlowRejected:
                shed += 1
        return shed / 2000

    assert run(0.2) < 0.01
    assert run(1.0) > 0.8
    assert run(0.0) < 0.7
    assert run(0.0) == 0.0


def test_an_adaptive_break_point(clock: VirtualClock) -> None:
    adaptive = AdaptiveBreak(warmup_ticks=5, floor=30.0)
    engine = Atrion(clock=clock, config=PhysicsConfig(adaptive=adaptive))
    for _ in range(50):
        clock.advance(0.1)
        engine.update_physics("r", Telemetry(error_rate=0.0))
    assert engine.routes["r"].model.state.break_point() == 30.0
    for _ in range(5):
        clock.advance(0.1)
        engine.update_physics("r", Telemetry(error_rate=1.0))
    assert engine.snapshot()["r"].mode is Mode.CIRCUIT_BREAKER
    for _ in range(200):
        clock.advance(0.1)
        engine.update_physics("r", Telemetry(error_rate=0.0))
    assert engine.snapshot()["r"].mode is Mode.OPERATIONAL
