"""One guarded call, for ``with`` and ``async with`` alike. Compiled."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from types import TracebackType
from typing import final

from atrion._native import mypyc_attr
from atrion.control.decision import Decision
from atrion.control.route import Route
from atrion.errors import AtrionError, FlowRejected
from atrion.physics.config import check_number
from atrion.physics.voltage import BAND_WIDTH
from atrion.sensing.telemetry import Outcome

__all__ = ["Flow", "Gate", "outcome_of"]

_SUCCESS = int(Outcome.SUCCESS)
_FAILURE = int(Outcome.FAILURE)
_IGNORED = int(Outcome.IGNORED)
_DROPPED = int(Outcome.DROPPED)


def outcome_of(error: BaseException) -> int:
    """What an exception says of the dependency: cancelled calls were dropped, exits say nothing."""
    if isinstance(error, asyncio.CancelledError):
        return _DROPPED
    if isinstance(error, FlowRejected) or not isinstance(error, Exception):
        return _IGNORED
    return _FAILURE


@mypyc_attr(acyclic=True)
@final
class Flow:
    """One guarded call. Entering raises :class:`FlowRejected` when shed; leaving reports the outcome."""

    __slots__ = ("_clock", "_light", "_outcome", "_route", "_started", "_volts", "open")

    def __init__(self, route: Route, volts: float, clock: Callable[[], float]) -> None:
        self._route: Route = route
        self._volts: float = volts
        self._clock: Callable[[], float] = clock
        self._outcome: int = -1
        self._started: float = 0.0
        self._light: bool = False
        self.open: bool = False

    def decide(self) -> Decision:
        """Ask, and begin the call when allowed; the caller then owes :meth:`finish`."""
        now = self._clock()
        decision = self._route.decide(self._volts, now)
        if decision.allowed:
            self._started = now
            self._light = self._route.begin(now)
            self.open = True
        return decision

    def finish(self, outcome: int = _SUCCESS) -> None:
        """End the call with an :class:`Outcome`, unless :meth:`ignore`, :meth:`fail` or :meth:`drop` spoke first."""
        if self.open:
            self.open = False
            said = self._outcome
            self._route.end(self._started, self._clock(), outcome if said < 0 else said, self._light)

    def degrade(self, steps: int = 4) -> float:
        """How good the answer may be: 1 on an idle route, down to 1/``steps`` where the call only just flows.

        It is the share of the voltage's headroom over R_base that resistance leaves, rounded up to a step. An
        application that does less work at less quality sheds later; ask before the work.

        Raises:
            ConfigurationError: ``steps`` is below 1 or above 1000.
        """
        check_number("steps", steps, 1, 1000)
        base = self._route.settings.constants.base
        headroom = self._volts - base
        left = self._volts - self._route.resistance()
        if left <= 0.0 or headroom <= 0.0:
            return 1.0 / steps  # a probe
        return min(math.ceil(steps * left / headroom), steps) / steps

    def ignore(self) -> None:
        """The caller's own fault: the dependency is not to blame."""
        self._outcome = _IGNORED

    def fail(self) -> None:
        """A failure that raises nothing, such as an error reply."""
        self._outcome = _FAILURE

    def drop(self) -> None:
        """Abandoned before its answer."""
        self._outcome = _DROPPED

    def ask(self) -> bool:
        """Begin the call if it may flow; says whether it does.

        Raises:
            AtrionError: the flow was entered before.
        """
        if self.open:
            raise AtrionError("this flow is already entered: ask atrion.flow(...) for one per call")
        now = self._clock()
        route = self._route
        if not route.admits(self._volts, now):
            return False
        self._started = now
        self._light = route.begin(now)
        self.open = True
        return True

    def rejection(self) -> Decision:
        """The decision for the caller whom :meth:`ask` has just refused."""
        return self._route.rejection(self._volts)

    def leave(self, error: BaseException | None) -> None:
        """End the call as ``error``, if any, says."""
        self.finish(_SUCCESS if error is None else outcome_of(error))

    # An error that crosses compiled frames pays for each of them, so a rejection is raised where it leaves.

    def __enter__(self) -> Flow:
        if not self.ask():
            raise FlowRejected(self.rejection())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave(error)

    async def __aenter__(self) -> Flow:
        if not self.ask():
            raise FlowRejected(self.rejection())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave(error)


@final
class Gate:
    """Flows of one route and one tier, a fresh one for every call; ``start`` of the tier's band in volts."""

    __slots__ = ("_clock", "_route", "_start")

    def __init__(self, route: Route, start: float, clock: Callable[[], float]) -> None:
        self._route: Route = route
        self._start: float = start
        self._clock: Callable[[], float] = clock

    def enter(self) -> Flow:
        """A new call, begun where it may flow: ``flow.open`` says whether."""
        route = self._route
        flow = Flow(route, self._start + BAND_WIDTH * route.unit(), self._clock)
        flow.ask()
        return flow
