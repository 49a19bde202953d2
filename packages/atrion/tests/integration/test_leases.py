"""Leases in real event loops, threads and processes, by the machine's clock."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import time

import pytest

from atrion import Atrion, AtrionError, LeaseCancelled, Profile, Tier
from packages.atrion.tests.waiting import eventually

LONG = 30.0
"""Seconds that nobody waits for: what waits for so long is cancelled."""


def test_seconds_that_are_used_up_cancel_the_block() -> None:
    engine = Atrion()

    async def run() -> float:
        began = time.monotonic()
        with pytest.raises(LeaseCancelled, match=r"of 0\.2 seconds"):
            async with engine.lease("job", budget={"seconds": 0.2}):
                await asyncio.sleep(LONG)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(0)
        return time.monotonic() - began

    assert asyncio.run(run()) < LONG / 2.0
    assert engine.leases() == ()


def test_tasks_of_the_block_are_cancelled_with_it() -> None:
    engine = Atrion()
    ended: list[int] = []

    async def part(number: int) -> None:
        try:
            await asyncio.sleep(LONG)
        finally:
            ended.append(number)

    async def run() -> None:
        async with engine.lease("job", budget={"seconds": 0.1}), asyncio.TaskGroup() as group:
            for number in range(3):
                group.create_task(part(number))

    with pytest.raises(LeaseCancelled):
        asyncio.run(run())
    assert sorted(ended) == [0, 1, 2]


def test_the_inner_one_of_two_leases_is_cancelled_alone() -> None:
    engine = Atrion()

    async def run() -> bool:
        async with engine.lease("outer", budget={"seconds": LONG}) as outer:
            with pytest.raises(LeaseCancelled, match="inner"):
                async with engine.lease("inner", budget={"seconds": 0.1}):
                    await asyncio.sleep(LONG)
            await asyncio.sleep(0.01)
            return not outer.should_stop

    assert asyncio.run(run())


def test_a_heartbeat_from_another_thread_cancels_the_block() -> None:
    engine = Atrion()

    async def run() -> None:
        async with engine.lease("job", budget={"tokens": 1.0}) as lease:
            await asyncio.to_thread(lease.spend, tokens=5.0)
            await asyncio.sleep(LONG)

    with pytest.raises(LeaseCancelled, match="5 of 1 tokens"):
        asyncio.run(run())


def test_a_block_can_wait_until_it_is_asked_to_stop() -> None:
    engine = Atrion()

    async def run() -> None:
        swarm = engine.swarm("agents", budget={"tokens": 100.0})
        async with swarm, swarm.member("low") as member, asyncio.timeout(LONG):
            asyncio.get_running_loop().call_later(0.05, lambda: swarm.spend(tokens=95.0))
            await member.wait_until_asked()
            assert member.should_stop
            assert not member.cancelled.is_set()

    asyncio.run(run())
    with engine.lease("job") as lease, pytest.raises(AtrionError, match="async with"):
        asyncio.run(lease.wait_until_asked())


def test_a_thread_is_told_by_an_event() -> None:
    engine = Atrion()
    with engine.lease("job", budget={"seconds": 0.2}) as lease:
        assert lease.cancelled.wait(LONG)
        with pytest.raises(LeaseCancelled):
            lease.check()
    assert engine.snapshot()["job"].in_flight == 0


def test_a_later_lease_with_less_time_is_cancelled_in_time() -> None:
    engine = Atrion()
    with engine.lease("slow", budget={"seconds": LONG}) as slow:
        time.sleep(0.05)
        with engine.lease("fast", budget={"seconds": 0.05}) as fast:
            assert fast.cancelled.wait(LONG)
        assert not slow.cancelled.is_set()


def test_many_threads_leave_nothing_in_flight() -> None:
    engine = Atrion()
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(50):
                with engine.lease(f"job/{turn % 3}", Tier.CRITICAL, budget={"tokens": 1e9}) as lease:
                    lease.heartbeat(turn / 50.0, memory=float(number))
                    lease.spend(tokens=1.0)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert engine.leases() == ()
    assert [route.in_flight for route in engine.snapshot().values()] == [0, 0, 0]


def test_a_thread_that_dies_with_a_lease_releases_it() -> None:
    engine = Atrion()

    def work() -> None:
        lease = engine.lease("job", profile="extreme")
        lease.__enter__()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    gc.collect()
    assert eventually(lambda: engine.snapshot()["job"].in_flight == 0)


def test_a_lease_without_heartbeats_expires_by_itself() -> None:
    engine = Atrion()
    with engine.lease("job", profile=Profile(heartbeat=0.1)) as lease:
        assert eventually(lambda: engine.snapshot()["job"].in_flight == 0)
        assert lease.expired
        lease.heartbeat()
        assert engine.snapshot()["job"].in_flight == 1
    assert engine.snapshot()["job"].in_flight == 0


def test_the_thread_that_reviews_leases_ends_after_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atrion.workload.manager.LINGER", 0.1)

    def watchers() -> int:
        return sum(thread.name == "atrion-leases" for thread in threading.enumerate())

    assert eventually(lambda: watchers() == 0)
    engine = Atrion()
    for _ in range(2):
        with engine.lease("job"):
            assert watchers() == 1
        assert eventually(lambda: watchers() == 0)


@pytest.mark.skipif(sys.platform == "win32", reason="processes do not fork there")
def test_leases_of_the_parent_are_none_of_a_child() -> None:
    engine = Atrion()
    with engine.lease("job", budget={"seconds": LONG}) as lease:
        assert eventually(lambda: len(engine.leases()) == 1)
        child = os.fork()
        if child == 0:
            try:
                good = engine.leases() == () and engine.snapshot()["job"].in_flight == 0 and not lease.active
                with engine.lease("job", budget={"seconds": 0.05}) as own:
                    good = good and own.cancelled.wait(LONG) and engine.snapshot()["job"].in_flight == 1
                lease.__exit__(None, None, None)
                good = good and engine.snapshot()["job"].in_flight == 0
                os._exit(0 if good else 1)
            except BaseException:
                os._exit(2)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert len(engine.leases()) == 1
