"""Engines in child processes: nothing of the parent's calls, and nothing started until they are used."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from atrion import Atrion
from atrion.testing import VirtualClock
from packages.atrion.tests.unit.pulsing import Counting, pulse_of, works


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
        return calm and store.runs() and "atrion-pulse" in named_threads()

    with engine:
        store.log.clear()
        assert in_child(work) == 0
    assert in_child(lambda: call() is None and "atrion-pulse" not in named_threads()) == 0


def test_a_child_of_a_loop_pulses_in_a_thread_once_it_uses_the_engine() -> None:
    store = Counting()
    engine = Atrion(provider=store, interval=0.01)

    async def main() -> None:
        async with engine:
            assert in_child(lambda: bool(engine.decide("r")) and store.runs()) == 0

    asyncio.run(main())


def test_a_child_may_enter_and_leave_for_itself() -> None:
    store = Counting()
    engine = Atrion(provider=store, interval=0.01)

    def work() -> bool:
        with engine:
            went_on = store.runs()
        return went_on and store.log[-1] == "disconnect" and "atrion-pulse" not in named_threads()

    with engine:
        assert in_child(work) == 0


def test_a_child_of_a_child_pulses_too() -> None:
    store = Counting()
    with Atrion(provider=store, interval=0.01) as engine:
        assert in_child(lambda: in_child(lambda: bool(engine.decide("r")) and store.runs()) == 0) == 0


@pytest.mark.parametrize("node", [None, "web"])
def test_children_have_names_and_rhythms_of_their_own(node: str | None) -> None:
    engine = Atrion(node=node)
    pulse = pulse_of(works)
    reader, writer = os.pipe()

    def work() -> bool:
        os.write(writer, f"{engine.node} {pulse.period()}\n".encode())
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
