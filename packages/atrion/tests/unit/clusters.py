"""What tests of a cluster share: rows of nodes, two engines with one store, and their pulses."""

from __future__ import annotations

import asyncio

from atrion import Atrion, InMemoryProvider, PhysicsVector, Telemetry
from atrion.state import NodeRow
from atrion.testing import VirtualClock
from packages.atrion.tests.unit.calling import scarred


def row(scar: float, evidence: float, decay_rate: float = 0.8) -> NodeRow:
    return NodeRow(PhysicsVector(10.0, 0.0, scar, 0.0), evidence, decay_rate)


def pair(clock: VirtualClock, gamma: float = 0.3) -> tuple[Atrion, Atrion]:
    hub = InMemoryProvider(clock=clock.monotonic)
    first = Atrion(provider=hub, node="a", clock=clock, gamma=gamma)
    second = Atrion(provider=hub, node="b", clock=clock, gamma=gamma)
    for _ in range(3):
        clock.advance(0.1)
        for engine in (first, second):
            engine.update_physics("r", Telemetry(latency=0.01, error_rate=0.0))
    scarred(first, "r", 5.0)
    scarred(second, "r", 2.0)
    return first, second


def pulse(*engines: Atrion) -> None:
    for engine in engines:
        assert asyncio.run(engine.pulse_once())


def blended(engine: Atrion) -> float:
    return engine.snapshot()["r"].blended_scar
