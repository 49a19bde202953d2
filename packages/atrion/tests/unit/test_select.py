"""Choosing among routes: a sick one is avoided, probed and taken back, whatever made it sick."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from atrion import Atrion, Mode, Telemetry
from atrion.errors import FlowRejected
from atrion.testing import VirtualClock

ROUTES = ["a", "b", "c"]


def traffic(engine: Atrion, clock: VirtualClock, seconds: float, fails: set[str]) -> Counter[str]:
    """A hundred calls a second, selected and guarded; which route served how many."""
    sent: Counter[str] = Counter()
    for _ in range(round(seconds * 100)):
        clock.advance(0.01)
        route = engine.select(ROUTES)
        try:
            with engine.flow(route) as flow:
                sent[route] += 1
                if route in fails:
                    flow.fail()
        except FlowRejected:
            pass
    return sent


def test_equal_routes_share_evenly_although_their_requests_draw_voltage_too(
    engine: Atrion, clock: VirtualClock
) -> None:
    sent = traffic(engine, clock, 30.0, set())
    assert max(sent.values()) / min(sent.values()) < 1.2


def test_a_probe_that_select_sends_is_let_through_by_the_route(
    engine: Atrion, clock: VirtualClock, broken: Callable[[Atrion, str], None]
) -> None:
    broken(engine, "a")
    traffic(engine, clock, 1.0, {"a"})
    for _ in range(500):
        clock.advance(0.01)
        if engine.select(ROUTES) == "a":
            break
    else:
        pytest.fail("a broken route was never tried")
    with engine.flow("a"):
        pass
    with pytest.raises(FlowRejected):
        engine.flow("a").__enter__()


def test_a_failing_route_is_avoided_and_comes_back(engine: Atrion, clock: VirtualClock) -> None:
    traffic(engine, clock, 5.0, set())
    traffic(engine, clock, 1.0, {"a"})
    sick = traffic(engine, clock, 20.0, {"a"})
    assert 0.0 < sick["a"] / sick.total() < 0.1
    traffic(engine, clock, 8.0, set())
    well = traffic(engine, clock, 5.0, set())
    assert well["a"] / well.total() == pytest.approx(1 / 3, abs=0.05)


def test_a_route_that_chance_would_never_try_again_is_tried(engine: Atrion, clock: VirtualClock) -> None:
    for _ in range(5):
        clock.advance(0.1)
        engine.update_physics("a", Telemetry(latency=0.05, error_rate=0.9))
    assert engine.snapshot()["a"].mode is Mode.OPERATIONAL
    assert engine.snapshot()["a"].resistance > 80.0
    traffic(engine, clock, 8.0, set())
    assert engine.snapshot()["a"].resistance < 20.0


def test_a_router_that_measures_by_itself_spends_few_calls_on_probes(
    engine: Atrion, clock: VirtualClock, broken: Callable[[Atrion, str], None]
) -> None:
    broken(engine, "a")
    chosen: Counter[str] = Counter()
    for i in range(3000):
        clock.advance(0.01)
        chosen[engine.select(ROUTES)] += 1
        if i % 10 == 0:
            engine.update_physics("a", Telemetry(error_rate=1.0))
    assert 0 < chosen["a"] <= 0.03 * 3000
