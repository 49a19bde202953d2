"""Stores that raise, hang or return rubbish: no caller notices, and the log says it once."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from atrion import Atrion, InMemoryProvider, PhysicsVector, Telemetry, Tier
from atrion.physics import MAX_RESISTANCE
from atrion.state import ClusterScar, NodeRow
from atrion.testing import VirtualClock
from packages.atrion.tests.unit.calling import scarred
from packages.atrion.tests.unit.clusters import blended, pair, pulse

METHODS = ("connect", "disconnect", "get_vector", "update_vector", "exchange")


class Bad:
    """A provider of which some methods raise, hang or return rubbish."""

    def __init__(self, way: str, methods: tuple[str, ...], rubbish: Any = None) -> None:
        self.way = way
        self.methods = methods
        self.rubbish = rubbish
        self.inner = InMemoryProvider()

    async def _do(self, method: str, *args: Any) -> Any:
        if method in self.methods:
            if self.way == "raise":
                raise OSError("the store is down")
            if self.way == "hang":
                await asyncio.Event().wait()
            if self.way == "rubbish":
                return self.rubbish
        return await getattr(self.inner, method)(*args)

    async def connect(self) -> Any:
        return await self._do("connect")

    async def disconnect(self) -> Any:
        return await self._do("disconnect")

    async def get_vector(self, route_id: str) -> Any:
        return await self._do("get_vector", route_id)

    async def update_vector(self, route_id: str, vector: PhysicsVector) -> Any:
        return await self._do("update_vector", route_id, vector)

    async def exchange(self, node: str, rows: Mapping[str, NodeRow], routes: list[str]) -> Any:
        return await self._do("exchange", node, rows, routes)

    def listen(self, node: str, callback: Callable[[str, ClusterScar], None]) -> Callable[[], None]:
        return self.inner.listen(node, callback)


RUBBISH = [
    42,
    "text",
    [],
    {"r": 5.0},
    {"r": ClusterScar(math.nan, 1.0)},
    {"r": ClusterScar(math.inf, 1.0)},
    {"r": ClusterScar(-5.0, 1.0)},
    {"r": ClusterScar(5.0, -1.0)},
    {},
]


MISBEHAVIOURS: list[tuple[str, str, Any]] = [
    *[(way, method, None) for way in ("raise", "hang") for method in METHODS],
    *[("rubbish", method, 42) for method in METHODS[:4]],
    *[("rubbish", "exchange", rubbish) for rubbish in RUBBISH],
]


@pytest.mark.parametrize("way, method, rubbish", MISBEHAVIOURS)
def test_no_provider_reaches_a_caller(clock: VirtualClock, way: str, method: str, rubbish: Any) -> None:
    engine = Atrion(provider=Bad(way, (method,), rubbish), clock=clock, interval=0.001)
    engine.state.store.deadline = 0.01

    async def main() -> None:
        async with engine:
            for _ in range(3):
                clock.advance(0.1)
                engine.update_physics("r", Telemetry(latency=0.01))
                scarred(engine, "r", 3.0)
                await engine.pulse_once()
                async with engine.flow("r"):
                    pass
        await engine.state.sync("r", PhysicsVector(1.0, 0.0, 0.0, 0.0))

    asyncio.run(main())
    seen = engine.snapshot()["r"]
    assert (seen.admitted, seen.in_flight) == (3, 0)
    assert seen.blended_scar == seen.scar_tissue
    if way != "rubbish" and method != "get_vector":
        assert engine.state.failures > 0
    if method == "exchange" and way == "rubbish" and rubbish != {}:
        assert engine.state.dropped_rows > 0


@pytest.mark.parametrize("way", ["raise", "hang"])
def test_an_outage_of_the_store_is_one_line_at_its_start_and_one_at_its_end(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    provider = Bad("no", METHODS)
    engine = Atrion(provider=provider, clock=clock)
    engine.state.store.deadline = 0.01
    engine.update_physics("r", Telemetry(latency=0.01))
    scarred(engine, "r", 3.0)

    async def main() -> None:
        assert await engine.pulse_once()
        provider.way = way
        for _ in range(5):
            assert not await engine.pulse_once()
        await engine.disconnect()
        assert len(caplog.records) == 1
        provider.way = "no"
        assert await engine.pulse_once()
        assert await engine.pulse_once()

    with caplog.at_level(logging.INFO, "atrion"):
        asyncio.run(main())
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "decisions go on locally" in caplog.text
    assert "answers again" in caplog.text


def test_a_store_that_fails_takes_its_influence_with_it(clock: VirtualClock) -> None:
    one, two = pair(clock)
    pulse(one, two)
    assert blended(two) == pytest.approx(2.9)
    two.state.store.provider = Bad("raise", METHODS)
    assert not asyncio.run(two.pulse_once())
    assert blended(two) == 2.0


def test_what_is_kept_besides_may_fail_alone(clock: VirtualClock, caplog: pytest.LogCaptureFixture) -> None:
    engine = Atrion(persistence=Bad("raise", ("update_vector",)), clock=clock)
    scarred(engine, "r", 4.0)
    with caplog.at_level(logging.WARNING, "atrion"):
        for _ in range(3):
            clock.advance(1.0)
            assert asyncio.run(engine.pulse_once())
    assert [record.message.split(" (")[0] for record in caplog.records] == ["persistence fails"]
    assert engine.state.healthy
    assert engine.state.failures == 3


class Fails(InMemoryProvider):
    """Connects, then fails whatever it is asked."""

    broken = True

    async def exchange(self, *args: object) -> dict[str, ClusterScar]:  # type: ignore[override]  # worse on purpose
        if self.broken:
            raise OSError("the store is gone")
        return {}


def pulses(engine: Atrion, count: int) -> list[bool]:
    async def main() -> list[bool]:
        return [await engine.pulse_once() for _ in range(count)]

    return asyncio.run(main())


def seen(engine: Atrion) -> None:
    engine.update_physics("r", Telemetry(latency=0.01))


def test_a_store_that_connects_and_then_fails_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    provider = Fails()
    engine = Atrion(provider=provider)
    seen(engine)
    with caplog.at_level(logging.WARNING, "atrion"):
        assert pulses(engine, 10) == [False] * 10
        assert len(caplog.records) == 1
        provider.broken = False
        assert pulses(engine, 3) == [True] * 3
    assert [record.message.split(" (")[0] for record in caplog.records] == [
        "state provider fails",
        "state provider answers again",
    ]


@pytest.mark.parametrize(
    "answer", [{"r": ClusterScar("x", 1.0)}, {"r": ClusterScar(math.nan, 1.0)}, dict, 42]
)  # type: ignore[arg-type]  # rubbish on purpose
def test_rubbish_is_dropped_and_counted(answer: object, caplog: pytest.LogCaptureFixture) -> None:
    class Rubbish(InMemoryProvider):
        async def exchange(self, *args: object) -> object:  # type: ignore[override]  # rubbish on purpose
            return answer

    engine = Atrion(provider=Rubbish())
    seen(engine)
    with caplog.at_level(logging.WARNING, "atrion"):
        assert pulses(engine, 5) == [True] * 5
    assert engine.state.dropped_rows == 5
    assert len(caplog.records) <= 1
    assert engine.decide("r", Tier.BULK).allowed


def test_resistance_stays_bounded_whatever_the_cluster_says() -> None:
    class Absurd(InMemoryProvider):
        async def exchange(self, *args: object) -> dict[str, ClusterScar]:  # type: ignore[override]  # absurd on purpose
            return {"r": ClusterScar(MAX_RESISTANCE, 1.0)}

    engine = Atrion(provider=Absurd(), gamma=1.0)
    seen(engine)
    pulses(engine, 1)
    assert engine.decide("r").resistance <= MAX_RESISTANCE


def test_a_provider_that_cancels_itself_does_not_cancel_the_pulse() -> None:
    class Cancels(InMemoryProvider):
        async def exchange(self, *args: object) -> dict[str, ClusterScar]:  # type: ignore[override]  # on purpose
            raise asyncio.CancelledError

    engine = Atrion(provider=Cancels())
    seen(engine)
    assert pulses(engine, 2) == [False, False]
