"""The life of the pulse: entered and left, in loops and threads, cancelled, forked, and bounded in time."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from atrion import Atrion, InMemoryProvider, PhysicsVector
from atrion.state import ClusterScar, NodeRow, Pulse
from atrion.testing import VirtualClock


class Counting(InMemoryProvider):
    """Tells when it was connected, asked three times, and left."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[str] = []
        self.third = asyncio.Event()

    async def connect(self) -> None:
        self.log.append("connect")

    async def disconnect(self) -> None:
        self.log.append("disconnect")

    async def exchange(
        self, node: str, rows: Mapping[str, NodeRow], routes: list[str]
    ) -> Mapping[str, ClusterScar]:
        self.log.append("exchange")
        if self.log.count("exchange") >= 3:
            self.third.set()
        return await super().exchange(node, rows, routes)

    def beats(self) -> bool:
        """Whether it is asked, for at least one turn more, within some seconds."""
        before = self.log.count("exchange")
        return eventually(lambda: self.log.count("exchange") > before)


def eventually(what: Callable[[], bool]) -> bool:
    for _ in range(1000):
        if what():
            return True
        time.sleep(0.005)
    return False


async def soon(what: Callable[[], bool]) -> bool:
    return await asyncio.to_thread(eventually, what)


def others() -> set[asyncio.Task[Any]]:
    return asyncio.all_tasks() - {task for task in [asyncio.current_task()] if task is not None}


async def nothing() -> None: ...


def pulse_of(
    turn: Callable[[], Awaitable[bool]],
    enter: Callable[[], Awaitable[None]] = nothing,
    node: str = "n",
    interval: float = 0.1,
) -> Pulse:
    return Pulse(turn, interval, node, enter, nothing)


async def works() -> bool:
    return True


# --- turns ---------------------------------------------------------------------------------------------------


def test_a_pulse_survives_what_its_turn_raises(caplog: pytest.LogCaptureFixture) -> None:
    async def turn() -> bool:
        raise ValueError("odd")

    pulse = pulse_of(turn)
    for _ in range(20):
        assert not asyncio.run(pulse.once())
    assert pulse.turns == 20
    assert "the next one goes on" in caplog.text
    assert 0.8 <= pulse.period() <= 1.2  # backed off, and bounded
    calm = pulse_of(works)
    assert asyncio.run(calm.once())
    assert 0.08 <= calm.period() <= 0.12


def test_the_hosts_dice_are_left_alone() -> None:
    store = Counting()
    before = random.getstate()

    async def main() -> None:
        async with Atrion(provider=store, interval=0.001):
            await asyncio.wait_for(store.third.wait(), 10.0)

    asyncio.run(main())
    assert random.getstate() == before


# --- entering and leaving ------------------------------------------------------------------------------------


def test_as_a_task() -> None:
    store = Counting()
    engine = Atrion(provider=store, interval=0.001)

    async def main() -> None:
        async with engine as entered:
            assert entered is engine
            await asyncio.wait_for(store.third.wait(), 10.0)
        assert others() == set()

    asyncio.run(main())
    assert store.log[0] == "connect"
    assert store.log[-1] == "disconnect"


def test_as_a_thread() -> None:
    store = Counting()
    engine = Atrion(provider=store, interval=0.001)
    for _ in range(2):
        store.log.clear()
        with engine as entered:
            assert entered is engine
            assert store.log[0] == "connect"
            assert store.beats()
            assert "atrion-pulse" in {thread.name for thread in threading.enumerate()}
        assert store.log[-1] == "disconnect"
        assert "atrion-pulse" not in {thread.name for thread in threading.enumerate()}


def test_entering_twice_counts_in_a_loop() -> None:
    store = Counting()
    engine = Atrion(provider=store, interval=0.001)

    async def main() -> None:
        async with engine:
            await engine.connect()
            async with engine:
                pass
            assert await soon(store.beats)
            await engine.disconnect()
            assert await soon(store.beats)
            assert store.log.count("connect") == 1
            assert "disconnect" not in store.log
        assert store.log[-1] == "disconnect"
        assert others() == set()

    asyncio.run(main())


def test_entering_twice_counts_in_threads() -> None:
    store = Counting()
    engine = Atrion(provider=store, interval=0.001)

    def enter_and_leave() -> None:
        with engine:
            assert store.beats()

    with engine:
        threads = [threading.Thread(target=enter_and_leave) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert store.beats()
        assert store.log.count("connect") == 1
    assert store.log.count("disconnect") == 1


def test_leaving_more_often_than_entering_changes_nothing() -> None:
    store = Counting()
    engine = Atrion(provider=store, interval=0.001)

    async def main() -> None:
        await engine.disconnect()
        await engine.connect()
        await engine.disconnect()
        await engine.disconnect()
        async with engine:
            assert await soon(store.beats)

    asyncio.run(main())
    engine.__exit__(None, None, None)
    with engine:
        assert store.beats()


def test_a_loop_within_a_thread_and_the_one_that_stays_goes_on() -> None:
    store = Counting()
    engine = Atrion(provider=store, interval=0.001)

    async def main() -> None:
        async with engine:
            engine.__enter__()  # while the loop has it
        assert store.log.count("disconnect") == 1  # the loop's connections ended with it

    asyncio.run(main())
    assert store.beats()  # now in the thread, which connects for itself
    assert store.log.count("connect") == 2
    engine.__exit__(None, None, None)
    assert store.log[-1] == "disconnect"


def test_only_one_of_several_loops_pulses() -> None:
    store = Counting()
    engine = Atrion(provider=store, interval=60.0)

    async def main() -> None:
        async with engine:
            for _ in range(5):
                engine._pulse.wake()
                await asyncio.sleep(0.01)

    with engine:
        asyncio.run(main())
    assert store.log.count("connect") == 1
    assert store.log.count("disconnect") == 1


@pytest.mark.parametrize("leaves", [True, False])
def test_a_second_loop_after_the_first_one_died(leaves: bool) -> None:
    store = Counting()
    engine = Atrion(provider=store, interval=0.001)

    async def main() -> None:
        await engine.connect()
        assert await soon(store.beats)
        if leaves:
            await engine.disconnect()

    for _ in range(3):
        asyncio.run(main())
    assert store.log.count("connect") == 3
    with engine:
        assert store.beats()


def test_a_loop_that_dies_with_an_exception_does_not_take_the_engine_along() -> None:
    store = Counting()
    engine = Atrion(provider=store, interval=0.001)

    async def main() -> None:
        await engine.connect()
        raise KeyError

    with pytest.raises(KeyError):
        asyncio.run(main())
    with engine:
        assert store.beats()


# --- bounded -------------------------------------------------------------------------------------------------


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
        assert store.beats()
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
        assert store.beats()


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


# --- cancelled -----------------------------------------------------------------------------------------------


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
            assert await soon(store.beats)

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


# --- forks ---------------------------------------------------------------------------------------------------


def in_child(work: Callable[[], bool]) -> int:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if work() else 2
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_child_starts_without_the_parents_calls() -> None:
    engine = Atrion(clock=VirtualClock())

    def work() -> bool:
        if engine.snapshot()["r"].in_flight:
            return False
        with engine.flow("r"):
            counted = engine.snapshot()["r"].in_flight == 1
        return counted and engine.snapshot()["r"].in_flight == 0

    with engine.flow("r"):
        assert in_child(work) == 0
        assert engine.snapshot()["r"].in_flight == 1


def test_a_guard_made_before_the_fork_counts_for_the_child_alone() -> None:
    engine = Atrion(clock=VirtualClock())

    @engine.protect("r")
    def call() -> int:
        return engine.snapshot()["r"].in_flight

    with engine.flow("r"):
        assert call() == 2
        assert in_child(lambda: call() == 1) == 0


def named_threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def test_a_child_starts_nothing_until_it_uses_the_engine() -> None:
    store = Counting()
    engine = Atrion(provider=store, interval=0.001)

    @engine.protect("r")
    def call() -> None: ...

    def work() -> bool:
        calm = store.log == [] and "atrion-pulse" not in named_threads()
        time.sleep(0.02)
        calm = calm and store.log == []
        call()
        return calm and store.beats() and "atrion-pulse" in named_threads()

    with engine:
        store.log.clear()
        assert in_child(work) == 0
    assert in_child(lambda: call() is None and "atrion-pulse" not in named_threads()) == 0


def test_a_child_of_a_loop_pulses_in_a_thread_once_it_uses_the_engine() -> None:
    store = Counting()
    engine = Atrion(provider=store, interval=0.01)

    async def main() -> None:
        async with engine:
            assert in_child(lambda: bool(engine.decide("r")) and store.beats()) == 0

    asyncio.run(main())


def test_a_child_may_enter_and_leave_for_itself() -> None:
    store = Counting()
    engine = Atrion(provider=store, interval=0.01)

    def work() -> bool:
        with engine:
            went_on = store.beats()
        return went_on and store.log[-1] == "disconnect" and "atrion-pulse" not in named_threads()

    with engine:
        assert in_child(work) == 0


def test_a_child_of_a_child_pulses_too() -> None:
    store = Counting()
    with Atrion(provider=store, interval=0.01) as engine:
        assert in_child(lambda: in_child(lambda: bool(engine.decide("r")) and store.beats()) == 0) == 0


@pytest.mark.parametrize("node", [None, "web"])
def test_children_have_names_and_rhythms_of_their_own(node: str | None) -> None:
    engine = Atrion(node=node)
    reader, writer = os.pipe()

    def work() -> bool:
        os.write(writer, f"{engine.node} {engine._pulse.period()}\n".encode())
        return True

    for _ in range(3):
        assert in_child(work) == 0
    os.close(writer)
    with os.fdopen(reader) as lines:
        said = [line.split() for line in lines]
    assert len({period for _, period in said}) == 3
    assert len({name for name, _ in said}) == (3 if node is None else 1)


CONNECTS = """
import os, subprocess, sys
from atrion import Atrion, InMemoryProvider

class Store(InMemoryProvider):
    async def connect(self):
        print("connect", os.getpid(), flush=True)

with Atrion(provider=Store()):
    for _ in range(3):
        subprocess.run(["true"], preexec_fn=os.setsid)
"""


def test_a_preexec_fn_connects_to_nothing() -> None:
    said = subprocess.run([sys.executable, "-c", CONNECTS], capture_output=True, text=True, check=True)
    assert len(said.stdout.splitlines()) == 1


# --- under gevent --------------------------------------------------------------------------------------------

GEVENT = """
from gevent import monkey; monkey.patch_all()
import logging, gevent
from atrion import Atrion, InMemoryProvider

logging.basicConfig(format="%(message)s")

class Store(InMemoryProvider):
    turns = 0
    async def exchange(self, *args):
        self.turns += 1
        return await super().exchange(*args)

def call(engine):
    with engine.flow("r"):
        gevent.sleep(0.001)

stores = Store(), Store()
with Atrion(provider=stores[0], interval=0.001) as one:
    for _ in range(1000):
        gevent.joinall([gevent.spawn(call, one) for _ in range(5)])
        if stores[0].turns > 2:
            break
    assert stores[0].turns > 2
    with Atrion(provider=stores[1], interval=0.001) as two:
        call(two)
assert one.snapshot()["r"].in_flight == two.snapshot()["r"].in_flight == 0
assert stores[1].turns == 0
"""


def test_under_gevent_it_works_or_says_what_to_do() -> None:
    said = subprocess.run(
        [sys.executable, "-W", "error", "-c", GEVENT],
        check=False,
        capture_output=True,
        text=True,
        timeout=60.0,
    )
    assert said.returncode == 0, said.stderr
    assert said.stderr.count("\n") == 1
    assert "share one Atrion" in said.stderr


# --- a store of four methods ---------------------------------------------------------------------------------


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
