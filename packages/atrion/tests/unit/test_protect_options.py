"""What ``protect`` takes beside a route and a tier: keys, whose fault a failure was, and what answers in its place."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import pytest

from atrion import Atrion, ConfigurationError, Decision, FlowRejected, PhysicsVector, RouteSnapshot
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


@pytest.fixture
def shut(engine: Atrion) -> Callable[[str], None]:
    """Let a route shed everything of an ordinary tier."""

    def run(route: str) -> None:
        engine.restore(route, PhysicsVector(0.0, 0.0, 60.0, 0.0))

    return run


class Voltages:
    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_tick(self, state: RouteSnapshot) -> None: ...
    def on_transition(self, transition: object) -> None: ...
    def on_decision(self, decision: Decision) -> None:
        self.seen.append(decision.voltage)


def test_a_key_is_computed_from_the_arguments(engine: Atrion) -> None:
    heard = Voltages()
    engine.observe(heard)

    @engine.protect("r", tier="high", key=lambda user, q="": user)
    def search(user: str, q: str = "") -> str:
        return user + q

    @engine.protect("r", tier="high", key=lambda self, user: user)
    async def method(self: object, user: str) -> str:
        return user

    assert search("alice") + search("alice", q="x") + search("bob") == "alicealicexbob"
    assert asyncio.run(method(None, "alice")) == "alice"
    alice, again, bob, awaited = heard.seen
    assert alice == again == awaited == engine.decide("r", "high", key="alice").voltage
    assert bob == engine.decide("r", "high", key="bob").voltage != alice


def test_without_a_key_the_place_in_the_band_moves_on(engine: Atrion) -> None:
    heard = Voltages()
    engine.observe(heard)

    @engine.protect("r", key=lambda: None)
    def call() -> None: ...

    for _ in range(5):
        call()
    assert len(set(heard.seen)) == 5


@pytest.mark.parametrize("what", ["key", "failure"])
def test_a_function_that_fails_while_it_is_asked_harms_no_call(
    what: str, engine: Atrion, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> Any:
        raise RuntimeError("no such attribute")

    options: dict[str, Any] = {what: broken}

    @engine.protect("r", **options)
    def call(x: int) -> int:
        return x

    with caplog.at_level(logging.WARNING, "atrion"):
        assert [call(1), call(2)] == [1, 2]
    assert len(caplog.records) == 1
    assert f"{what}=" in caplog.text
    assert engine.snapshot()["r"].in_flight == 0


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


def test_a_fallback_answers_in_place_of_a_shed_call(engine: Atrion, shut: Callable[[str], None]) -> None:
    @engine.protect("r", fallback=lambda user, n=1: f"cached {user} {n}")
    def sync(user: str, n: int = 1) -> str:
        return f"fresh {user} {n}"

    async def cached(user: str) -> str:
        return f"cached {user}"

    @engine.protect("r", fallback=cached)
    async def awaited(user: str) -> str:
        return f"fresh {user}"

    @engine.protect("r", fallback=lambda user: f"kept {user}")
    async def plain_fallback(user: str) -> str:
        return f"fresh {user}"

    assert sync("a", n=2) == "fresh a 2"
    shut("r")
    assert sync("a", n=2) == "cached a 2"
    assert asyncio.run(awaited("a")) == "cached a"
    assert asyncio.run(plain_fallback("a")) == "kept a"
    assert engine.snapshot()["r"].shed == 3
    assert engine.snapshot()["r"].in_flight == 0


def test_generators_fall_back_too(engine: Atrion, shut: Callable[[str], None]) -> None:
    @engine.protect("r", fallback=lambda count: [0] * count)
    def rows(count: int) -> Iterator[int]:
        yield from range(count)

    async def stale(count: int) -> AsyncIterator[int]:
        for _ in range(count):
            yield 7

    @engine.protect("r", fallback=stale)
    async def stream(count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number

    @engine.protect("r", fallback=lambda count: (8,) * count)
    async def stream_of_a_list(count: int) -> AsyncIterator[int]:
        yield count

    async def collect(items: AsyncIterator[int]) -> list[int]:
        return [item async for item in items]

    shut("r")
    assert list(rows(2)) == [0, 0]
    assert asyncio.run(collect(stream(2))) == [7, 7]
    assert asyncio.run(collect(stream_of_a_list(2))) == [8, 8]


def test_what_a_call_within_sheds_is_not_answered_by_the_outer_fallback(
    engine: Atrion, shut: Callable[[str], None]
) -> None:
    @engine.protect("inner")
    def inner() -> str:
        return "fresh"

    @engine.protect("outer", fallback=lambda: "cached")
    def outer() -> str:
        return inner()

    shut("inner")
    with pytest.raises(FlowRejected) as rejection:
        outer()
    assert rejection.value.decision.route == "inner"


def test_options_go_with_methods_of_every_kind(engine: Atrion, shut: Callable[[str], None]) -> None:
    class Shop:
        @engine.protect("r", key=lambda cls, user: user, fallback=lambda cls, user: cls)
        @classmethod
        def open(cls, user: str) -> Any:
            return user

        @engine.protect("r", key=lambda user: user, fallback=lambda user: "cached")
        @staticmethod
        def buy(user: str) -> str:
            return user

    assert Shop.buy("a") + Shop.open("a") == "aa"
    shut("r")
    assert (Shop.open("a"), Shop.buy("a")) == (Shop, "cached")


async def _async(*_: object) -> None: ...


@pytest.mark.parametrize(
    "options, words",
    [
        ({"key": "user"}, "key must be a function of the call's arguments .*, got 'user'"),
        ({"key": _async}, "key must be a plain function"),
        ({"failure": 500}, "failure must be a function of the result .*, got 500"),
        ({"failure": _async}, "failure must be a plain function"),
        ({"fallback": "cached"}, "fallback must be a function of the same arguments, got 'cached'"),
        (
            {"fallback": _async},
            "fallback must be a plain function, because the protected function is not async",
        ),
        ({"ignore": ValueError()}, "ignore must be exception classes"),
        ({"ignore": (ValueError, "KeyError")}, "ignore must be exception classes, .*, got 'KeyError'"),
        ({"tier": "crit"}, "tier must be one of .*, got 'crit'"),
    ],
)
def test_what_makes_no_sense_is_refused_when_decorated(
    options: dict[str, Any], words: str, engine: Atrion
) -> None:
    with pytest.raises(ConfigurationError, match=words):

        @engine.protect("r", **options)
        def call() -> None: ...


def test_a_generator_has_no_result_to_judge(engine: Atrion) -> None:
    with pytest.raises(ConfigurationError, match=r"failure = .* a generator has no result"):
        engine.protect("r", failure=bool)(generator)
    with pytest.raises(ConfigurationError, match=r"failure = .* a generator has no result"):
        engine.protect("r", failure=bool)(async_generator)
