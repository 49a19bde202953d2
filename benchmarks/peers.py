"""The peers: circuit breakers and limiters from PyPI, each used as its documentation recommends.

The modules are imported by name: they belong to the benchmarks' own dependency group, and some have no types.
Breakers are opened by letting the guarded call fail until they open, limiters by using up their quota.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from importlib import import_module
from typing import Any, ClassVar

from benchmarks.guards import KEY, PASS_THROUGH, ROUTE, Guard, fail, fail_async, work, work_async
from benchmarks.measure import (
    AsyncCall,
    AsyncRefusing,
    Call,
    NamedCall,
    Refusing,
    until_refused,
    until_refused_async,
)
from benchmarks.requests import App, Message, application, shared_application

LONG = 86_400
"""Seconds for which an opened breaker stays open: longer than any run."""

PLENTY = 1_000_000_000
"""A quota that no run uses up."""


class Refused(Exception):
    """Raised where a limiter answers with a value and leaves the raising to its caller."""


def _refusing(guarded: Call, refusal: type[BaseException]) -> Refusing:
    """A breaker around a failing call, opened once and found open in every later batch."""

    def arm() -> Call:
        until_refused(guarded, refusal)
        return guarded

    return Refusing(arm, refusal)


def _async_refusing(guarded: AsyncCall, refusal: type[BaseException]) -> AsyncRefusing:
    async def arm() -> AsyncCall:
        await until_refused_async(guarded, refusal)
        return guarded

    return AsyncRefusing(arm, refusal)


class PyBreaker(Guard):
    """pybreaker: the decorator. Its coroutine mode needs Tornado, so it is absent from the async cases."""

    name: ClassVar[str] = "pybreaker"
    module: ClassVar[str] = "pybreaker"

    def sync_ok(self) -> Call:
        guarded: Call = self.lib.CircuitBreaker(name=ROUTE)(work)
        return guarded

    def sync_refusing(self) -> Refusing:
        breaker = self.lib.CircuitBreaker(name=ROUTE, reset_timeout=LONG)
        return _refusing(breaker(fail), self.lib.CircuitBreakerError)

    def populate(self, names: Iterable[str]) -> object:
        breakers = {name: self.lib.CircuitBreaker(name=name) for name in names}
        for breaker in breakers.values():
            breaker.call(work)
        return breakers


class CircuitBreaker(Guard):
    """circuitbreaker: the decorator, sync and async."""

    name: ClassVar[str] = "circuitbreaker"
    module: ClassVar[str] = "circuitbreaker"

    def sync_ok(self) -> Call:
        guarded: Call = self.lib.circuit(name="sync-ok")(work)
        return guarded

    def sync_refusing(self) -> Refusing:
        guarded = self.lib.circuit(name="sync-refused", recovery_timeout=LONG)(fail)
        return _refusing(guarded, self.lib.CircuitBreakerError)

    def async_ok(self) -> AsyncCall:
        guarded: AsyncCall = self.lib.circuit(name="async-ok")(work_async)
        return guarded

    def async_refusing(self) -> AsyncRefusing:
        guarded = self.lib.circuit(name="async-refused", recovery_timeout=LONG)(fail_async)
        return _async_refusing(guarded, self.lib.CircuitBreakerError)

    def populate(self, names: Iterable[str]) -> object:
        breakers = {name: self.lib.CircuitBreaker(name=name) for name in names}
        for breaker in breakers.values():
            breaker.call(work)
        return breakers


class AioBreaker(Guard):
    """aiobreaker: the decorator, sync and async."""

    name: ClassVar[str] = "aiobreaker"
    module: ClassVar[str] = "aiobreaker"

    def sync_ok(self) -> Call:
        guarded: Call = self.lib.CircuitBreaker(name=ROUTE)(work)
        return guarded

    def sync_refusing(self) -> Refusing:
        return _refusing(self._long_open()(fail), self.lib.CircuitBreakerError)

    def async_ok(self) -> AsyncCall:
        guarded: AsyncCall = self.lib.CircuitBreaker(name=ROUTE)(work_async)
        return guarded

    def async_refusing(self) -> AsyncRefusing:
        return _async_refusing(self._long_open()(fail_async), self.lib.CircuitBreakerError)

    def populate(self, names: Iterable[str]) -> object:
        breakers = {name: self.lib.CircuitBreaker(name=name) for name in names}
        for breaker in breakers.values():
            breaker.call(work)
        return breakers

    def _long_open(self) -> Any:
        return self.lib.CircuitBreaker(name=ROUTE, timeout_duration=timedelta(seconds=LONG))


class Purgatory(Guard):
    """purgatory: the factories' decorators, and `get_breaker` where the circuit is named at call time.

    An open circuit raises one and the same exception object, whose traceback grows with every refusal; each
    batch therefore opens a fresh circuit, lest the memory of the run grow with it.
    """

    name: ClassVar[str] = "purgatory"
    module: ClassVar[str] = "purgatory"

    def sync_ok(self) -> Call:
        guarded: Call = self.lib.SyncCircuitBreakerFactory()(ROUTE)(work)
        return guarded

    def sync_refusing(self) -> Refusing:
        refusal = self._refusal()

        def arm() -> Call:
            guarded: Call = self.lib.SyncCircuitBreakerFactory(default_ttl=LONG)(ROUTE)(fail)
            until_refused(guarded, refusal)
            return guarded

        return Refusing(arm, refusal)

    def async_ok(self) -> AsyncCall:
        guarded: AsyncCall = self.lib.AsyncCircuitBreakerFactory()(ROUTE)(work_async)
        return guarded

    def async_refusing(self) -> AsyncRefusing:
        refusal = self._refusal()

        async def arm() -> AsyncCall:
            guarded: AsyncCall = self.lib.AsyncCircuitBreakerFactory(default_ttl=LONG)(ROUTE)(fail_async)
            await until_refused_async(guarded, refusal)
            return guarded

        return AsyncRefusing(arm, refusal)

    def by_name(self) -> NamedCall:
        get_breaker = self.lib.SyncCircuitBreakerFactory().get_breaker

        def call(name: str) -> None:
            with get_breaker(name):
                work()

        return call

    def populate(self, names: Iterable[str]) -> object:
        factory = self.lib.SyncCircuitBreakerFactory()
        for name in names:
            with factory.get_breaker(name):
                work()
        return factory

    def _refusal(self) -> type[BaseException]:
        refusal: type[BaseException] = import_module("purgatory.domain.model").OpenedState
        return refusal


class Hyx(Guard):
    """hyx: the decorator; async only."""

    name: ClassVar[str] = "hyx"
    module: ClassVar[str] = "hyx.circuitbreaker"

    def async_ok(self) -> AsyncCall:
        guarded: AsyncCall = self.lib.consecutive_breaker()(work_async)
        return guarded

    def async_refusing(self) -> AsyncRefusing:
        refusal = import_module("hyx.circuitbreaker.exceptions").BreakerFailing
        guarded = self.lib.consecutive_breaker(recovery_time_secs=LONG)(fail_async)
        return _async_refusing(guarded, refusal)

    def populate(self, names: Iterable[str]) -> object:
        async def fill() -> object:
            breakers = {name: self.lib.consecutive_breaker() for name in names}
            for breaker in breakers.values():
                async with breaker:
                    await work_async()
            return breakers

        return asyncio.run(fill())


class Interlock(Guard):
    """interlock-cb: the decorator, sync and async; its registry where the breaker is named at call time."""

    name: ClassVar[str] = "interlock-cb"
    module: ClassVar[str] = "interlock"

    def sync_ok(self) -> Call:
        guarded: Call = self.lib.CircuitBreaker(name=ROUTE)(work)
        return guarded

    def sync_refusing(self) -> Refusing:
        guarded = self.lib.CircuitBreaker(name=ROUTE, config=self._long_open())(fail)
        return _refusing(guarded, self.lib.CircuitOpenError)

    def async_ok(self) -> AsyncCall:
        guarded: AsyncCall = self.lib.CircuitBreaker(name=ROUTE)(work_async)
        return guarded

    def async_refusing(self) -> AsyncRefusing:
        guarded = self.lib.CircuitBreaker(name=ROUTE, config=self._long_open())(fail_async)
        return _async_refusing(guarded, self.lib.CircuitOpenError)

    def by_name(self) -> NamedCall:
        get = self.lib.Registry().get

        def call(name: str) -> None:
            get(name).call_sync(work)

        return call

    def populate(self, names: Iterable[str]) -> object:
        registry = self.lib.Registry()
        for name in names:
            registry.get(name).call_sync(work)
        return registry

    def _long_open(self) -> object:
        config: object = self.lib.Config(wait_duration_in_open=float(LONG))
        return config


class Limits(Guard):
    """limits: `hit` of the fixed window, its lightest strategy; the caller acts on the answer."""

    name: ClassVar[str] = "limits"
    module: ClassVar[str] = "limits"

    def sync_ok(self) -> Call:
        hit, plenty = self._hit(), self.lib.RateLimitItemPerDay(PLENTY)

        def guarded() -> None:
            if not hit(plenty, ROUTE):
                raise Refused
            work()

        return guarded

    def sync_refusing(self) -> Refusing:
        hit, one = self._hit(), self.lib.RateLimitItemPerDay(1)

        def guarded() -> None:
            if not hit(one, ROUTE):
                raise Refused
            fail()

        return _refusing(guarded, Refused)

    def async_ok(self) -> AsyncCall:
        hit, plenty = self._async_hit(), self.lib.RateLimitItemPerDay(PLENTY)

        async def guarded() -> None:
            if not await hit(plenty, ROUTE):
                raise Refused
            await work_async()

        return guarded

    def async_refusing(self) -> AsyncRefusing:
        hit, one = self._async_hit(), self.lib.RateLimitItemPerDay(1)

        async def guarded() -> None:
            if not await hit(one, ROUTE):
                raise Refused
            await fail_async()

        return _async_refusing(guarded, Refused)

    def by_name(self) -> NamedCall:
        hit, plenty = self._hit(), self.lib.RateLimitItemPerDay(PLENTY)

        def call(name: str) -> None:
            if not hit(plenty, name):
                raise Refused
            work()

        return call

    def decide(self) -> Call:
        hit, plenty = self._hit(), self.lib.RateLimitItemPerDay(PLENTY)
        return lambda: hit(plenty, ROUTE)

    def decide_for_key(self) -> Call:
        hit, plenty = self._hit(), self.lib.RateLimitItemPerDay(PLENTY)
        return lambda: hit(plenty, ROUTE, KEY)

    def decide_by_name(self) -> NamedCall:
        hit, plenty = self._hit(), self.lib.RateLimitItemPerDay(PLENTY)
        return lambda name: hit(plenty, name)

    def populate(self, names: Iterable[str]) -> object:
        hit, plenty = self._hit(), self.lib.RateLimitItemPerDay(PLENTY)
        for name in names:
            hit(plenty, name)
        return hit

    def _hit(self) -> Callable[..., bool]:
        storage = import_module("limits.storage").MemoryStorage()
        hit: Callable[..., bool] = import_module("limits.strategies").FixedWindowRateLimiter(storage).hit
        return hit

    def _async_hit(self) -> Callable[..., Awaitable[bool]]:
        storage = import_module("limits.aio.storage").MemoryStorage()
        strategy = import_module("limits.aio.strategies").FixedWindowRateLimiter(storage)
        hit: Callable[..., Awaitable[bool]] = strategy.hit
        return hit


class ThrottledPy(Guard):
    """throttled-py: the decorator with its default token bucket, and `limit` where a route is named."""

    name: ClassVar[str] = "throttled-py"
    module: ClassVar[str] = "throttled"

    plenty: ClassVar[str] = f"{PLENTY}/s burst {PLENTY}"
    one: ClassVar[str] = "1/d"
    roomy: ClassVar[dict[str, int]] = {"MAX_SIZE": 200_000}

    def sync_ok(self) -> Call:
        guarded: Call = self._throttle(self.plenty)(work)
        return guarded

    def sync_refusing(self) -> Refusing:
        return _refusing(self._throttle(self.one)(fail), self._refusal())

    def async_ok(self) -> AsyncCall:
        guarded: AsyncCall = self._async_throttle(self.plenty)(work_async)
        return guarded

    def async_refusing(self) -> AsyncRefusing:
        return _async_refusing(self._async_throttle(self.one)(fail_async), self._refusal())

    def by_name(self) -> NamedCall:
        limit = self._throttle(self.plenty).limit

        def call(name: str) -> None:
            if limit(name).limited:
                raise Refused
            work()

        return call

    def decide(self) -> Call:
        limit = self._throttle(self.plenty).limit
        return lambda: limit(ROUTE)

    def decide_for_key(self) -> Call:
        limit = self._throttle(self.plenty).limit
        return lambda: limit(KEY)

    def decide_by_name(self) -> NamedCall:
        limit: NamedCall = self._throttle(self.plenty).limit
        return limit

    def populate(self, names: Iterable[str]) -> object:
        throttle = self._throttle(self.plenty)
        for name in names:
            throttle.limit(name)
        return throttle

    def _throttle(self, quota: str) -> Any:
        store = self.lib.store.MemoryStore(options=self.roomy)
        return self.lib.Throttled(key=ROUTE, quota=quota, store=store)

    def _async_throttle(self, quota: str) -> Any:
        lib = import_module("throttled.asyncio")
        store = lib.MemoryStore(options=self.roomy)
        return lib.Throttled(key=ROUTE, quota=quota, store=store)

    def _refusal(self) -> type[BaseException]:
        refusal: type[BaseException] = self.lib.exceptions.LimitedError
        return refusal


class AioAdaptive(Guard):
    """aioadaptive: `async with client.use()`; async only, and it makes callers wait instead of refusing."""

    name: ClassVar[str] = "aioadaptive"
    module: ClassVar[str] = "aioadaptive"

    def async_ok(self) -> AsyncCall:
        use = self.lib.AdaptiveClient().use

        async def guarded() -> None:
            async with use():
                await work_async()

        return guarded

    def populate(self, names: Iterable[str]) -> object:
        async def fill() -> object:
            clients = {name: self.lib.AdaptiveClient() for name in names}
            for client in clients.values():
                async with client.use():
                    await work_async()
            return clients

        return asyncio.run(fill())


class SlowApi(Guard):
    """slowapi: its decorator on each endpoint, in the application of FastAPI alone.

    Its middleware would be the counterpart of Atrion's, but limits no endpoint of an included router: it looks for
    endpoints among the application's own routes.
    """

    name: ClassVar[str] = "slowapi"
    module: ClassVar[str] = "slowapi"

    def asgi(self) -> App:
        limiter = self.lib.Limiter(key_func=import_module("slowapi.util").get_remote_address)
        app: Any = application(limiter.limit(f"{PLENTY}/day"))
        app.state.limiter = limiter
        guarded: App = app
        return guarded


class PassThrough(Guard):
    """A middleware that hands requests on and does nothing else: the least that one can add. It is no peer."""

    name: ClassVar[str] = PASS_THROUGH
    module: ClassVar[str] = "benchmarks.requests"

    def asgi(self) -> App:
        app: App = shared_application()

        async def guarded(
            scope: Message,
            receive: Callable[[], Awaitable[Message]],
            send: Callable[[Message], Awaitable[None]],
        ) -> None:
            await app(scope, receive, send)

        return guarded


PEERS: tuple[type[Guard], ...] = (
    PyBreaker,
    CircuitBreaker,
    AioBreaker,
    Purgatory,
    Hyx,
    Interlock,
    Limits,
    ThrottledPy,
    AioAdaptive,
    SlowApi,
    PassThrough,
)
