"""Defects that were found once, each with the behaviour that was wanted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math

import pytest

from atrion import Atrion, AtrionError, ConfigurationError, FlowRejected, InMemoryProvider, Telemetry, Tier
from atrion.physics import MAX_RESISTANCE, momentum, staleness
from atrion.state import ClusterScar, PhysicsVector
from atrion.testing import VirtualClock


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


def test_routes_stay_bounded_behind_pinned_ones() -> None:
    engine = Atrion(max_routes=50)
    for number in range(32):
        engine.protect(f"pinned-{number}")(len)
    for number in range(500):
        engine.decide(f"r{number}")
    kept = engine.snapshot()
    assert len(kept) <= 50 + 32
    assert all(f"pinned-{number}" in kept for number in range(32))


def test_the_pulse_starts_again_in_a_second_loop() -> None:
    beats: list[asyncio.Event] = []

    class Heard(InMemoryProvider):
        async def exchange(self, *args: object) -> dict[str, ClusterScar]:  # type: ignore[override]  # only listens
            beats[-1].set()
            return {}

    engine = Atrion(provider=Heard(), interval=0.001)

    async def run() -> None:
        beats.append(asyncio.Event())
        await engine.connect()
        await beats[-1].wait()
        await engine.disconnect()

    asyncio.run(run())
    asyncio.run(run())
    assert len(beats) == 2


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


def test_a_subscriber_that_raises_harms_nobody() -> None:
    hub = InMemoryProvider()
    heard: list[PhysicsVector] = []
    hub.subscribe("r", lambda _: 1 // 0)
    hub.subscribe("r", heard.append)
    vector = PhysicsVector(10.0, 0.0, 1.0, 0.0)
    asyncio.run(hub.update_vector("r", vector))
    assert heard == [vector]


def test_laws_survive_a_step_that_is_no_number() -> None:
    assert momentum((0.0, 0.0, 0.0), (0.0, 0.0, 1.0), math.nan) >= 0.0
    assert staleness(math.inf, 0.0, 50.0) == 0.0


@pytest.mark.parametrize("route", [[], {}, 7, None, ""])
def test_what_is_no_route_id_is_refused_in_words(route: object) -> None:
    with pytest.raises(ConfigurationError, match="route_id"):
        Atrion().decide(route)  # type: ignore[arg-type]  # wrong on purpose


def test_a_flow_entered_twice_is_refused_and_leaks_nothing() -> None:
    engine = Atrion()
    flow = engine.flow("r")
    with flow, pytest.raises(AtrionError, match="begin only once"):
        flow.__enter__()
    assert engine.snapshot()["r"].in_flight == 0


def test_a_url_that_cannot_be_read_is_refused_in_words() -> None:
    with pytest.raises(ConfigurationError, match="provider"):
        Atrion(provider="redis://[bad")


def test_numbers_too_large_for_physics_are_refused_in_words() -> None:
    with pytest.raises(ConfigurationError, match="gamma"):
        Atrion(gamma=10**400)


def test_telemetry_that_is_no_number_is_dropped_and_counted() -> None:
    engine = Atrion()
    engine.update_physics("r", Telemetry(latency="fast", error_rate=[], saturation=10**400))  # type: ignore[arg-type]  # wrong on purpose
    assert engine.snapshot()["r"].rejected_samples == 3
    assert engine.decide("r").allowed
