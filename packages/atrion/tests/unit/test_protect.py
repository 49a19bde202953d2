"""``protect``: kinds of functions, names, methods, and what is refused."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from atrion import Atrion, ConfigurationError, FlowRejected, PhysicsVector


class Client:
    async def __call__(self) -> None: ...


def blocking(error: bool = False) -> None: ...


def test_the_kind_of_a_function_stays(engine: Atrion) -> None:
    def plain() -> None: ...

    def generator() -> Iterator[None]:
        yield

    async def coroutine() -> None: ...

    async def async_generator() -> AsyncIterator[None]:
        yield

    for function in (plain, generator, coroutine, async_generator):
        guarded = engine.protect("r")(function)
        for kind in (
            inspect.isgeneratorfunction,
            inspect.iscoroutinefunction,
            inspect.isasyncgenfunction,
        ):
            assert kind(guarded) == kind(function)
        assert guarded.__name__ == function.__name__


def test_methods_of_every_kind(engine: Atrion) -> None:
    class Shop:
        @engine.protect("method")
        def method(self) -> Shop:
            return self

        @engine.protect("static")
        @staticmethod
        def static(x: int) -> int:
            return x

        @staticmethod
        @engine.protect("static-inside")
        def static_inside(x: int) -> int:
            return x

        @engine.protect("class")  # type: ignore[arg-type]  # mypy takes a classmethod for no callable
        @classmethod
        def klass(cls) -> type[Shop]:
            return cls

        @property
        @engine.protect("property")
        def price(self) -> int:
            return 7

    shop = Shop()
    assert shop.method() is shop
    assert shop.static(1) == Shop.static(2) - 1 == shop.static_inside(1) == 1
    assert shop.klass() is Shop.klass() is Shop  # type: ignore[comparison-overlap]
    assert shop.price == 7
    admitted = {route: state.admitted for route, state in engine.snapshot().items()}
    assert admitted == {"method": 1, "static": 2, "static-inside": 1, "class": 2, "property": 1}


def test_a_route_may_be_named_by_its_function(engine: Atrion) -> None:
    @engine.protect
    def bare(x: int) -> int:
        return x

    @engine.protect()
    async def called() -> int:
        return 1

    @engine.protect(tier="critical")
    def with_a_tier() -> int:
        return 1

    class Shop:
        @engine.protect
        def buy(self) -> int:
            return 1

        @engine.protect
        @staticmethod
        def open() -> int:
            return 1

    assert bare(3) == 3
    assert asyncio.run(called()) == with_a_tier() == Shop().buy() == Shop.open() == 1
    here = "test_a_route_may_be_named_by_its_function.<locals>"
    assert sorted(engine.snapshot()) == [
        f"{here}.{name}" for name in ("Shop.buy", "Shop.open", "bare", "called", "with_a_tier")
    ]
    for route in engine.snapshot():
        engine.restore(route, PhysicsVector(0.0, 0.0, 80.0, 0.0))
    with_a_tier()
    with pytest.raises(FlowRejected):
        bare(3)


def test_objects_are_named_by_their_class(engine: Atrion) -> None:
    engine.protect(Client())
    engine.protect(functools.partial(blocking, True))
    assert sorted(engine.snapshot()) == ["Client", "blocking"]


@pytest.mark.parametrize(
    "thing, words",
    [
        (property(lambda self: 1), "below @property"),
        (functools.cached_property(lambda self: 1), "below @property"),
        (Client, "protect its methods"),
        (functools.partialmethod(blocking), "must be a function"),
        (None, "must be a function"),
        (42, "must be a function"),
    ],
)
def test_what_cannot_be_guarded_is_refused_in_words(thing: Any, words: str, engine: Atrion) -> None:
    with pytest.raises(ConfigurationError, match=words):
        engine.protect("r")(thing)
    if callable(thing) or hasattr(thing, "__get__"):
        with pytest.raises(ConfigurationError, match=words):
            engine.protect(thing)


@pytest.mark.parametrize("thing", ["", "x" * 257, None, 42])
def test_a_name_that_cannot_be_a_route_is_refused(thing: Any, engine: Atrion) -> None:
    with pytest.raises(ConfigurationError, match="route_id"):
        engine.protect(thing)


def test_protect_counts_and_keeps_the_function(engine: Atrion) -> None:
    @engine.protect("r", tier="high")
    def add(a: int, b: int = 2) -> int:
        """Add."""
        return a + b

    assert add(1) == 3
    assert add(1, b=4) == 5
    assert (add.__name__, add.__doc__) == ("add", "Add.")
    seen = engine.snapshot()["r"]
    assert (seen.admitted, seen.in_flight, seen.shed) == (2, 0, 0)


def test_protect_async_counts_and_keeps_the_function(engine: Atrion) -> None:
    @engine.protect("r")
    async def add(a: int, b: int = 2) -> int:
        """Add."""
        assert engine.snapshot()["r"].in_flight == 1
        return a + b

    assert asyncio.run(add(1)) == 3
    assert add.__name__ == "add"
    assert (engine.snapshot()["r"].admitted, engine.snapshot()["r"].in_flight) == (1, 0)
