"""Other libraries with their state in Redis, in the same faults and the same question: when does another pod know?"""

from __future__ import annotations

import asyncio
import logging
import statistics
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module

import redis

from atrion import Atrion, FlowRejected
from atrion_cluster import RedisClusterProvider
from benchmarks.stores.redis_server import RedisServer, until

Call = Callable[[Callable[[], None]], None]
ENOUGH = 200


class Down(Exception):
    """What the guarded dependency raises."""


class Refused(Exception):
    """Raised where a limiter answers with a value."""


@dataclass(frozen=True, slots=True)
class Other:
    """One library.

    Attributes:
        well_us: Microseconds of a guarded call, its median.
        hung_s: Seconds one call took while Redis hung for ``hang_s``.
        gone: What a caller got from one call once Redis was killed, and in how many seconds.
        known_s: Seconds from one pod's first refusal to another's; None where it never came within 10 s. Atrion's
            pods differ in degree: until the other's resistance has risen by 5 Ω.
    """

    library: str
    well_us: float
    hang_s: float
    hung_s: float
    gone: str
    gone_s: float
    known_s: float | None


def _pybreaker(url: str) -> Call:
    lib = import_module("pybreaker")
    storage = lib.CircuitRedisStorage(lib.STATE_CLOSED, redis.Redis.from_url(url))
    breaker = lib.CircuitBreaker(fail_max=5, reset_timeout=60, state_storage=storage)
    call: Call = breaker.call
    return call


def _purgatory(url: str) -> Call:
    # Its synchronous storage awaits nothing of what redis-py returns by now, so it is asked as a coroutine.
    lib, runner = import_module("purgatory"), asyncio.Runner()
    factory = lib.AsyncCircuitBreakerFactory(default_threshold=5, uow=lib.AsyncRedisUnitOfWork(url))
    runner.run(factory.initialize())

    async def guarded(work: Callable[[], None]) -> None:
        async with await factory.get_breaker("r"):
            work()

    return lambda work: runner.run(guarded(work))


def _limits(url: str) -> Call:
    lib = import_module("limits")
    limiter = lib.strategies.FixedWindowRateLimiter(lib.storage.RedisStorage(url))
    item = lib.RateLimitItemPerDay(1_000_000_000)
    spent = lib.RateLimitItemPerDay(5, namespace="spent")

    def call(work: Callable[[], None]) -> None:
        if not limiter.hit(spent if work is fail else item, "r"):
            raise Refused
        if work is not fail and not limiter.test(spent, "r"):
            raise Refused
        work()

    return call


def _throttled(url: str) -> Call:
    lib = import_module("throttled")
    store = lib.RedisStore(server=url)
    plenty = lib.Throttled(using="fixed_window", quota=lib.per_day(1_000_000_000), store=store)
    spent = lib.Throttled(using="fixed_window", quota=lib.per_day(5), store=store)

    def call(work: Callable[[], None]) -> None:
        if work is fail:
            if spent.limit("spent").limited:
                raise Refused
        elif plenty.limit("plenty").limited or spent.peek("spent").remaining <= 0:
            raise Refused
        work()

    return call


def _interlock(url: str) -> Call:
    lib, config = import_module("interlock"), import_module("interlock.config")
    storage = import_module("interlock.integrations.redis").RedisStorage(redis.Redis.from_url(url))
    breaker = lib.CircuitBreaker(name="r", config=config.Config(minimum_number_of_calls=5), storage=storage)
    call: Call = breaker.call_sync
    return call


def _atrion(url: str) -> Call:
    engine = Atrion(provider=RedisClusterProvider({"url": url}))
    engine.__enter__()
    _engines.append(engine)
    cold = engine.decide("r").resistance

    def call(work: Callable[[], None]) -> None:
        if work is look and engine.decide("r").resistance > cold + 5.0:
            raise Refused  # a resistance that rose by more than its own law can at rest
        with engine.flow("r"):
            work()

    return call


_engines: list[Atrion] = []
LIBRARIES: dict[str, Callable[[str], Call]] = {
    "pybreaker": _pybreaker,
    "purgatory": _purgatory,
    "limits": _limits,
    "throttled-py": _throttled,
    "interlock-cb": _interlock,
    "atrion": _atrion,
}


def work() -> None:
    """A dependency that is well."""


def look() -> None:
    """The same, asked by another pod that waits for an answer to differ."""


def fail() -> None:
    """A dependency that is down."""
    raise Down


def measure(hang: float) -> list[Other]:
    """Each library in turn, on a server of its own."""
    logging.disable(logging.CRITICAL)  # pybreaker logs a trace for each call it cannot ask Redis for
    try:
        return [_measure(name, make, hang) for name, make in LIBRARIES.items()]
    finally:
        logging.disable(logging.NOTSET)


def _measure(name: str, make: Callable[[str], Call], hang: float) -> Other:
    with RedisServer() as server:
        known = _known(make, server)
    with RedisServer() as server:
        call = make(server.url)
        took = [_timed(call)[0] for _ in range(ENOUGH)]
        server.hang()
        result: list[tuple[float, str]] = []
        thread = threading.Thread(target=lambda: result.append(_timed(call)), daemon=True)
        thread.start()
        thread.join(hang)
        server.go_on()
        thread.join(30.0)
        server.kill()
        seconds, said = _timed(call)
    while _engines:
        _engines.pop().__exit__(None, None, None)
    return Other(
        name, 1e6 * statistics.median(took), hang, result[0][0] if result else hang + 30.0, said, seconds, known
    )  # fmt: skip


def _timed(call: Call) -> tuple[float, str]:
    began = time.perf_counter()
    try:
        call(work)
        said = "flows"
    except Exception as error:
        said = type(error).__name__
    return time.perf_counter() - began, said


def _known(make: Callable[[str], Call], server: RedisServer) -> float | None:
    """Seconds from the first refusal at one pod to the first at another, which asks all the time."""
    one, other = make(server.url), make(server.url)
    _timed(other)
    until(lambda: _refuses(one, fail), "the first pod refuses", 60.0)
    began = time.monotonic()
    with suppress(TimeoutError):
        # Traffic goes on at the first, as it would.
        until(lambda: (_refuses(one, fail), _refuses(other, look))[1], "the other refuses", 10.0)
        return time.monotonic() - began
    return None


def _refuses(call: Call, asked: Callable[[], None]) -> bool:
    try:
        call(asked)
    except Down:
        return False
    except FlowRejected:
        return True
    except Exception:
        return True
    return False
