"""Choosing among routes: a sick one is avoided, probed and taken back, whatever made it sick."""

from __future__ import annotations

import contextlib
from collections import Counter

import pytest

from atrion import Atrion, Mode, Telemetry
from atrion.errors import FlowRejected
from atrion.testing import VirtualClock
from packages.atrion.tests.unit.calling import Breaker, scarred

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
    engine: Atrion, clock: VirtualClock, broken: Breaker
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
    engine: Atrion, clock: VirtualClock, broken: Breaker
) -> None:
    broken(engine, "a")
    chosen: Counter[str] = Counter()
    for i in range(3000):
        clock.advance(0.01)
        chosen[engine.select(ROUTES)] += 1
        if i % 10 == 0:
            engine.update_physics("a", Telemetry(error_rate=1.0))
    assert 0 < chosen["a"] <= 0.03 * 3000


def test_select_prefers_the_lesser_resistance(engine: Atrion) -> None:
    scarred(engine, "b", 30.0)
    chosen = [engine.select(["a", "b"]) for _ in range(1000)]
    assert 0.93 < chosen.count("a") / 1000 < 0.97  # 1 / (1 + e^-3)
    assert engine.select(["a", "b"], u=0.0) == "a"
    assert engine.select(["a", "b"], u=0.999) == "b"
    assert engine.select(["a", "b"], u=1.5) == "b"
    assert engine.select(["a"]) == "a"
    assert engine.select(["b", "a"], beta=0.0, u=0.4) == "b"


def test_select_leaves_broken_routes_out(engine: Atrion, broken: Breaker) -> None:
    broken(engine, "b")
    chosen = [engine.select(["a", "b"], beta=0.0) for _ in range(50)]
    assert chosen.count("b") <= 1  # at most a probe
    broken(engine, "c")
    for _ in range(60):  # past the probes of this instant
        with contextlib.suppress(FlowRejected):
            engine.select(["b", "c"])
    with pytest.raises(FlowRejected) as caught:
        engine.select(["b", "c"])
    assert caught.value.decision.mode is Mode.CIRCUIT_BREAKER
    assert 0.05 <= caught.value.decision.retry_after <= 60.0


def test_a_broken_route_comes_back_through_select() -> None:
    clock = VirtualClock()
    engine = Atrion(clock=clock)
    for _ in range(40):
        clock.advance(0.1)
        engine.update_physics("r", Telemetry(error_rate=1.0))
    picked = []
    for _ in range(20):
        clock.advance(1.0)
        with contextlib.suppress(FlowRejected):
            picked.append(engine.select(["r"]))
    assert "r" in picked
