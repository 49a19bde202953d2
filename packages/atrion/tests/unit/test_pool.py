"""Routes of one pool share its saturation, and nothing else."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from atrion import Atrion, ConfigurationError, Mode, Telemetry
from atrion.testing import VirtualClock

CROWD = 450
"""Calls at once that are too many for a pool that has just begun."""


@pytest.fixture
def shop(clock: VirtualClock) -> Atrion:
    engine = Atrion(clock=clock)
    for route in ("checkout", "search"):
        engine.configure(route, pool="database")
    return engine


def crowd(engine: Atrion, route: str, calls: int, stack: ExitStack) -> None:
    for _ in range(calls):
        stack.enter_context(engine.flow(route, "critical"))


def test_what_crowds_one_route_is_felt_on_the_other(shop: Atrion) -> None:
    with ExitStack() as stack:
        crowd(shop, "search", CROWD, stack)
        assert not shop.decide("checkout", "bulk").allowed
        assert shop.decide("checkout", "critical").allowed
        assert shop.decide("elsewhere", "bulk").allowed
        seen = shop.snapshot()
        assert seen["checkout"].resistance == seen["search"].resistance
        assert (seen["search"].in_flight, seen["checkout"].in_flight) == (CROWD, 0)
    assert shop.decide("checkout", "bulk").allowed


def test_errors_and_scars_stay_with_their_route(shop: Atrion, clock: VirtualClock) -> None:
    for _ in range(20):
        clock.advance(0.1)
        shop.update_physics("search", Telemetry(error_rate=1.0))
    assert shop.snapshot()["search"].mode is Mode.CIRCUIT_BREAKER
    assert shop.decide("checkout", "bulk").allowed


def test_the_pool_learns_from_all_its_routes(shop: Atrion, clock: VirtualClock) -> None:
    for _ in range(200):
        flows = [shop.flow(route) for route in ("checkout", "search")]
        for flow in flows:
            flow.decide()
        clock.advance(0.05)
        for flow in flows:
            flow.finish()
    seen = shop.snapshot()
    assert seen["checkout"].service_time == seen["search"].service_time == pytest.approx(0.05)


def test_a_route_that_starts_anew_keeps_its_calls(shop: Atrion) -> None:
    with ExitStack() as stack:
        crowd(shop, "search", CROWD, stack)
        shop.reset("search")
        assert not shop.decide("checkout", "bulk").allowed
    assert shop.decide("checkout", "bulk").allowed
    assert shop.snapshot()["search"].in_flight == 0


def test_a_route_may_leave_its_pool_for_another(shop: Atrion) -> None:
    shop.configure("search", pool="index")
    with ExitStack() as stack:
        crowd(shop, "search", CROWD, stack)
        assert shop.decide("checkout", "bulk").allowed


@pytest.mark.parametrize("name", ["", "x" * 257, 7])
def test_a_pool_has_a_name(name: object) -> None:
    with pytest.raises(ConfigurationError, match="pool"):
        Atrion().configure("r", pool=name)  # type: ignore[arg-type]  # wrong on purpose
