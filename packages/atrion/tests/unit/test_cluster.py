from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping

import pytest

from atrion import Atrion, InMemoryProvider, Mode, PhysicsVector, Telemetry
from atrion.state import ClusterScar, NodeRow, StateManager, SystemClock
from atrion.testing import VirtualClock
from packages.atrion.tests.unit.calling import Breaker, scarred
from packages.atrion.tests.unit.clusters import blended, pair, pulse


@pytest.mark.parametrize("gamma, first, second", [(0.3, 4.1, 2.9), (0.0, 5.0, 2.0), (1.0, 2.0, 5.0)])
def test_two_engines_blend(clock: VirtualClock, gamma: float, first: float, second: float) -> None:
    one, two = pair(clock, gamma)
    pulse(one, two, one)
    assert blended(two) == pytest.approx(second)
    assert blended(one) == pytest.approx(first)
    assert two.snapshot()["r"].scar_tissue == 2.0


def test_a_pulse_alone_changes_nothing_and_repeats_do_not_drift(clock: VirtualClock) -> None:
    one, two = pair(clock)
    pulse(one)
    assert blended(one) == 5.0
    for _ in range(10):
        pulse(two, one)
    assert blended(two) == pytest.approx(2.9)
    assert blended(one) == pytest.approx(4.1)
    assert two.state.get_local("r") is not None


def test_one_engines_trouble_raises_the_others_resistance(clock: VirtualClock, broken: Breaker) -> None:
    one, two = pair(clock)
    broken(one, "r")
    two.reset("r")
    before = two.snapshot()["r"].resistance
    pulse(one, two)
    assert two.snapshot()["r"].resistance > before + 30.0
    assert two.snapshot()["r"].mode is not Mode.CIRCUIT_BREAKER


def test_a_dead_engine_fades_and_is_forgotten(clock: VirtualClock) -> None:
    one, two = pair(clock, 1.0)
    pulse(one, two)
    seen = [blended(two)]
    for _ in range(3):
        clock.advance(1.0)
        pulse(two)
        seen.append(blended(two))
    assert seen == sorted(seen, reverse=True)
    assert seen[3] == pytest.approx(5.0 * math.exp(-0.8 * 3.0))
    clock.advance(61.0)
    pulse(two)
    assert blended(two) == two.snapshot()["r"].scar_tissue


def test_an_unshared_route_stays_alone(clock: VirtualClock) -> None:
    one, two = pair(clock)
    two.configure("r", shared=False)
    scarred(two, "r", 2.0)
    pulse(one, two)
    assert blended(two) == 2.0


def test_a_route_that_went_is_forgotten(clock: VirtualClock) -> None:
    engine = Atrion(clock=clock, max_routes=1)
    for name in ("a", "b"):
        engine.update_physics(name, Telemetry(latency=0.1))
        engine.restore(name, PhysicsVector(0.0, 0.0, 3.0, 0.0))
        clock.advance(0.1)
        pulse(engine)
    assert engine.state.get_local("a") is None
    assert engine.state.get_local("b") is not None


def test_a_jump_is_heard_before_the_next_pulse(clock: VirtualClock) -> None:
    one, two = pair(clock)

    async def main() -> None:
        await two.connect()
        assert await two.pulse_once()
        scarred(one, "r", 40.0)
        assert await one.pulse_once()

    asyncio.run(main())
    assert blended(two) == pytest.approx(0.3 * 40.0 + 0.7 * 2.0)


def test_what_was_heard_fades_without_a_store(clock: VirtualClock) -> None:
    one, two = pair(clock, 1.0)
    pulse(one, two)
    clock.advance(2.0)
    two.update_physics("r", Telemetry(latency=0.01))
    assert blended(two) == pytest.approx(5.0 * math.exp(-1.6))
    for _ in range(60):
        clock.advance(1.0)
        two.update_physics("r", Telemetry(latency=0.01))
    assert blended(two) == two.snapshot()["r"].scar_tissue


def test_only_what_decay_does_not_explain_is_sent(clock: VirtualClock) -> None:
    sent: list[set[str]] = []

    class Hears(InMemoryProvider):
        async def exchange(
            self, node: str, rows: Mapping[str, NodeRow], routes: list[str]
        ) -> Mapping[str, ClusterScar]:
            sent.append(set(rows))
            return await super().exchange(node, rows, routes)

    engine = Atrion(provider=Hears(clock=clock.monotonic), clock=clock)
    engine.update_physics("quiet", Telemetry(latency=0.01))
    scarred(engine, "r", 40.0)
    for _ in range(5):
        clock.advance(0.1)
        pulse(engine)
    assert sent[0] == {"r", "quiet"}
    assert sent[1:] == [set()] * 4


def test_a_cold_node_takes_what_is_remembered_decayed_for_its_age(clock: VirtualClock) -> None:
    hub = InMemoryProvider(clock=clock.monotonic)
    before = Atrion(provider=hub, node="a", clock=clock)
    scarred(before, "r", 40.0)
    pulse(before)
    clock.advance(1.0)
    after = Atrion(provider=InMemoryProvider(), persistence=hub, node="a", clock=clock)
    asyncio.run(after.connect())
    clock.advance(0.5)
    assert after.decide("r").resistance == pytest.approx(10.0 + 40.0 * math.exp(-0.8 * 1.5))


def test_a_manager_remembers_what_it_synchronised() -> None:
    manager = StateManager(InMemoryProvider(), "n", SystemClock().monotonic)
    vector = PhysicsVector(1.0, 0.0, 0.0, 0.0)
    assert manager.get_local("r") is None
    asyncio.run(manager.sync("r", vector))
    assert manager.get_local("r") == vector
    assert asyncio.run(manager.provider.get_vector("r")) == vector
