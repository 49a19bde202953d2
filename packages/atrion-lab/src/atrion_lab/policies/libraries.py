"""Real libraries as policies: their own code decides, on the simulation's time.

They come with ``pip install "atrion[peers]"``. What the time of each is bound to, and how it is moved, stands with
each class.
"""

from __future__ import annotations

import contextlib
import contextvars
import math
import weakref
from datetime import UTC, datetime, timedelta
from importlib import import_module
from types import ModuleType
from typing import Any, final

from atrion.errors import MissingExtraError
from atrion.sensing.telemetry import Outcome
from atrion_lab.policies.common import failed
from atrion_lab.policies.limits import Limiter
from atrion_lab.policies.port import BasePolicy, Call

__all__ = ["AioAdaptive", "Interlock", "PyBreaker"]


def _library(module: str) -> ModuleType:
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(f"the lab's {module}", "peers") from error


class _CallFailedError(Exception):
    """What a guarded call raises inside a library's guard when its client saw it fail."""


@final
class _Clock:
    """The simulation's time as a clock of the libraries'."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@final
class PyBreaker(BasePolicy):
    """pybreaker's ``CircuitBreaker`` with its defaults: 5 failures in a row open it for 60 s, one success closes it.

    Calls are guarded by ``breaker.calling()``, which may span time. pybreaker compares ``datetime.now(UTC)`` with
    the ``opened_at`` that its storage returns and takes no clock; a storage is a public extension point, so ours
    remembers the simulation's time and answers with a moment that lies as far back as has passed in it. Nothing of
    the library is patched.

    Raises:
        MissingExtraError: pybreaker is not installed.
    """

    name: str = "pybreaker"

    def __init__(self) -> None:
        self._library = _library("pybreaker")
        self._clock = _Clock()
        self._guards: set[Any] = set()
        self.breaker: Any = self._library.CircuitBreaker(state_storage=_storage(self._library, self._clock))
        weakref.finalize(self, _abandon, self._guards)

    def arrive(self, call: Call, now: float) -> bool:
        """Enter the library's guard."""
        self._clock.now = now
        guard = self.breaker.calling()
        try:
            guard.__enter__()
        except self._library.CircuitBreakerError:
            return False
        call.token = guard
        self._guards.add(guard)
        return True

    def finish(self, call: Call, outcome: Outcome, now: float) -> None:
        """Leave it; a client's own fault is no failure of the dependency's."""
        self._clock.now = now
        self._guards.discard(call.token)
        if not failed(call, outcome, now):
            call.token.__exit__(None, None, None)
            return
        try:
            call.token.__exit__(_CallFailedError, _CallFailedError(), None)
        except (_CallFailedError, self._library.CircuitBreakerError):
            pass


def _storage(library: ModuleType, clock: _Clock) -> Any:
    """A storage for pybreaker that remembers when a circuit opened in the simulation's time."""

    class Storage(library.CircuitMemoryStorage):  # type: ignore[name-defined,misc]  # a class found at run time
        opened: float = 0.0

        @property
        def opened_at(self) -> datetime:
            """As far back from the machine's time as the simulation's has passed."""
            # In whole seconds, as the timeout is, so that the machine's own microseconds have no say.
            return datetime.now(UTC) - timedelta(seconds=math.floor(clock.now - self.opened))

        @opened_at.setter
        def opened_at(self, moment: datetime) -> None:
            self.opened = clock.now

    return Storage(library.STATE_CLOSED)


def _abandon(guards: set[Any]) -> None:
    """Close the guards of calls that never ended, since a collected generator would fail aloud."""
    for guard in guards:
        with contextlib.suppress(BaseException):
            guard.gen.close()
    guards.clear()


@final
class Interlock(BasePolicy):
    """interlock-cb's ``CircuitBreaker`` with its defaults: half of the last 100 calls (of 10 or more) open it for 60 s.

    Its clock is injected, as its documentation recommends for tests. ``with breaker:`` keeps its stack of open
    blocks in a context variable, so each call enters and leaves in a context of its own.

    Raises:
        MissingExtraError: interlock-cb is not installed.
    """

    name: str = "interlock-cb"

    def __init__(self) -> None:
        self._library = _library("interlock")
        self._clock = _Clock()
        self.breaker: Any = self._library.CircuitBreaker(name="lab", clock=self._clock)

    def arrive(self, call: Call, now: float) -> bool:
        """Enter the library's guard."""
        self._clock.now = now
        context = contextvars.copy_context()
        try:
            context.run(self.breaker.__enter__)
        except self._library.CircuitOpenError:
            return False
        call.token = context
        return True

    def finish(self, call: Call, outcome: Outcome, now: float) -> None:
        """Leave it; a client's own fault is no failure of the dependency's."""
        self._clock.now = now
        error = _CallFailedError() if failed(call, outcome, now) else None
        call.token.run(self.breaker.__exit__, type(error) if error else None, error, None)


@final
class AioAdaptive(Limiter):
    """aioadaptive's ``VegasLimiter``, which decides the limit; here a call above it is refused and does not wait.

    ``AdaptiveClient.use()`` itself cannot run on virtual time: it suspends the caller in an anyio
    ``CapacityLimiter`` until a place is free, which needs a running event loop and has no bound, and it reads
    ``time.time`` of its module. Its limiter is public, takes the measured time as an argument and is all that
    adapts, so that is what runs here. Like the client, it learns from calls that end without an exception only.

    Raises:
        MissingExtraError: aioadaptive is not installed.
    """

    name: str = "aioadaptive"

    def __init__(self) -> None:
        self._limiter: Any = _library("aioadaptive.limiter").VegasLimiter()
        super().__init__(self._limiter.limit)

    def finish(self, call: Call, outcome: Outcome, now: float) -> None:
        """Take a sample; a call abandoned at its deadline raised a timeout in its client."""
        self.release()
        latency = now - call.arrived
        if latency > 0.0 and not failed(call, outcome, now) and outcome is not Outcome.IGNORED:
            self.learn(now, latency, call.token, False)

    def learn(self, now: float, latency: float, in_flight: int, dropped: bool) -> None:
        """Ask the library."""
        self.resize(float(self._limiter.update(latency)))
