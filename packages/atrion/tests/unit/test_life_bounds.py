"""The life of the pulse: bounded in time, and nothing left behind when it is cancelled."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import Any

import pytest

from atrion import Atrion, InMemoryProvider, PhysicsVector
from atrion.testing import VirtualClock
from packages.atrion.tests.unit.pulsing import Counting, others, pulse_of, soon, works
from packages.atrion.tests.waiting import eventually


class Hung(InMemoryProvider):
    async def connect(self) -> None:
        await asyncio.sleep(600.0)

    disconnect = connect


def test_a_store_that_hangs_holds_nobody_up() -> None:
    began = time.monotonic()
    with Atrion(provider=Hung()) as engine, engine.flow("r"):
        pass

    async def main() -> None:
        async with Atrion(provider=Hung()) as engine, engine.flow("r"):
            pass

    asyncio.run(main())
    assert time.monotonic() - began < 15.0  # instead of ten minutes


def test_a_thread_whose_loop_cannot_be_made_lets_go_and_comes_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make = asyncio.new_event_loop
    broken = True

    def scarce() -> asyncio.AbstractEventLoop:
        if broken:
            raise OSError(24, "Too many open files")
        return make()

    monkeypatch.setattr(asyncio.events, "new_event_loop", scarce)
    store = Counting()
    with Atrion(provider=store, interval=0.001) as engine:
        assert engine.decide("r")
        assert store.log == []
        broken = False
        assert store.runs()
    assert store.log[-1] == "disconnect"
    assert len([record for record in caplog.records if "tries again" in record.message]) == 1


def test_without_a_thread_decisions_go_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def scarce(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    store = Counting()
    engine = Atrion(provider=store, interval=0.001)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", scarce)
        with engine:
            assert engine.decide("r")
    assert "no thread to run in" in caplog.text
    with engine:
        assert store.runs()


def test_what_connecting_raises_is_logged_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    tries: list[int] = []

    async def enter() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise ValueError("odd")

    pulse = pulse_of(works, enter)
    pulse.join_thread()
    assert eventually(lambda: pulse.running)
    pulse.part_thread()
    assert not pulse.running
    assert len(tries) == 3
    assert len([record for record in caplog.records if "decisions go on locally" in record.message]) == 1


# --- cancelled --------------------------------------------------------------------------------------------------


class Slow(Counting):
    async def connect(self) -> None:
        await asyncio.sleep(0.1)
        await super().connect()

    async def disconnect(self) -> None:
        await asyncio.sleep(0.1)
        await super().disconnect()


@pytest.mark.parametrize("cancellations", [1, 2, 3])
@pytest.mark.parametrize("way", ["async with", "disconnect"])
def test_being_cancelled_while_leaving_leaves_nothing_behind(way: str, cancellations: int) -> None:
    store = Slow()
    engine = Atrion(provider=store, interval=0.001)

    async def body() -> None:
        if way == "async with":
            async with engine:
                await asyncio.sleep(60.0)
        await engine.connect()
        await engine.disconnect()
        await asyncio.sleep(60.0)

    async def main() -> None:
        task = asyncio.create_task(body())
        assert await soon(lambda: store.log.count("connect") == 1)
        for _ in range(cancellations):
            task.cancel()
            await asyncio.sleep(0.02)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert others() == set()
        assert store.log[-1] == "disconnect"

    asyncio.run(main())


def test_being_cancelled_while_connecting_leaves_nothing_behind() -> None:
    store = Slow()
    engine = Atrion(provider=store, interval=0.001)

    async def main() -> None:
        task = asyncio.create_task(engine.connect())
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert others() == set()
        assert store.log == ["disconnect"]
        async with engine:
            assert await soon(store.runs)

    asyncio.run(main())


def test_a_time_limit_on_leaving_is_kept_as_well_as_it_can_be() -> None:
    engine = Atrion(provider=Slow(), interval=0.001)

    async def main() -> None:
        await engine.connect()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await engine.disconnect()
        assert others() == set()

    asyncio.run(main())


# --- a store of four methods ------------------------------------------------------------------------------------


class Remote:
    """Four methods of a third party, so many seconds away."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.kept: dict[str, PhysicsVector] = {}
        self.open = self.most = 0

    async def connect(self) -> None: ...
    async def disconnect(self) -> None: ...

    async def get_vector(self, route_id: str) -> PhysicsVector | None:
        await self._travel()
        return self.kept.get(route_id)

    async def update_vector(self, route_id: str, vector: PhysicsVector) -> None:
        await self._travel()
        self.kept[route_id] = vector

    async def _travel(self) -> None:
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.open -= 1


def scarred(store: Any, routes: int) -> Atrion:
    engine = Atrion(provider=store, clock=VirtualClock())
    for number in range(routes):
        engine.restore(f"r{number}", PhysicsVector(0.0, 0.0, 50.0, 0.0))
    return engine


def test_a_pulse_asks_many_things_at_once() -> None:
    store = Remote(0.01)
    assert asyncio.run(scarred(store, 300).pulse_once())
    assert len(store.kept) == 300
    assert 8 <= store.most <= 40


def test_a_slow_store_of_four_methods_is_given_the_rest_in_the_next_pulses() -> None:
    store = Remote(0.15)
    engine = scarred(store, 300)
    began = time.monotonic()
    assert asyncio.run(engine.pulse_once())
    assert 64 <= len(store.kept) < 300
    assert engine.state.healthy
    for _ in range(6):
        assert asyncio.run(engine.pulse_once())
    assert len(store.kept) == 300
    assert time.monotonic() - began < 30.0  # one after the other, they would take 45 seconds


def test_a_pulse_has_one_deadline_whatever_the_store_does(caplog: pytest.LogCaptureFixture) -> None:
    store = Remote(600.0)
    engine = scarred(store, 300)
    began = time.monotonic()
    with caplog.at_level(logging.WARNING, "atrion"):
        assert not asyncio.run(engine.pulse_once())
    assert time.monotonic() - began < 10.0
    assert not engine.state.healthy
    assert store.open == 0
    assert len(caplog.records) == 1
