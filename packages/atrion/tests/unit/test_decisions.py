"""Decisions: who is admitted to a route by tier and key, who is shed, and for how long."""

from __future__ import annotations

import itertools
from contextlib import ExitStack
from enum import StrEnum
from typing import Any
from uuid import uuid4

import pytest

from atrion import Atrion, ConfigurationError, FlowRejected, Mode, PhysicsConfig, Reason, Tier
from atrion.physics import BAND_WIDTH, voltage
from atrion.testing import VirtualClock
from packages.atrion.tests.unit.calling import Ticker, enter, scarred


def test_an_idle_route_serves_everyone(engine: Atrion) -> None:
    for tier in Tier:
        for name in (tier, tier.name, tier.name.lower()):
            decision = engine.decide("r", name)
            assert decision
            assert decision.reason is Reason.FLOWS
            assert decision.retry_after == 0.0
            assert decision.mode is Mode.BOOTSTRAP
            assert voltage(tier, 0.0) <= decision.voltage < voltage(tier, 1.0)
    seen = engine.snapshot()["r"]
    assert (seen.in_flight, seen.admitted, seen.shed) == (0, 0, 0)


def test_a_scar_sheds_the_low_tiers_first_and_says_when_to_return(
    engine: Atrion, clock: VirtualClock, tick: Ticker
) -> None:
    tick(engine, "r", PhysicsConfig().bootstrap_ticks + 2, error_rate=0.0)
    scarred(engine, "r", 50.0)
    shed = engine.decide("r", Tier.BULK, key="alice")
    assert not shed
    assert shed.reason is Reason.RESISTANCE
    assert 0.05 <= shed.retry_after <= 60.0
    assert "shed (resistance)" in str(shed)
    assert "retry after" in repr(shed)
    assert engine.decide("r", Tier.CRITICAL)
    clock.advance(shed.retry_after + 0.2)
    assert engine.decide("r", Tier.BULK, key="alice")


def test_a_key_keeps_its_place_for_minutes_and_nobody_is_unlucky_for_long(
    engine: Atrion, clock: VirtualClock
) -> None:
    clock.now = 600.0 * 100
    first = engine.decide("r", key="alice").voltage
    assert engine.decide("r", key="alice").voltage == first
    assert engine.decide("other", key="alice").voltage == first
    assert engine.decide("r", key="bob").voltage != first
    clock.advance(30.0)
    moved = engine.decide("r", key="alice").voltage - first
    assert moved == pytest.approx(BAND_WIDTH / 20.0) or moved == pytest.approx(BAND_WIDTH / 20.0 - BAND_WIDTH)
    met = set()
    for _ in range(20):
        clock.advance(30.0)
        met.add(int(engine.decide("r", key="alice").voltage - voltage(Tier.NORMAL, 0.0)))
    assert met == set(range(int(BAND_WIDTH)))


def test_callers_without_a_key_spread_over_the_band(engine: Atrion) -> None:
    volts = sorted(engine.decide("r", Tier.LOW).voltage for _ in range(100))
    assert volts[0] < voltage(Tier.LOW, 0.05)
    assert volts[-1] > voltage(Tier.LOW, 0.95)
    assert max(b - a for a, b in itertools.pairwise(volts)) < 1.0


def test_too_much_in_flight_saturates(engine: Atrion) -> None:
    with ExitStack() as stack:
        stack.enter_context(engine.flow("r", Tier.CRITICAL))
        began = 1
        while engine.snapshot()["r"].resistance < 40.0:
            stack.enter_context(engine.flow("r", Tier.CRITICAL))
            began += 1
        assert engine.snapshot()["r"].in_flight == began > 10
        shed = engine.decide("r", Tier.BULK)
        assert shed.reason is Reason.SATURATED
        assert 0.05 <= shed.retry_after <= 60.0
        with pytest.raises(FlowRejected, match="saturated") as caught:
            enter(engine, "r", Tier.BULK)
        assert caught.value.decision.reason is Reason.SATURATED
        assert engine.decide("r", Tier.CRITICAL)
    assert engine.decide("r", Tier.BULK)
    seen = engine.snapshot()["r"]
    assert (seen.in_flight, seen.admitted, seen.shed) == (0, began, 2)


def test_ids_and_keys_may_be_more_than_text(engine: Atrion) -> None:
    class Routes(StrEnum):
        SEARCH = "search"

    user = uuid4()
    assert engine.decide(Routes.SEARCH, key=user).voltage == engine.decide("search", key=str(user)).voltage
    assert engine.decide("search", key=7).voltage == engine.decide("search", key="7").voltage


@pytest.mark.parametrize("bad", [None, 42, [], {}, "", "x" * 257])
def test_what_is_no_route_is_refused_in_words(engine: Atrion, bad: Any) -> None:
    for call in (engine.decide, engine.flow):
        with pytest.raises(ConfigurationError, match="route_id"):
            call(bad)
    for call in (engine.decide, engine.flow):
        with pytest.raises(ConfigurationError, match=r"tier must be one of critical, .*, got 42"):
            call("r", 42)  # type: ignore[arg-type]  # wrong on purpose
