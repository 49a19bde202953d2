"""What ``protect`` is told of failures: exceptions that are nobody's fault, and results that are failures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import pytest

from atrion import Atrion, ConfigurationError, FlowRejected
from atrion.testing import VirtualClock


class Outcomes:
    """What the calls of a route counted as, read from the pressure that they leave after a tick."""

    def __init__(self, engine: Atrion, clock: VirtualClock) -> None:
        self.engine = engine
        self.clock = clock

    def failing(self, call: Callable[[], Any], error: type[BaseException] | None = None) -> bool:
        for _ in range(60):
            if error is None:
                call()
            else:
                with pytest.raises((error, FlowRejected)):
                    call()
            self.clock.advance(0.05)
        return self.engine.snapshot()["r"].pressure_error > 0.0


@pytest.fixture
def outcomes(engine: Atrion, clock: VirtualClock) -> Outcomes:
    return Outcomes(engine, clock)


class Rude(ValueError):
    pass


def test_ignored_exceptions_are_nobodys_failure(engine: Atrion, outcomes: Outcomes) -> None:
    @engine.protect("r", ignore=(KeyError, ValueError))
    def call() -> None:
        raise Rude

    assert not outcomes.failing(call, Rude)


def test_one_class_of_exceptions_needs_no_tuple(engine: Atrion, outcomes: Outcomes) -> None:
    @engine.protect("r", ignore=ValueError)
    async def call() -> None:
        raise ExceptionGroup("two", [Rude(), ValueError()])

    assert not outcomes.failing(lambda: asyncio.run(call()), ExceptionGroup)


def test_other_exceptions_are_failures(engine: Atrion, outcomes: Outcomes) -> None:
    @engine.protect("r", ignore=(KeyError,))
    def call() -> None:
        raise ExceptionGroup("two", [Rude(), KeyError()])

    assert outcomes.failing(call, ExceptionGroup)


def generator() -> Iterator[int]:
    yield 1
    raise Rude


async def async_generator() -> AsyncIterator[int]:
    yield 1
    raise Rude


def future() -> Future[int]:
    failed: Future[int] = Future()
    failed.set_exception(Rude())
    return failed


def returned() -> Awaitable[int]:
    async def inner() -> int:
        raise Rude

    return inner()


@contextmanager
def entered() -> Iterator[None]:
    yield
    raise Rude


async def drain(items: AsyncIterator[int]) -> None:
    async for _ in items:
        pass


async def wait(awaitable: Awaitable[int]) -> None:
    await awaitable


def through(context: Any) -> None:
    with context:
        pass


@pytest.mark.parametrize(
    "function, run",
    [
        (generator, list),
        (async_generator, lambda items: asyncio.run(drain(items))),
        (future, lambda failed: failed.result()),
        (returned, lambda awaitable: asyncio.run(wait(awaitable))),
        (entered, through),
    ],
)
def test_ignored_exceptions_of_every_kind_of_function(
    function: Any, run: Callable[[Any], None], engine: Atrion, outcomes: Outcomes
) -> None:
    guarded = engine.protect("r", ignore=Rude)(function)
    assert not outcomes.failing(lambda: run(guarded()), Rude)
    assert engine.snapshot()["r"].in_flight == 0


def test_a_result_can_be_a_failure(engine: Atrion, outcomes: Outcomes) -> None:
    @engine.protect("r", failure=lambda status: status >= 500)
    def call(status: int) -> int:
        return status

    assert not outcomes.failing(lambda: call(200))
    assert outcomes.failing(lambda: _tried(lambda: call(503)))


def _tried(call: Callable[[], Any]) -> None:
    try:
        call()
    except FlowRejected:
        pass


def test_an_awaited_result_and_that_of_a_future_are_judged_when_they_are_there(
    engine: Atrion, outcomes: Outcomes
) -> None:
    async def answer() -> int:
        return 500

    @engine.protect("r", failure=lambda status: status >= 500)
    async def awaited() -> int:
        return await answer()

    @engine.protect("s", failure=lambda status: status >= 500)
    def returns() -> Awaitable[int]:
        return answer()

    assert outcomes.failing(lambda: _tried(lambda: asyncio.run(awaited())))
    for _ in range(60):
        _tried(lambda: asyncio.run(wait(returns())))
        outcomes.clock.advance(0.05)
    assert engine.snapshot()["s"].pressure_error > 0.0


def test_a_generator_has_no_result_to_judge(engine: Atrion) -> None:
    with pytest.raises(ConfigurationError, match=r"failure = .* a generator has no result"):
        engine.protect("r", failure=bool)(generator)
    with pytest.raises(ConfigurationError, match=r"failure = .* a generator has no result"):
        engine.protect("r", failure=bool)(async_generator)
