"""One guarded call, for ``with`` and ``async with`` alike. Compiled."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextvars import ContextVar
from types import TracebackType
from typing import Final, final

from atrion._native import mypyc_attr
from atrion.control.decision import Decision, bypassed
from atrion.control.outcome import note_rejection, outcome_of
from atrion.control.process import Process
from atrion.control.reasons import decide, rejection
from atrion.control.route import Route
from atrion.errors import AtrionError, FlowRejected
from atrion.physics.config import check_number
from atrion.sensing.costs import check_cost
from atrion.sensing.telemetry import Outcome

__all__ = ["Call"]

_SUCCESS: Final = 0
_FAILURE: Final = 1
_IGNORED: Final = 2
_DROPPED: Final = 3
FIRST: Final = 32
"""First calls of a route, in each of which nested calls are detected."""
EVERY: Final = 64
"""Afterwards, nested calls are detected in one call of so many: detection adds a tenth to the cost of a call."""
BYPASSED: Final = -1.0
"""Value of ``_met`` for a call that is not measured."""
_enclosing: Final[ContextVar[Call | None]] = ContextVar("atrion_enclosing", default=None)


@mypyc_attr(acyclic=True, free_list_len=1)
@final
class Call:
    """One guarded call. Entering raises :class:`FlowRejected` if it is shed; leaving reports the outcome.

    It is ``active``, and true, while the call is in flight. The latency runs from the beginning to the end, or to
    :meth:`answer` if that comes first, without the seconds given to :meth:`wait`.
    """

    __slots__ = (
        "_clock",
        "_cost",
        "_epoch",
        "_latency",
        "_met",
        "_outcome",
        "_outer",
        "_route",
        "_started",
        "_used",
        "_volts",
        "_waited",
        "_watched",
        "active",
    )

    def __init__(self, route: Route, volts: float, clock: Callable[[], float]) -> None:
        self._route: Route = route
        self._volts: float = volts
        self._clock: Callable[[], float] = clock
        self._outcome: int = -1
        self._started: float = 0.0
        self._met: float = 0.0
        self._cost: float = 0.0
        self._epoch: int = 0
        self._waited: float = 0.0
        self._latency: float = -1.0  # until the answer
        self._used: bool = False
        self._outer: Call | None = None
        self._watched: bool = False
        self.active: bool = False

    def _use(self) -> None:
        if self._used:
            raise AtrionError(
                "a call can begin only once, and this one already has: get a new one from atrion.flow(...),"
                " or decorate the function with atrion.protect(...)"
            )
        self._used = True

    @property
    def outcome(self) -> Outcome | None:
        """How the call ended; None if it has not ended or was shed."""
        return None if self.active or self._outcome < 0 else Outcome(self._outcome)

    @property
    def latency(self) -> float | None:
        """Seconds to the call's end or answer; None before that."""
        return None if self._latency < 0.0 else self._latency

    @property
    def voltage(self) -> float:
        """The call's voltage, from its tier and its place or key; 0 where the engine is disabled."""
        return self._volts

    def priced(self, cost: float) -> Call:
        """Make this a call of a known ``cost``, in the unit of its route; before it begins.

        Raises:
            ConfigurationError: the cost is not a number from 1e-9 to 1e15.
        """
        self._cost = check_cost(cost)
        return self

    def report(self, *, cost: float) -> None:
        """Report what the call really costs, in the unit of its route, such as tokens; before it ends.

        It may have begun with another cost, an estimate: what estimates are wrong by on average is learned. Has no
        effect on a call that has ended or was shed.

        Raises:
            ConfigurationError: the cost is not a number from 1e-9 to 1e15.
        """
        cost = check_cost(cost)
        if self.active:
            if self._cost > 0.0:
                self._cost = self._route.change_cost(self._cost, cost)
            elif self._latency < 0.0:
                self._route.begin_cost(self._met, cost)
                self._cost = cost

    def decide(self) -> Decision:
        """Decide, and begin the call if it is allowed; it must then be ended by :meth:`finish`.

        Raises:
            AtrionError: the call was used before.
        """
        self._use()
        route = self._route
        if self._met == BYPASSED:
            return bypassed(route.id)
        now = self._clock()
        decision = decide(route, self._volts, now, self._cost)
        if decision.allowed:
            self._started = now
            self._met = route.begin(now)
            self._epoch = route.epoch
            self.active = True
            if self._cost > 0.0:
                route.begin_cost(self._met, self._cost)
        else:
            note_rejection()
        return decision

    def bypass(self) -> Call:
        """Make this a call that always passes and is not measured."""
        self._met = BYPASSED
        return self

    def nest_in(self, outer: Call) -> None:
        """Declare that this call is made during the ``outer`` one, which waits for it."""
        self._route.nest_in(outer._route)

    def enclose(self) -> None:
        """Detect guarded calls that begin in this context until the end as nested in this one."""
        route = self._route
        pools = route.pools
        if pools.watched > 0 and not route.nested:
            outer = _enclosing.get()
            # Another engine has other pools, and an abandoned call may still be set here.
            if outer is not None and outer.active and outer._route.pools is pools:
                route.nest_in(outer._route)
        if route.admitted <= FIRST or route.admitted % EVERY == 0:
            self._watched = True
            self._outer = _enclosing.get()
            pools.watched += 1
            _enclosing.set(self)

    def suspend(self) -> None:
        """Stop detecting nested calls in this context, until :meth:`resume`."""
        if self._watched and _enclosing.get() is self:
            _enclosing.set(self._outer)
            self._outer = None

    def resume(self) -> None:
        """Detect nested calls in this context again, after :meth:`suspend`."""
        if self._watched and self.active:
            self._outer = _enclosing.get()
            _enclosing.set(self)

    def behind(self, process: Process) -> None:
        """Let the resistance of ``process``, which serves the call's route, count as the route's own from now on."""
        self._route.process = process

    def finish(self, outcome: int = _SUCCESS) -> None:
        """End the call with an :class:`Outcome`, unless :meth:`ignore`, :meth:`fail` or :meth:`drop` has set one."""
        if self.active:
            self.active = False
            if self._watched:
                self._route.pools.watched -= 1
                self.suspend()
            now = self._clock()
            if self._outcome >= 0:
                outcome = self._outcome
            else:
                self._outcome = outcome
            if self._latency < 0.0:
                self._latency = self._elapsed(now)
            elif self._cost == 0.0:
                self._route.close(outcome)
                return
            weight = self._route.end_cost(now, self._cost) if self._cost > 0.0 else 1.0
            self._route.end(now, outcome, self._latency, weight, self._volts, self._met, self._epoch)

    def now(self) -> float:
        """The clock that measures the call, in seconds from an arbitrary start."""
        return self._clock()

    def wait(self, seconds: float) -> None:
        """Leave ``seconds`` out of the latency: the call waited for its own caller, not for the dependency.

        Has no effect after :meth:`answer`, or if ``seconds`` is not above 0.
        """
        if seconds > 0.0:
            self._waited += seconds

    def answer(self) -> None:
        """End the latency here, because the answer has arrived; the call stays in flight until it is finished.

        What is sent from then on takes no capacity, unless the call has a cost: that is paid until the end.

        Has no effect after :meth:`fail`, :meth:`ignore` or :meth:`drop`.
        """
        if self.active and self._latency < 0.0 and self._outcome < 0:
            now = self._clock()
            self._latency = self._elapsed(now)
            if self._cost == 0.0:
                self._route.answer(now, self._latency, self._volts, self._met, self._epoch)

    def _elapsed(self, now: float) -> float:
        passed = now - self._started - self._waited
        return passed if passed > 0.0 else 0.0

    def degrade(self, steps: int = 4) -> float:
        """The quality that the answer may have: 1 on an idle route, down to 1/``steps`` when the call barely flows.

        This is the share of the voltage above R_base that resistance leaves, rounded up to a step. An application that
        does less work at lower quality sheds later. Ask before doing the work.

        Raises:
            ConfigurationError: ``steps`` is below 1 or above 1000.
        """
        check_number("steps", steps, 1, 1000)
        if self._met == BYPASSED or not self._route.settings.enforce:
            return 1.0
        base = self._route.settings.constants.base
        headroom = self._volts - base
        left = self._volts - self._route.resistance()
        if left <= 0.0 or headroom <= 0.0:
            return 1.0 / steps  # a probe
        return min(math.ceil(steps * left / headroom), steps) / steps

    def ignore(self) -> None:
        """Report a fault of the caller, which does not count against the dependency."""
        self._outcome = _IGNORED

    def fail(self) -> None:
        """Report a failure that raises nothing, such as an error reply."""
        self._outcome = _FAILURE

    def drop(self) -> None:
        """Report that the call was abandoned before its answer."""
        self._outcome = _DROPPED

    def try_begin(self) -> bool:
        """Begin the call if it may flow; returns whether it does.

        Raises:
            AtrionError: the call was used before.
        """
        self._use()
        return self._met == BYPASSED or self.begin()

    def begin(self) -> bool:
        """The same, for a call that was just created."""
        self._started = now = self._clock()
        route = self._route
        self._met = met = route.admit(self._volts, now, self._cost)
        if met == 0.0:
            return False
        self._epoch = route.epoch
        self.active = True
        if self._cost > 0.0:
            route.begin_cost(self._met, self._cost)
        if route.admitted <= FIRST or route.admitted % EVERY == 0 or route.pools.watched > 0:
            self.enclose()
        return True

    def rejection(self) -> Decision:
        """The decision of a call that :meth:`try_begin` has just shed."""
        note_rejection()
        return rejection(self._route, self._volts, self._cost)

    def finish_with(self, error: BaseException | None, ignore: tuple[type[BaseException], ...] = ()) -> None:
        """End the call with the outcome of ``error``, or a success; classes in ``ignore`` are ignored."""
        self.finish(_SUCCESS if error is None else outcome_of(error, ignore))

    def __bool__(self) -> bool:
        return self.active

    # An exception costs time in each compiled frame that it crosses, so a rejection is raised in the last one.

    def __enter__(self) -> Call:
        if not self.try_begin():
            raise FlowRejected(self.rejection())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish_with(error)

    async def __aenter__(self) -> Call:
        if not self.try_begin():
            raise FlowRejected(self.rejection())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish_with(error)
