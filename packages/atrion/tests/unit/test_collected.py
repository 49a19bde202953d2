"""What nobody holds is collected, whatever it is part of."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from atrion import Atrion, Decision, FlowRejected, InMemoryProvider, PhysicsVector, RouteSnapshot, Transition
from atrion.testing import VirtualClock
from packages.atrion.tests.unit.calling import Breaker


class Watch:
    """An observer that keeps something of the engine that it observes."""

    def __init__(self, kept: object) -> None:
        self.kept = kept

    def on_tick(self, state: RouteSnapshot) -> None: ...
    def on_decision(self, decision: Decision) -> None: ...
    def on_transition(self, transition: Transition) -> None: ...


def unused(engine: Atrion) -> object:
    return engine.flow("r")


def used(engine: Atrion) -> object:
    flow = engine.flow("r")
    with flow:
        pass
    return flow


def in_flight(engine: Atrion) -> object:
    flow = engine.flow("r")
    flow.__enter__()
    return flow


def decorated(engine: Atrion) -> object:
    @engine.protect("r")
    def call() -> None: ...

    call()
    return call


def generating(engine: Atrion) -> object:
    @engine.protect("r")
    def rows() -> Iterator[int]:
        yield 1
        yield 2

    iterator = rows()
    next(iterator)
    return iterator


def rejected(engine: Atrion) -> object:
    engine.restore("r", PhysicsVector(0.0, 0.0, 150.0, 0.0))
    for _ in range(3):
        try:
            with engine.flow("r", "bulk"):
                pass
        except FlowRejected as error:
            return error
    raise AssertionError


def pulsed(engine: Atrion) -> object:
    async def main() -> None:
        async with engine, engine.flow("r"):
            await engine.pulse_once()

    asyncio.run(main())
    return engine.snapshot()


def beating(engine: Atrion) -> object:
    with engine, engine.flow("r"):
        return engine.decide("r")


KEPT = [unused, used, in_flight, decorated, generating, rejected, pulsed, beating]


@pytest.mark.parametrize("provider", [None, InMemoryProvider()])
@pytest.mark.parametrize("holder", ["attribute", "observer", "both"])
@pytest.mark.parametrize("keep", KEPT)
def test_an_engine_that_nobody_holds_is_collected(
    keep: Callable[[Atrion], object], holder: str, provider: Any
) -> None:
    engine = Atrion(provider=provider)
    watch = Watch(keep(engine))
    if holder in {"observer", "both"}:
        engine.observe(watch)
        engine.decide("r")
    if holder in {"attribute", "both"}:
        with suppress(AttributeError):
            engine.keep = watch  # type: ignore[attr-defined]  # as users do
    gone = weakref.ref(engine), weakref.ref(watch)
    del engine, watch
    gc.collect()
    gc.collect()
    assert [reference for reference in gone if reference() is not None] == []


def test_a_provider_outlives_its_engines_without_them() -> None:
    hub = InMemoryProvider()

    async def main() -> weakref.ref[Atrion]:
        engine = Atrion(provider=hub)
        async with engine:
            engine.decide("r")
            await engine.pulse_once()
        return weakref.ref(engine)

    gone = asyncio.run(main())
    gc.collect()
    assert gone() is None


def test_a_decorated_function_keeps_its_engine() -> None:
    """Observers hear of its calls although nobody else holds the engine."""
    heard: list[Decision] = []

    class Listening(Watch):
        def on_decision(self, decision: Decision) -> None:
            heard.append(decision)

    def decorate() -> Callable[[], None]:
        engine = Atrion()
        engine.observe(Listening(None))

        @engine.protect("r")
        def call() -> None: ...

        return call

    call = decorate()
    gc.collect()
    call()
    assert [decision.route for decision in heard] == ["r"]


class Payload:
    pass


def test_rejected_coroutines_leave_nothing(engine: Atrion, clock: VirtualClock, broken: Breaker) -> None:
    broken(engine, "r")
    clock.advance(0.4)
    while not engine.decide("r"):
        pass  # the probe of this instant has gone: all that follow are shed

    @engine.protect("r")
    async def call(payload: Payload) -> None:
        raise AssertionError("never called")

    async def main() -> list[weakref.ref[Payload]]:
        payloads = [Payload() for _ in range(50)]
        refs = [weakref.ref(payload) for payload in payloads]
        results = await asyncio.gather(*(call(payload) for payload in payloads), return_exceptions=True)
        assert all(isinstance(result, FlowRejected) for result in results)
        del results
        return refs

    refs = asyncio.run(main())
    gc.collect()
    assert [ref for ref in refs if ref() is not None] == []
    assert [
        thing
        for thing in gc.get_objects()
        if type(thing) is FlowRejected and thing.args[0] is not None and thing.decision.route == "r"
    ] == []
    assert engine.snapshot()["r"].in_flight == 0
