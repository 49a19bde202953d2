"""Calls that are cancelled, by asyncio, trio, anyio, futures and gevent, are dropped."""

from __future__ import annotations

import asyncio
import concurrent.futures
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import anyio
import pytest
import trio

from atrion import Atrion, Outcome
from atrion.control.outcome import outcome_of


def seen_in_asyncio(block: Callable[[Any], Any]) -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await block(asyncio.sleep)

    asyncio.run(main())


def seen_in_trio(block: Callable[[Any], Any]) -> None:
    async def main() -> None:
        with trio.move_on_after(0.01):
            await block(trio.sleep)

    trio.run(main)


def seen_in_a_nursery(block: Callable[[Any], Any]) -> None:
    async def main() -> None:
        async def in_a_group(sleep: Any) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sleep, 60.0)
                nursery.start_soon(sleep, 60.0)

        with trio.move_on_after(0.01):
            await block(lambda _: in_a_group(trio.sleep))

    trio.run(main)


def seen_in_anyio(backend: str) -> Callable[[Callable[[Any], Any]], None]:
    def run(block: Callable[[Any], Any]) -> None:
        async def main() -> None:
            with anyio.move_on_after(0.01):
                await block(anyio.sleep)

        anyio.run(main, backend=backend)

    return run


@pytest.mark.parametrize(
    "run",
    [seen_in_asyncio, seen_in_trio, seen_in_a_nursery, seen_in_anyio("asyncio"), seen_in_anyio("trio")],
    ids=["asyncio", "trio", "trio nursery", "anyio on asyncio", "anyio on trio"],
)
def test_a_cancelled_call_is_dropped(run: Callable[[Callable[[Any], Any]], None], engine: Atrion) -> None:
    ended: list[BaseException] = []

    @engine.protect("r")
    async def call(sleep: Any) -> None:
        try:
            await sleep(60.0)
        except BaseException as error:
            ended.append(error)
            raise

    run(call)
    assert [outcome_of(error) for error in ended] == [Outcome.DROPPED]
    assert engine.snapshot()["r"].in_flight == 0


def test_a_cancelled_future_of_a_thread_is_dropped() -> None:
    future: concurrent.futures.Future[None] = concurrent.futures.Future()
    future.cancel()
    with pytest.raises(concurrent.futures.CancelledError) as cancelled:
        future.result()
    assert outcome_of(cancelled.value) == Outcome.DROPPED


GEVENT = """
import gevent
from atrion import Atrion, Outcome
from atrion.control.outcome import outcome_of

engine, ended = Atrion(), []

@engine.protect("r")
def call():
    try:
        gevent.sleep(60.0)
    except BaseException as error:
        ended.append(outcome_of(error))
        raise

greenlet = gevent.spawn(call)
gevent.sleep(0.01)
greenlet.kill()
try:
    with gevent.Timeout(0.01):
        call()
except gevent.Timeout:
    pass
assert ended == [Outcome.DROPPED] * 2, ended
assert engine.snapshot()["r"].in_flight == 0
"""


def test_a_killed_greenlet_and_its_timeout_are_dropped() -> None:
    subprocess.run([sys.executable, "-c", GEVENT], check=True, timeout=60.0)
