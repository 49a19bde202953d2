"""What ``protect`` takes beside a route and a tier: keys, whose fault a failure was, and what answers in its place."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from atrion import Atrion, ConfigurationError, Decision, FlowRejected, RouteSnapshot
from packages.atrion.tests.unit.calling import scarred


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


def test_a_fallback_answers_in_place_of_a_shed_call(engine: Atrion) -> None:
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
    scarred(engine, "r")
    assert sync("a", n=2) == "cached a 2"
    assert asyncio.run(awaited("a")) == "cached a"
    assert asyncio.run(plain_fallback("a")) == "kept a"
    assert engine.snapshot()["r"].shed == 3
    assert engine.snapshot()["r"].in_flight == 0


def test_generators_fall_back_too(engine: Atrion) -> None:
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

    scarred(engine, "r")
    assert list(rows(2)) == [0, 0]
    assert asyncio.run(collect(stream(2))) == [7, 7]
    assert asyncio.run(collect(stream_of_a_list(2))) == [8, 8]


def test_what_a_call_within_sheds_is_not_answered_by_the_outer_fallback(engine: Atrion) -> None:
    @engine.protect("inner")
    def inner() -> str:
        return "fresh"

    @engine.protect("outer", fallback=lambda: "cached")
    def outer() -> str:
        return inner()

    scarred(engine, "inner")
    with pytest.raises(FlowRejected) as rejection:
        outer()
    assert rejection.value.decision.route == "inner"


def test_options_go_with_methods_of_every_kind(engine: Atrion) -> None:
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
    scarred(engine, "r")
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
