"""The end of shedding is logged also where no further request comes: by the pulse, and when the route is dropped."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from atrion import Atrion, FlowRejected, PhysicsVector, Tier
from atrion.testing import VirtualClock


def events(log: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.__dict__["route"], record.__dict__["event"]) for record in log.records]


def shed(engine: Atrion, clock: VirtualClock, route: str, seconds: float = 0.5) -> None:
    """Ask at 100 requests per second, of which some are shed."""
    engine.restore(route, PhysicsVector(0.0, 0.0, 60.0, 0.0))
    for turn in range(round(100 * seconds)):
        clock.advance(0.01)
        with (
            contextlib.suppress(FlowRejected),
            engine.flow(route, Tier.CRITICAL if turn % 4 == 0 else Tier.LOW),
        ):
            pass


def pulse(engine: Atrion, clock: VirtualClock, seconds: float) -> None:
    async def main() -> None:
        for _ in range(round(10 * seconds)):
            clock.advance(0.1)
            await engine.pulse_once()

    asyncio.run(main())


@pytest.mark.parametrize("options", [{"shared": True}, {"shared": False}, {"gamma": 0.0}, {"enforce": False}])
def test_the_pulse_tells_the_end_whatever_the_settings_of_the_route(
    clock: VirtualClock, log: pytest.LogCaptureFixture, options: dict[str, Any]
) -> None:
    engine = Atrion(clock=clock)
    engine.configure("r", **options)
    shed(engine, clock, "r")
    pulse(engine, clock, 9.0)
    assert events(log) == [("r", "begins_shedding")]
    pulse(engine, clock, 2.0)
    assert events(log) == [("r", "begins_shedding"), ("r", "ends_shedding")]
    pulse(engine, clock, 20.0)
    assert len(events(log)) == 2


def test_the_pulse_tells_both_where_all_requests_came_within_a_tick(
    clock: VirtualClock, log: pytest.LogCaptureFixture
) -> None:
    engine = Atrion(clock=clock)
    engine.configure("r", shared=False)
    engine.restore("r", PhysicsVector(0.0, 0.0, 60.0, 0.0))
    engine.flow("r", "low").try_begin()
    pulse(engine, clock, 12.0)
    assert events(log) == [("r", "begins_shedding"), ("r", "ends_shedding")]


def test_a_route_that_is_dropped_while_it_sheds_ends_shedding(
    clock: VirtualClock, log: pytest.LogCaptureFixture
) -> None:
    engine = Atrion(clock=clock, max_routes=2)
    shed(engine, clock, "first")
    for route in ("second", "third"):
        clock.advance(1.0)
        engine.decide(route)
    assert "first" not in engine.snapshot()
    assert events(log) == [("first", "begins_shedding"), ("first", "ends_shedding")]


def test_routes_that_are_not_shared_come_to_rest(clock: VirtualClock) -> None:
    engine = Atrion(clock=clock)
    engine.configure("*", shared=False)
    for number in range(10):
        engine.decide(f"r{number}")
    pulse(engine, clock, 10.0)
    assert all(route.at_rest for route in engine.routes.values())
    clock.advance(1.0)
    engine.decide("r3")
    assert [route.id for route in engine.routes.values() if not route.at_rest] == ["r3"]
