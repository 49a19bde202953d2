"""Stores of third parties: four methods are enough to share scars."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest

from atrion import Atrion, ConfigurationError, PhysicsVector, Telemetry
from atrion.state import ClusterScar, ClusterSync, NodeRow
from atrion.testing import VirtualClock
from packages.atrion.tests.unit.calling import scarred
from packages.atrion.tests.unit.clusters import blended, pulse


class Plain:
    """Four methods, as a third party writes them."""

    def __init__(self) -> None:
        self.kept: dict[str, PhysicsVector] = {}

    async def connect(self) -> None:
        pass

    async def disconnect(self) -> None:
        pass

    async def get_vector(self, route_id: str) -> PhysicsVector | None:
        return self.kept.get(route_id)

    async def update_vector(self, route_id: str, vector: PhysicsVector) -> None:
        self.kept[route_id] = vector


class Told(Plain):
    """Tells of changes besides."""

    def __init__(self) -> None:
        super().__init__()
        self.callbacks: list[Callable[[PhysicsVector], None]] = []

    async def update_vector(self, route_id: str, vector: PhysicsVector) -> None:
        await super().update_vector(route_id, vector)
        for callback in self.callbacks:
            callback(vector)

    def subscribe(self, route_id: str, callback: Callable[[PhysicsVector], None]) -> Callable[[], None]:
        self.callbacks.append(callback)
        return lambda: self.callbacks.remove(callback)


@pytest.mark.parametrize("store", [Plain(), Told()])
def test_a_store_of_four_methods_keeps_and_shares(clock: VirtualClock, store: Plain) -> None:
    assert not isinstance(store, ClusterSync)
    one = Atrion(provider=store, node="a", clock=clock)
    two = Atrion(provider=store, node="b", clock=clock)
    for engine in (one, two):
        engine.update_physics("r", Telemetry(latency=0.1))
    pulse(two)
    scarred(one, "r", 4.0)
    pulse(one, two)
    assert store.kept["r"].scar_tissue == 4.0
    assert one.state.get_local("r") == store.kept["r"]
    assert blended(two) == pytest.approx(0.3 * 4.0)
    assert blended(one) == 4.0
    clock.advance(30.0)
    pulse(one, two)
    assert blended(two) == 0.0  # what has not changed since is old
    asyncio.run(two.disconnect())
    assert len(getattr(store, "callbacks", [])) <= 1


def test_half_of_cluster_sync_is_refused() -> None:
    class Half(Plain):
        async def exchange(
            self, node: str, rows: Mapping[str, NodeRow], routes: list[str]
        ) -> Mapping[str, ClusterScar]:
            return {}

    with pytest.raises(ConfigurationError, match="exchange and listen"):
        Atrion(provider=Half())
