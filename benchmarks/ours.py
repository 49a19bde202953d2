"""Atrion, measured through its public API like every other library."""

import asyncio
import math
import time
from collections.abc import Callable, Iterable
from itertools import cycle, islice
from tempfile import TemporaryDirectory
from typing import ClassVar

from opentelemetry.sdk.metrics import MeterProvider

import atrion
from atrion import Atrion, FlowRejected, Telemetry, Tier
from atrion.integrations.asgi import AtrionMiddleware
from atrion.integrations.otel import instrument
from atrion.integrations.prometheus import AtrionCollector, metrics_wsgi_app
from atrion.providers.workers import WorkersProvider
from atrion.testing import VirtualClock
from benchmarks.guards import KEY, ROUTE, Guard, fail, fail_async, work, work_async
from benchmarks.measure import AsyncCall, AsyncRefusing, Call, NamedCall, Refusing, Void
from benchmarks.requests import App, shared_application

CALM = Telemetry(latency=0.045, error_rate=0.0, saturation=0.3)
DEAD = Telemetry(latency=math.inf, error_rate=1.0, saturation=1.0)

MANY_ROUTES = 200_000
"""The bound on routes wherever more than a few are used: nothing may be evicted while it is measured."""

_PATIENCE = 20.0  # seconds; a dead route is refused after a second or two
_REST = 0.02  # seconds between two observations of a dead route


class Ours(Guard):
    """`protect` for a fixed route, `flow` for a route named at call time, `decide` for the bare question."""

    name: ClassVar[str] = "atrion"
    module: ClassVar[str] = "atrion"

    @property
    def build(self) -> str:
        """What the package says of itself: `compiled`, or `pure` from source."""
        return "compiled" if atrion.compiled else "pure"

    def sync_ok(self) -> Call:
        guarded: Call = Atrion().protect(ROUTE, tier=Tier.NORMAL)(work)
        return guarded

    def watched(self) -> Call:
        # In a folder of its own, which is removed when this process ends.
        self._folder = TemporaryDirectory(prefix="atrion-bench-")
        provider = WorkersProvider(self._folder.name)
        engine = Atrion(provider)
        self._watching = AtrionCollector(engine), instrument(engine, meter_provider=MeterProvider())
        guarded: Call = engine.protect(ROUTE, tier=Tier.NORMAL)(work)
        guarded()

        async def watch() -> None:
            await provider.watch_vitals()
            await engine.pulse_once()  # as the pulse does ten times a second, beside the calls
            if not await provider.watch_vitals():
                raise Void("no vitals were published")

        asyncio.run(watch())
        return guarded

    def export(self, names: Iterable[str]) -> Call:
        names = list(names)
        engine = Atrion(max_routes=MANY_ROUTES)
        app = metrics_wsgi_app(engine, max_routes=len(names))
        for name in names:
            for tier in (Tier.NORMAL, Tier.HIGH, Tier.CRITICAL):
                with engine.flow(name, tier):
                    work()
        return lambda: app({"REQUEST_METHOD": "GET"}, lambda status, headers: None)

    def sync_refusing(self) -> Refusing:
        engine = Atrion()
        guarded: Call = engine.protect(ROUTE, tier=Tier.NORMAL)(fail)
        shut = _shutter(engine)

        def arm() -> Call:
            shut()
            return guarded

        return Refusing(arm, FlowRejected)

    def async_ok(self) -> AsyncCall:
        guarded: AsyncCall = Atrion().protect(ROUTE, tier=Tier.NORMAL)(work_async)
        return guarded

    def async_refusing(self) -> AsyncRefusing:
        engine = Atrion()
        guarded: AsyncCall = engine.protect(ROUTE, tier=Tier.NORMAL)(fail_async)
        shut = _shutter(engine)

        async def arm() -> AsyncCall:
            shut()
            return guarded

        return AsyncRefusing(arm, FlowRejected)

    def by_name(self) -> NamedCall:
        flow = Atrion(max_routes=MANY_ROUTES).flow

        def call(name: str) -> None:
            with flow(name):
                work()

        return call

    def decide(self) -> Call:
        decide, tier = _calm_engine().decide, Tier.NORMAL
        return lambda: decide(ROUTE, tier)

    def decide_for_key(self) -> Call:
        decide, tier = _calm_engine().decide, Tier.NORMAL
        return lambda: decide(ROUTE, tier, key=KEY)

    def decide_by_name(self) -> NamedCall:
        decide, tier = Atrion(max_routes=MANY_ROUTES).decide, Tier.NORMAL
        return lambda name: decide(name, tier)

    def update(self) -> Call:
        update = Atrion().update_physics
        return lambda: update(ROUTE, CALM)

    def pulse(self, names: Iterable[str]) -> AsyncCall:
        clock = VirtualClock()
        engine = Atrion(max_routes=MANY_ROUTES, clock=clock)
        for name in names:
            engine.decide(name)

        async def call() -> None:
            clock.advance(0.1)
            await engine.pulse_once()

        return call

    def leases(self, count: int) -> Call:
        clock = VirtualClock()
        engine = Atrion(clock=clock)
        engine.configure("*", pool="one")
        held = [
            engine.lease(f"job/{n % 10}", "critical", profile="heavy", budget={"seconds": 1e9, "memory": 8e9})
            for n in range(count)
        ]
        for lease in held:
            lease.__enter__()
        turns = cycle(held)

        def call() -> None:
            for _ in range(4):
                # The first heartbeat then reviews, as a thread does by the machine's clock.
                clock.advance(0.25)
                for lease in islice(turns, count // 40):
                    lease.heartbeat(0.5, memory=2e9)

        return call

    def asgi(self) -> App:
        return AtrionMiddleware(shared_application(), Atrion())

    def populate(self, names: Iterable[str]) -> object:
        engine = Atrion(max_routes=MANY_ROUTES)
        for name in names:
            with engine.flow(name):
                work()
        return engine


def _calm_engine() -> Atrion:
    """An engine that knows its route, so that a decision is a decision and not a first sight."""
    engine = Atrion()
    engine.update_physics(ROUTE, CALM)
    return engine


def _shutter(engine: Atrion) -> Callable[[], None]:
    """A function that observes a dead route until the engine refuses it, and anew whenever it is called."""

    def shut() -> None:
        ends_at = time.monotonic() + _PATIENCE
        engine.update_physics(ROUTE, DEAD)
        refusals = 0
        while refusals < 5:  # some probes are let through for ever, a few refusals in a row are no accident
            refusals = 0 if engine.decide(ROUTE, Tier.NORMAL).allowed else refusals + 1
            if not refusals:
                if time.monotonic() > ends_at:
                    raise Void(f"a dead route was still served after {_PATIENCE:g} s")
                time.sleep(_REST)
                engine.update_physics(ROUTE, DEAD)

    return shut
