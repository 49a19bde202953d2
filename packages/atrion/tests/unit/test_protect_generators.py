"""``protect`` around generators: in flight until they end, and their failures are seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from atrion import Atrion
from atrion.testing import VirtualClock
from packages.atrion.tests.unit.calling import in_flight, is_noticed


def test_a_generator_is_in_flight_until_it_is_exhausted(engine: Atrion) -> None:
    @engine.protect("r")
    def rows() -> Generator[int, None, str]:
        yield 1
        yield 2
        return "done"

    iterator = rows()
    assert in_flight(engine) == 0  # nothing of it has run yet
    assert next(iterator) == 1
    assert in_flight(engine) == 1
    assert next(iterator) == 2
    with pytest.raises(StopIteration) as end:
        next(iterator)
    assert end.value.value == "done"
    assert in_flight(engine) == 0
    assert engine.snapshot()["r"].admitted == 1


@pytest.mark.parametrize("way", ["close", "throw", "forget"])
def test_a_generator_is_in_flight_until_it_is_closed(way: str, engine: Atrion) -> None:
    closed = []

    @engine.protect("r")
    def rows() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            closed.append(in_flight(engine))

    iterator: Any = rows()
    assert next(iterator) == 1
    if way == "close":
        iterator.close()
    elif way == "throw":
        with pytest.raises(KeyError):
            iterator.throw(KeyError("x"))
    del iterator
    assert closed == [1]
    assert in_flight(engine) == 0


def test_a_generator_is_sent_and_thrown_what_its_caller_sends_and_throws(engine: Atrion) -> None:
    @engine.protect("r")
    def echo() -> Generator[object, object, None]:
        got: object = None
        while True:
            try:
                got = yield got
            except ValueError as error:
                got = error

    iterator = echo()
    next(iterator)
    assert iterator.send("a") == "a"
    error = ValueError("b")
    assert iterator.throw(error) is error
    iterator.close()


@pytest.mark.parametrize("good", [0, 1, 5])
def test_a_generator_that_fails_is_a_failure_wherever_it_fails(
    good: int, engine: Atrion, clock: VirtualClock
) -> None:
    @engine.protect("r")
    def rows() -> Iterator[int]:
        for row in range(good):
            yield row
            clock.advance(0.02)
        raise ConnectionError

    assert is_noticed(engine, clock, lambda: list(rows()))
    assert in_flight(engine) == 0


def test_what_a_caller_does_with_an_item_is_not_the_generators_time(
    engine: Atrion, clock: VirtualClock
) -> None:
    @engine.protect("r")
    def rows() -> Iterator[int]:
        clock.advance(0.02)
        yield 1
        yield 2

    for _ in range(200):
        for _ in rows():
            clock.advance(3.0)
    assert engine.snapshot()["r"].service_time == pytest.approx(0.02, rel=0.2)


@pytest.mark.parametrize("outside", [True, False])
@pytest.mark.parametrize("error", [None, ConnectionError()])
def test_a_context_manager_is_in_flight_until_it_is_left(
    outside: bool, error: Exception | None, engine: Atrion, clock: VirtualClock
) -> None:
    protect = engine.protect("r")

    def session() -> Iterator[str]:
        yield "session"

    async def async_session() -> AsyncIterator[str]:
        yield "session"

    if outside:
        opens: Any = protect(contextmanager(session))
        opens_async: Any = protect(asynccontextmanager(async_session))
    else:
        opens = contextmanager(protect(session))
        opens_async = asynccontextmanager(protect(async_session))

    def use() -> None:
        with opens() as opened:
            assert (opened, in_flight(engine)) == ("session", 1)
            if error is not None:
                raise error

    async def use_async() -> None:
        async with opens_async() as opened:
            assert (opened, in_flight(engine)) == ("session", 1)
            if error is not None:
                raise error

    for call in (use, lambda: asyncio.run(use_async())):
        engine.reset()
        assert is_noticed(engine, clock, call) is (error is not None)
        assert in_flight(engine) == 0


def test_an_asynchronous_generator_is_in_flight_until_it_is_exhausted_or_closed(engine: Atrion) -> None:
    @engine.protect("r")
    async def rows() -> AsyncIterator[int]:
        for row in range(3):
            await asyncio.sleep(0)
            yield row

    async def main() -> None:
        seen = [(row, in_flight(engine)) async for row in rows()]
        assert seen == [(0, 1), (1, 1), (2, 1)]
        assert in_flight(engine) == 0
        iterator: Any = rows()
        await anext(iterator)
        assert in_flight(engine) == 1
        await iterator.aclose()
        assert in_flight(engine) == 0

    asyncio.run(main())


def test_an_asynchronous_generator_is_sent_and_thrown_what_its_caller_sends_and_throws(
    engine: Atrion,
) -> None:
    @asynccontextmanager
    @engine.protect("r")
    async def session() -> AsyncIterator[str]:
        try:
            yield "session"
        except KeyError:
            pass

    @engine.protect("echo")
    async def echo() -> Any:
        got = None
        while True:
            got = yield got

    async def main() -> None:
        async with session() as opened:
            assert opened == "session"
            assert in_flight(engine) == 1
            raise KeyError  # the generator takes it
        assert in_flight(engine) == 0
        iterator = echo()
        await anext(iterator)
        assert await iterator.asend("a") == "a"
        await iterator.aclose()
        assert in_flight(engine, "echo") == 0

    asyncio.run(main())


def test_an_asynchronous_generator_that_is_cancelled_or_fails_ends_its_call(
    engine: Atrion, clock: VirtualClock
) -> None:
    @engine.protect("r")
    async def rows(hang: bool) -> AsyncIterator[int]:
        yield 1
        if hang:
            await asyncio.sleep(60.0)
        raise ConnectionError

    async def read(hang: bool) -> None:
        async for _ in rows(hang):
            pass

    async def main() -> None:
        task = asyncio.create_task(read(True))
        await asyncio.sleep(0)
        assert in_flight(engine) == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert in_flight(engine) == 0

    asyncio.run(main())
    assert is_noticed(engine, clock, lambda: asyncio.run(read(False)))


def test_calls_between_two_items_are_not_made_within_the_generator(engine: Atrion) -> None:
    @engine.protect("outer")
    def rows() -> Iterator[int]:
        with engine.flow("inner"):
            pass
        yield 1
        yield 2

    for _ in rows():
        with engine.flow("beside"):
            pass
    reasons = {name: state.pool_reason for name, state in engine.snapshot().items()}
    assert "within those of another route" in reasons["inner"]
    assert reasons["beside"] == reasons["outer"] != reasons["inner"]
