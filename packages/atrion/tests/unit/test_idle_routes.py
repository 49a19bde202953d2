"""Routes that rest: a pulse passes over them, and they decay when somebody looks."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping

import pytest

from atrion import (
    Atrion,
    Decision,
    InMemoryProvider,
    Mode,
    RouteSnapshot,
    Telemetry,
    Transition,
)
from atrion.state import ClusterScar, NodeRow
from atrion.testing import VirtualClock
from packages.atrion.tests.unit.calling import scarred

DECAY = 0.8


class Ticks:
    """Counts the ticks of each route."""

    def __init__(self) -> None:
        self.of: dict[str, int] = {}

    def on_tick(self, state: RouteSnapshot) -> None:
        self.of[state.route] = self.of.get(state.route, 0) + 1

    def on_decision(self, decision: Decision) -> None: ...
    def on_transition(self, transition: Transition) -> None: ...


class Store(InMemoryProvider):
    """Remembers what it was told and asked, and may be down."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock=clock.monotonic)
        self.down = False
        self.told: list[set[str]] = []
        self.asked: list[list[str]] = []

    async def exchange(
        self, node: str, rows: Mapping[str, NodeRow], routes: list[str]
    ) -> Mapping[str, ClusterScar]:
        if self.down:
            raise OSError("the store is down")
        self.told.append(set(rows))
        self.asked.append(routes)
        return await super().exchange(node, rows, routes)


def pulses(engine: Atrion, clock: VirtualClock, count: int = 1, dt: float = 0.1) -> None:
    async def main() -> None:
        for _ in range(count):
            clock.advance(dt)
            await engine.pulse_once()

    asyncio.run(main())


def test_a_pulse_passes_over_a_route_that_rests_and_looks_again_when_it_is_called(
    clock: VirtualClock,
) -> None:
    engine = Atrion(clock=clock)
    engine.decide("r")
    pulses(engine, clock, 10)
    assert engine.snapshot()["r"].mode is Mode.OPERATIONAL
    ticks = Ticks()
    pulses(engine, clock)
    engine.observe(ticks)
    pulses(engine, clock, 50)
    assert ticks.of == {}
    with engine.flow("r"):
        pulses(engine, clock, 3)
    assert ticks.of["r"] >= 3


def test_what_rests_has_decayed_when_it_is_read(clock: VirtualClock) -> None:
    engine = Atrion(clock=clock)
    scarred(engine, "r", 40.0)
    pulses(engine, clock, 5)
    clock.advance(2.0)
    assert engine.snapshot()["r"].scar_tissue == pytest.approx(40.0 * math.exp(-DECAY * 2.5))
    clock.advance(1.0)
    assert engine.decide("r").resistance == pytest.approx(10.0 + 40.0 * math.exp(-DECAY * 3.5))


def test_resting_ends_where_ticking_would(clock: VirtualClock) -> None:
    resting, ticking = Atrion(clock=clock), Atrion(clock=clock)
    ticking.observe(Ticks())  # which is told of every tick while the scar heals
    for engine in (resting, ticking):
        for _ in range(5):
            clock.advance(0.1)
            engine.update_physics("r", Telemetry(latency=0.01, error_rate=1.0))
    for _ in range(50):
        clock.advance(0.1)
        for engine in (resting, ticking):
            asyncio.run(engine.pulse_once())
    one, other = resting.snapshot()["r"], ticking.snapshot()["r"]
    assert one.mode is other.mode
    # Those of the second engine's telemetry came half a second later.
    assert one.scar_tissue == pytest.approx(other.scar_tissue * math.exp(-DECAY * 0.5), rel=0.01)


def test_a_scar_is_told_once_and_decays_by_itself(clock: VirtualClock) -> None:
    store = Store(clock)
    engine = Atrion(provider=store, clock=clock)
    scarred(engine, "r", 40.0)
    pulses(engine, clock, 20)
    assert store.told[0] == {"r"}
    assert store.told[1:] == [set()] * 19
    assert all(asked is store.asked[0] for asked in store.asked)


def test_a_route_that_rests_hears_of_others(clock: VirtualClock) -> None:
    hub = InMemoryProvider(clock=clock.monotonic)
    one = Atrion(provider=hub, node="a", clock=clock, gamma=1.0)
    two = Atrion(provider=hub, node="b", clock=clock, gamma=1.0)
    two.decide("r")
    pulses(two, clock, 10)
    one.update_physics("r", Telemetry(latency=0.01))
    scarred(one, "r", 30.0)
    pulses(one, clock)
    before = one.snapshot()["r"].scar_tissue
    asyncio.run(two.pulse_once())
    assert two.snapshot()["r"].blended_scar == pytest.approx(before)
    clock.advance(1.0)
    assert two.snapshot()["r"].blended_scar == pytest.approx(before * math.exp(-DECAY))


def test_a_store_that_comes_back_is_told_of_what_rests(clock: VirtualClock) -> None:
    store = Store(clock)
    engine = Atrion(provider=store, clock=clock)
    scarred(engine, "r", 100.0)
    engine.decide("unscarred")
    pulses(engine, clock, 10)
    store.down = True
    pulses(engine, clock, 3)
    store.down = False
    store.told.clear()
    pulses(engine, clock, 3)
    assert store.told == [{"r"}, set(), set()]


def test_calls_that_hang_on_a_route_that_rested_are_noticed(clock: VirtualClock) -> None:
    engine = Atrion(clock=clock)
    for _ in range(20):
        with engine.flow("r"):
            clock.advance(0.05)
    pulses(engine, clock, 30)
    hanging = [engine.flow("r") for _ in range(5)]
    for flow in hanging:
        flow.__enter__()
    pulses(engine, clock, 100)
    assert engine.snapshot()["r"].pressure_error > 0.5
    for flow in hanging:
        flow.__exit__(None, None, None)


def test_what_persistence_has_not_taken_does_not_rest(clock: VirtualClock) -> None:
    kept = InMemoryProvider(clock=clock.monotonic)
    engine = Atrion(persistence=kept, clock=clock)
    pulses(engine, clock)  # the persistence is written once a second
    scarred(engine, "r", 40.0)
    pulses(engine, clock, 5)
    assert asyncio.run(kept.get_vector("r")) is None
    pulses(engine, clock, 10)
    found = asyncio.run(kept.get_vector("r"))
    assert found is not None
    assert found.scar_tissue > 0.0
