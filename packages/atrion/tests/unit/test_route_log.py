"""One WARNING when a route breaks, recovers, begins or ends shedding; none a request."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import pytest

from atrion import Atrion, FlowRejected, PhysicsVector, Telemetry, Tier
from atrion.testing import VirtualClock
from packages.atrion.tests.unit.calling import Breaker


def events(log: pytest.LogCaptureFixture) -> list[str]:
    return [record.__dict__["event"] for record in log.records]


def shed(engine: Atrion, clock: VirtualClock, seconds: float) -> None:
    """Ask at 100 requests per second, of two tiers."""
    for turn in range(round(100 * seconds)):
        clock.advance(0.01)
        with (
            contextlib.suppress(FlowRejected),
            engine.flow("r", Tier.CRITICAL if turn % 4 == 0 else Tier.LOW),
        ):
            pass


def test_the_beginning_and_the_end_of_shedding(
    engine: Atrion, clock: VirtualClock, log: pytest.LogCaptureFixture
) -> None:
    engine.restore("r", PhysicsVector(0.0, 0.0, 60.0, 0.0))
    shed(engine, clock, 0.5)
    (record,) = log.records
    assert record.levelno == logging.WARNING
    said = record.__dict__
    assert said["event"] == "begins_shedding"
    assert (said["route"], said["tiers"], said["reason"]) == ("r", ["low"], "resistance")
    assert 0.5 < said["share"] < 1.0
    assert said["rate"] > 10.0
    assert said["enforced"] is True
    assert record.getMessage().startswith("r begins shedding: ")
    for _ in range(300):
        clock.advance(0.1)
        engine.decide("r", "critical")
    assert events(log) == ["begins_shedding", "ends_shedding"]
    assert log.records[1].__dict__["shed"] == engine.snapshot()["r"].shed
    assert "ends shedding after" in log.messages[1]


def test_shedding_now_and_then_is_one_time_of_shedding(
    engine: Atrion, clock: VirtualClock, log: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        engine.reset("r")
        engine.restore("r", PhysicsVector(0.0, 0.0, 60.0, 0.0))
        shed(engine, clock, 0.5)
        clock.advance(5.0)
    assert events(log) == ["begins_shedding"]


def test_the_end_is_told_by_the_pulse_where_nobody_calls_any_more(
    engine: Atrion, clock: VirtualClock, log: pytest.LogCaptureFixture
) -> None:
    engine.restore("r", PhysicsVector(0.0, 0.0, 60.0, 0.0))
    shed(engine, clock, 0.5)
    for _ in range(120):
        clock.advance(0.1)
        asyncio.run(engine.pulse_once())
    assert events(log) == ["begins_shedding", "ends_shedding"]


def test_a_breaker_that_opens_and_closes(
    engine: Atrion, clock: VirtualClock, broken: Breaker, log: pytest.LogCaptureFixture
) -> None:
    broken(engine, "r")
    assert events(log) == ["breaks"]
    assert "its circuit breaker opens" in log.messages[0]
    assert log.records[0].__dict__["reason"] == "failing"
    for _ in range(600):
        clock.advance(0.1)
        engine.update_physics("r", Telemetry(error_rate=0.0))
    assert events(log) == ["breaks", "recovers"]


def test_shadow_mode_is_told_as_such(clock: VirtualClock, log: pytest.LogCaptureFixture) -> None:
    engine = Atrion(clock=clock, enforce=False)
    engine.restore("r", PhysicsVector(0.0, 0.0, 60.0, 0.0))
    shed(engine, clock, 0.5)
    assert events(log) == ["begins_shedding"]
    assert log.records[0].__dict__["enforced"] is False
    assert "shadow mode" in log.messages[0]
