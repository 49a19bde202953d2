"""The life of the pulse: its turns, entered and left, in loops and threads."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import threading

import pytest

from atrion import Atrion, InMemoryProvider
from atrion.state import ClusterScar
from packages.atrion.tests.unit.pulsing import Counting, others, pulse_of, soon, works


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


# --- entering and leaving ---------------------------------------------------------------------------------------


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
            assert store.runs()
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
            assert await soon(store.runs)
            await engine.disconnect()
            assert await soon(store.runs)
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
            assert store.runs()

    with engine:
        threads = [threading.Thread(target=enter_and_leave) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert store.runs()
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
            assert await soon(store.runs)

    asyncio.run(main())
    engine.__exit__(None, None, None)
    with engine:
        assert store.runs()


def test_a_loop_within_a_thread_and_the_one_that_stays_goes_on() -> None:
    store = Counting()
    engine = Atrion(provider=store, interval=0.001)

    async def main() -> None:
        async with engine:
            engine.__enter__()  # while the loop has it
        assert store.log.count("disconnect") == 1  # the loop's connections ended with it

    asyncio.run(main())
    assert store.runs()  # now in the thread, which connects for itself
    assert store.log.count("connect") == 2
    engine.__exit__(None, None, None)
    assert store.log[-1] == "disconnect"


def test_only_one_of_several_loops_pulses() -> None:
    store = Counting()
    engine = Atrion(provider=store, interval=60.0)

    async def main() -> None:
        async with engine:
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
        assert await soon(store.runs)
        if leaves:
            await engine.disconnect()

    for _ in range(3):
        asyncio.run(main())
    assert store.log.count("connect") == 3
    with engine:
        assert store.runs()


def test_a_loop_that_dies_with_an_exception_does_not_take_the_engine_along() -> None:
    store = Counting()
    engine = Atrion(provider=store, interval=0.001)

    async def main() -> None:
        await engine.connect()
        raise KeyError

    with pytest.raises(KeyError):
        asyncio.run(main())
    with engine:
        assert store.runs()


# --- under gevent -----------------------------------------------------------------------------------------------


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
