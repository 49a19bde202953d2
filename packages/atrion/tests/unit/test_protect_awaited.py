"""``protect`` around whatever is awaited: in flight until it is done, and its failures are seen."""

from __future__ import annotations

import asyncio
import functools
import gc
import time
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from atrion import Atrion
from atrion.testing import VirtualClock
from packages.atrion.tests.unit.calling import in_flight, is_noticed


def timed(function: Callable[..., Any]) -> Callable[..., Any]:
    """An ordinary decorator, as many libraries have one."""

    @functools.wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return inner


async def answer(error: bool = False) -> str:
    await asyncio.sleep(0)
    if error:
        raise ConnectionError
    return "ok"


@types.coroutine
def old_coroutine(error: bool = False) -> Generator[Any, Any, str]:
    return (yield from answer(error).__await__())


class Client:
    async def __call__(self, error: bool = False) -> str:
        return await answer(error)

    async def method(self, error: bool = False) -> str:
        return await answer(error)

    @staticmethod
    async def static(error: bool = False) -> str:
        return await answer(error)

    @classmethod
    async def klass(cls, error: bool = False) -> str:
        return await answer(error)


class Promise:
    def __init__(self, error: bool = False) -> None:
        self.error = error
        self.name = "kept"

    def __await__(self) -> Generator[Any, Any, str]:
        return answer(self.error).__await__()


def future(error: bool = False) -> asyncio.Future[str]:
    made: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    if error:
        asyncio.get_running_loop().call_soon(made.set_exception, ConnectionError())
    else:
        asyncio.get_running_loop().call_soon(made.set_result, "ok")
    return made


def blocking(error: bool = False) -> str:
    time.sleep(0.02)  # Python 3.14 does not wait for a thread that is done at once
    if error:
        raise ConnectionError
    return "ok"


AWAITED: dict[str, Callable[..., Awaitable[str]]] = {
    "async def": answer,
    "partial": functools.partial(answer),
    "decorated by another": timed(answer),
    "async __call__": Client(),
    "partial of async __call__": functools.partial(Client()),
    "bound method": Client().method,
    "staticmethod": Client.static,
    "classmethod": Client.klass,
    "staticmethod itself": Client.__dict__["static"],
    "returns a coroutine": lambda error=False: answer(error),
    "returns a task": lambda error=False: asyncio.ensure_future(answer(error)),
    "returns a future": future,
    "returns an object with __await__": lambda error=False: Promise(error),
    "types.coroutine": old_coroutine,
    "asgiref's sync_to_async": sync_to_async(blocking, thread_sensitive=False),
}


@pytest.mark.parametrize("kind", AWAITED)
def test_what_is_awaited_is_in_flight_until_it_is_done(
    kind: str, engine: Atrion, clock: VirtualClock
) -> None:
    guarded = engine.protect("r")(AWAITED[kind])

    async def main() -> None:
        seen = []

        async def watch() -> None:
            seen.append(in_flight(engine))

        result, _ = await asyncio.gather(guarded(), watch())
        assert result == "ok"
        assert seen == [1]
        await asyncio.sleep(0)  # callbacks of futures
        assert in_flight(engine) == 0

    async def fail() -> None:
        await guarded(True)

    asyncio.run(main())
    assert is_noticed(engine, clock, lambda: asyncio.run(fail()))
    assert in_flight(engine) == 0


def test_a_task_is_what_the_caller_gets(engine: Atrion) -> None:
    @engine.protect("r")
    def start() -> asyncio.Task[None]:
        return asyncio.create_task(asyncio.sleep(60.0))

    async def main() -> None:
        task = start()
        assert isinstance(task, asyncio.Task)
        await asyncio.sleep(0)
        assert in_flight(engine) == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        assert in_flight(engine) == 0

    asyncio.run(main())


def test_a_future_of_a_thread_is_in_flight_until_it_is_done(engine: Atrion, clock: VirtualClock) -> None:
    gate: Future[None] = Future()
    with ThreadPoolExecutor(1) as pool:

        @engine.protect("r")
        def submit() -> Future[None]:
            return pool.submit(gate.result)

        submitted = submit()
        assert in_flight(engine) == 1
        gate.set_result(None)
        submitted.result(10.0)
    assert in_flight(engine) == 0

    @engine.protect("sick")
    def fail() -> Future[None]:
        failed: Future[None] = Future()
        failed.set_exception(ConnectionError())
        return failed

    assert is_noticed(engine, clock, lambda: fail().result(), "sick")


def test_an_awaitable_keeps_its_attributes_and_may_become_a_task(engine: Atrion) -> None:
    guarded = engine.protect("r")(lambda: Promise())

    async def main() -> None:
        assert guarded().name == "kept"
        assert await asyncio.create_task(guarded()) == "ok"

    asyncio.run(main())
    assert in_flight(engine) == 0


class Response:
    """As ``aiohttp.ClientSession.get`` returns one: to be awaited, or entered."""

    def __await__(self) -> Generator[Any, Any, str]:
        return answer().__await__()

    async def __aenter__(self) -> str:
        return "entered"

    async def __aexit__(self, *error: object) -> None: ...


def test_what_may_be_awaited_or_entered_is_in_flight_until_it_is_left(engine: Atrion) -> None:
    get = engine.protect("r")(lambda: Response())

    async def main() -> None:
        assert await get() == "ok"
        assert in_flight(engine) == 0
        async with get() as opened:
            assert opened == "entered"
            assert in_flight(engine) == 1
        assert in_flight(engine) == 0
        with pytest.raises(ConnectionError):
            async with get():
                raise ConnectionError
        assert in_flight(engine) == 0

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["generator", "asynchronous generator"])
def test_a_generator_that_a_function_returns_is_followed(kind: str, engine: Atrion) -> None:
    def rows() -> Iterator[int]:
        yield 1

    async def async_rows() -> AsyncIterator[int]:
        yield 1

    async def read() -> None:
        async for _ in engine.protect("r")(timed(async_rows))():
            assert in_flight(engine) == 1

    if kind == "generator":
        for _ in engine.protect("r")(timed(rows))():
            assert in_flight(engine) == 1
    else:
        asyncio.run(read())
    assert in_flight(engine) == 0


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.parametrize("make", [lambda: answer(), lambda: Promise(), lambda: (row for row in "abc")])
def test_what_is_thrown_away_unused_is_not_in_flight(make: Callable[[], Any], engine: Atrion) -> None:
    made = engine.protect("r")(make)()
    assert in_flight(engine) == 1
    del made
    gc.collect()
    assert in_flight(engine) == 0
