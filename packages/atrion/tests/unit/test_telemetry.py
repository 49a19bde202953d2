"""Telemetry that callers measure by themselves and tell the engine."""

from __future__ import annotations

import math

import pytest

from atrion import Atrion, Mode, Telemetry
from atrion.testing import VirtualClock
from packages.atrion.tests.unit.calling import Ticker


def outage(rate: float) -> float:
    clock = VirtualClock()
    engine = Atrion(clock=clock)
    worst = 0.0
    for _ in range(int(rate * 10.0)):
        clock.advance(1.0 / rate)
        engine.update_physics("r", Telemetry(error_rate=1.0))
        worst = max(worst, engine.snapshot()["r"].scar_tissue)
    return worst


def test_an_outage_scars_alike_at_any_rate() -> None:
    assert outage(1.0) == pytest.approx(outage(1000.0), rel=0.05)


def test_bad_samples_are_dropped_and_counted(engine: Atrion, clock: VirtualClock) -> None:
    for bad in (math.nan, -1.0, -math.inf):
        clock.advance(0.1)
        seen = engine.update_physics("r", Telemetry(bad, bad, bad))
    assert seen.rejected_samples == 9
    assert seen.pressure_latency == seen.pressure_error == seen.pressure_saturation == 0.0
    assert seen.resistance <= 12.0


def test_infinite_latency_is_never_healthy(engine: Atrion, tick: Ticker) -> None:
    tick(engine, "r", 5, latency=math.inf)
    assert engine.snapshot()["r"].pressure_latency == 1.0
    tick(engine, "r", 60, latency=math.inf, saturation=math.inf, error_rate=1.0)
    assert engine.snapshot()["r"].mode is Mode.CIRCUIT_BREAKER
    assert engine.snapshot()["r"].resistance < 1e6


def test_a_component_left_out_is_neutral(engine: Atrion, tick: Ticker) -> None:
    tick(engine, "r", 10)
    seen = engine.snapshot()["r"]
    assert seen.pressure_latency == seen.pressure_error == seen.pressure_saturation == 0.0
    tick(engine, "r", 10, saturation=3.0)
    assert engine.snapshot()["r"].pressure_saturation > 0.9


def test_the_latency_floor_follows_calm_traffic(engine: Atrion, tick: Ticker) -> None:
    tick(engine, "r", 20, latency=0.01)
    assert engine.snapshot()["r"].pressure_latency < 0.0
    tick(engine, "r", 1, latency=0.9)
    assert engine.snapshot()["r"].pressure_latency > 0.9


def test_route_joins_update_and_decision(engine: Atrion, clock: VirtualClock) -> None:
    assert engine.route("r", Telemetry(latency=0.01), 60.0)
    assert not engine.route("r", Telemetry(latency=0.01), 5.0)
    for _ in range(20):
        clock.advance(0.1)
        decision = engine.route("r", Telemetry(error_rate=1.0), 99.0)
    assert decision.mode is Mode.CIRCUIT_BREAKER


def test_telemetry_that_is_no_number_is_dropped_and_counted() -> None:
    engine = Atrion()
    engine.update_physics("r", Telemetry(latency="fast", error_rate=[], saturation=10**400))  # type: ignore[arg-type]  # wrong on purpose
    assert engine.snapshot()["r"].rejected_samples == 3
    assert engine.decide("r").allowed
