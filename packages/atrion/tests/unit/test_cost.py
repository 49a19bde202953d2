"""Calls that cost more or less than others count as more or less than one."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Any

import pytest

from atrion import Atrion, ConfigurationError, FlowRejected
from atrion.control.call import Call
from atrion.testing import VirtualClock
from atrion.vitals import route_vitals


def begun(engine: Atrion, cost: float | None, route: str = "gpt", tier: str = "normal") -> Call:
    call = engine.flow(route, tier, cost=cost)
    assert call.try_begin()
    return call


@pytest.mark.parametrize("cost", [0.0, -1.0, math.nan, math.inf, 1e16, 1e-10])
def test_an_unusable_cost_is_refused_at_once(engine: Atrion, cost: Any) -> None:
    with pytest.raises(ConfigurationError, match="cost"):
        engine.flow("gpt", cost=cost)
    with pytest.raises(ConfigurationError, match="cost"):
        engine.decide("gpt", cost=cost)
    with engine.flow("gpt") as call, pytest.raises(ConfigurationError, match="cost"):
        call.report(cost=cost)


def test_a_cost_that_is_no_number_is_refused_at_once(engine: Atrion) -> None:
    with pytest.raises((ConfigurationError, TypeError)):  # the compiled core checks types by itself
        engine.flow("gpt", cost="32k")  # type: ignore[arg-type]


def test_what_is_in_flight_is_what_the_calls_cost(engine: Atrion, clock: VirtualClock) -> None:
    long, short = begun(engine, 32_000), begun(engine, 1_000)
    seen = engine.snapshot()["gpt"]
    assert seen.in_flight == 33_000
    assert "33000 in flight" in repr(seen)
    row = route_vitals(engine.routes["gpt"], seen)
    assert (row["in_flight"], row["pool_in_flight"]) == (33_000, 33_000)
    assert row["limit"] >= row["in_flight"]
    clock.advance(1.0)
    long.finish()
    assert engine.snapshot()["gpt"].in_flight == 1_000
    short.finish()
    assert engine.snapshot()["gpt"].in_flight == 0


def test_capacity_is_in_the_unit_of_the_costs(engine: Atrion) -> None:
    before = engine.snapshot()
    assert not before
    for _ in range(10):
        begun(engine, 500).finish()
    begun(engine, None, "plain").finish()
    seen = engine.snapshot()
    assert seen["gpt"].capacity == pytest.approx(500 * seen["plain"].capacity)


def test_a_call_without_a_cost_is_of_usual_cost_beside_others(engine: Atrion) -> None:
    begun(engine, 100)
    begun(engine, 300)
    begun(engine, None)
    usual = (100**2 + 300**2) / (100 + 300)  # of the work, in which each call counts by its cost
    assert engine.snapshot()["gpt"].in_flight == pytest.approx(400 + usual)


def test_equal_costs_decide_as_no_costs() -> None:
    def admitted(cost: float | None) -> list[bool]:
        clock = VirtualClock()
        engine = Atrion(clock=clock)
        calls: list[tuple[float, Call]] = []
        said = []
        for step in range(4000):
            clock.advance(0.002)
            now = 0.002 * step
            while calls and calls[0][0] <= now:
                calls.pop(0)[1].finish()
            call = engine.flow("api", "normal", key=step % 97, cost=cost)
            said.append(call.try_begin())
            if said[-1]:
                free = calls[-8][0] if len(calls) >= 8 else now  # eight workers
                calls.append((max(free, now) + 0.05, call))
        return said

    without = admitted(None)
    assert not all(without)
    assert admitted(7.0) == without


def learned() -> Atrion:
    """An idle engine that has learned how many calls of cost 100 four workers serve."""
    clock = VirtualClock()
    engine = Atrion(clock=clock)
    queue: list[tuple[float, Call]] = []
    for step in range(6000):
        clock.advance(0.005)
        now = 0.005 * step
        while queue and queue[0][0] <= now:
            queue.pop(0)[1].finish()
        call = engine.flow("gpt", "normal", cost=100.0)
        if call.try_begin():
            free = queue[-4][0] if len(queue) >= 4 else now
            queue.append((max(free, now) + 0.05, call))
    for _, call in queue:
        call.finish()
    for _ in range(100):  # rest, until nothing is left of the overload
        clock.advance(0.1)
        begun(engine, 100.0).finish()
        engine.snapshot()
    return engine


def fill(engine: Atrion, cost: float) -> int:
    """How many calls of ``cost`` may begin at once."""
    for count in range(10_000):
        if not engine.flow("gpt", "normal", cost=cost).try_begin():
            return count
    raise AssertionError("there is no limit")


def test_few_costly_calls_fill_what_many_cheap_ones_do() -> None:
    usual = fill(learned(), 100.0)
    assert 20 < usual < 200
    assert fill(learned(), 500.0) < usual / 2
    assert fill(learned(), 25.0) > usual * 2


def test_a_costly_call_needs_more_room_than_a_cheap_one_and_yet_may_use_an_idle_route() -> None:
    engine = learned()
    assert engine.decide("gpt", "normal", cost=1e6).allowed
    fill(engine, 100.0)
    cheap, usual, dear = (
        engine.decide("gpt", "critical", cost=cost).resistance for cost in (1.0, 100.0, 1e6)
    )
    assert cheap < usual <= dear
    assert engine.decide("gpt", "critical").resistance == pytest.approx(usual, rel=0.01)


def test_the_real_cost_of_a_call_counts_when_it_is_reported(engine: Atrion) -> None:
    with engine.flow("gpt", cost=1000) as call:
        call.report(cost=1000)
        assert engine.snapshot()["gpt"].in_flight == 1000
        call.report(cost=3000)
    assert engine.snapshot()["gpt"].in_flight == 0
    call.report(cost=5000)  # too late, and harmless
    with engine.flow("chat") as call:
        call.report(cost=200)
        assert engine.snapshot()["chat"].in_flight == 200
    assert engine.snapshot()["chat"].in_flight == 0


def test_estimates_that_are_always_too_low_are_as_good_as_right_ones(engine: Atrion) -> None:
    for _ in range(2000):
        with engine.flow("gpt", cost=10) as call:
            call.report(cost=40)
    call = begun(engine, 10)
    call.report(cost=40)
    begun(engine, None, "plain").finish()
    seen = engine.snapshot()
    assert seen["gpt"].in_flight == pytest.approx(10, rel=0.05)
    assert seen["gpt"].capacity == pytest.approx(10 * seen["plain"].capacity, rel=0.05)


def test_a_call_that_is_shed_costs_nothing() -> None:
    engine = learned()
    fill(engine, 100.0)
    before = engine.snapshot()["gpt"].in_flight
    with pytest.raises(FlowRejected), engine.flow("gpt", "bulk", cost=100.0):
        pass
    assert engine.snapshot()["gpt"].in_flight == before


def test_a_failed_call_leaves_nothing_in_flight(engine: Atrion) -> None:
    with pytest.raises(RuntimeError), engine.flow("gpt", cost=5.0):
        raise RuntimeError
    assert engine.snapshot()["gpt"].in_flight == 0
    assert engine.routes["gpt"].pool.load() == 0.0


def test_a_reset_keeps_what_is_in_flight(engine: Atrion) -> None:
    call = begun(engine, 250)
    engine.reset("gpt")
    engine.configure("gpt", pool="gpu")
    assert engine.snapshot()["gpt"].in_flight == 250
    call.finish()
    assert engine.snapshot()["gpt"].in_flight == 0
    assert engine.routes["gpt"].pool.load() == 0.0


def test_routes_of_one_pool_may_have_costs_of_different_units(engine: Atrion) -> None:
    for route, cost in (("tokens", 4000.0), ("rows", 3.0)):
        engine.configure(route, pool="db")
        for _ in range(8):
            begun(engine, cost, route).finish()
    calls = [begun(engine, 4000.0, "tokens"), begun(engine, 3.0, "rows"), begun(engine, None, "plain")]
    assert engine.routes["rows"].pool.load() == pytest.approx(2.0)
    assert engine.snapshot()["rows"].in_flight == 3
    for call in calls:
        call.finish()
    assert engine.routes["rows"].pool.load() == 0.0


def test_a_stream_of_a_call_with_a_cost_takes_capacity_until_its_end(
    engine: Atrion, clock: VirtualClock
) -> None:
    call = begun(engine, 2000)
    clock.advance(0.25)
    call.answer()
    assert call.latency == 0.25
    assert engine.routes["gpt"].pool.load() == pytest.approx(1.0)
    clock.advance(5.0)
    call.finish()
    assert call.latency == 0.25
    assert engine.snapshot()["gpt"].in_flight == 0
    assert engine.routes["gpt"].pool.load() == 0.0


# --- protect -------------------------------------------------------------------------------------------------


def test_protect_takes_the_cost_of_each_call(engine: Atrion) -> None:
    seen = []

    @engine.protect("gpt", cost=lambda prompt, most=0: len(prompt) + most, key=lambda prompt, most=0: prompt)
    def complete(prompt: str, most: int = 0) -> None:
        seen.append(engine.snapshot()["gpt"].in_flight)

    @engine.protect("chat", cost=lambda prompt: len(prompt))
    async def chat(prompt: str) -> None:
        seen.append(engine.snapshot()["chat"].in_flight)

    complete("abc", most=7)
    complete("abcde")
    asyncio.run(chat("ab"))
    assert seen == [10, 5, 2]


def test_a_cost_that_cannot_be_told_is_none(engine: Atrion, caplog: pytest.LogCaptureFixture) -> None:
    costs: list[Any] = [None, -1, "much", 3]

    @engine.protect("gpt", cost=lambda: costs.pop(0))
    def complete() -> float:
        return engine.snapshot()["gpt"].in_flight

    with caplog.at_level(logging.WARNING, "atrion"):
        assert [complete() for _ in range(4)] == [1, 1, 1, 3]
        costs.clear()
        complete()
    assert len(caplog.records) == 1
    assert "cost" in caplog.text


def test_a_cost_must_be_a_plain_function(engine: Atrion) -> None:
    async def late() -> float:
        return 1.0

    for wrong in (5, late):
        with pytest.raises(ConfigurationError, match="cost"):
            engine.protect("gpt", cost=wrong)  # type: ignore[call-overload]
