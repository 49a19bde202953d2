"""The handle of a lease, for ``with`` and ``async with``."""

from __future__ import annotations

import asyncio
import math
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, Self

from atrion.control.budget import MEMBERS, SECONDS, Budget
from atrion.control.decision import Decision, Reason
from atrion.control.lease import CANCEL, ENDED, EXPIRED, LeaseRecord, SwarmRecord
from atrion.control.leases import MOST_LEASES
from atrion.control.outcome import note_rejection, outcome_of
from atrion.control.profiles import Profile
from atrion.control.reasons import rejection
from atrion.control.route import SHED, Route
from atrion.errors import AtrionError, ConfigurationError, FlowRejected, LeaseCancelled
from atrion.physics.config import check_number
from atrion.sensing.telemetry import Outcome
from atrion.workload.manager import LeaseManager
from atrion.workload.view import used_by

__all__ = ["Lease", "amounts_from"]

SUCCESS: Final = int(Outcome.SUCCESS)
DROPPED: Final = int(Outcome.DROPPED)
RETRY: Final = 1.0
"""Seconds after which to retry where a swarm is full."""


class Lease:
    """Long work with a budget: :meth:`atrion.Atrion.lease` makes one, for ``with`` or ``async with``.

    Entering raises :class:`~atrion.FlowRejected` if it is shed. The holder calls :meth:`heartbeat` from time to time.

    Attributes:
        cancelled: Set when the lease is cancelled.
    """

    def __init__(
        self,
        manager: LeaseManager,
        clock: Callable[[], float],
        route: Route,
        volts: float,
        profile: Profile | None,
        limits: dict[str, float],
        soft: float,
        interruptible: bool,
        disabled: bool,
    ) -> None:
        self.cancelled: threading.Event = threading.Event()
        self._manager = manager
        self._clock = clock
        self._route = route
        self._volts = volts
        self._profile = profile
        self._limits = limits
        self._soft = soft
        self._interruptible = interruptible
        self._swarm: SwarmRecord | None = None
        self._disabled = disabled
        self._record: LeaseRecord | None = None
        self._failed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._cancelling = 0
        self._interrupted = False
        self._asked: asyncio.Event | None = None

    # --- what it is ----------------------------------------------------------------------------------------

    @property
    def route(self) -> str:
        """The id of the route."""
        return self._route.id

    @property
    def active(self) -> bool:
        """Whether it has begun and not ended."""
        return self._record is not None and self._record.state != ENDED

    @property
    def expired(self) -> bool:
        """Whether it has expired for want of heartbeats, and is not counted; the next heartbeat revives it."""
        return self._record is not None and self._record.state == EXPIRED

    @property
    def progress(self) -> float | None:
        """Share of the work that is done, in [0, 1]; None if it was never told."""
        return None if self._record is None or self._record.progress < 0.0 else self._record.progress

    @property
    def used(self) -> dict[str, float]:
        """What it has used so far, by resource, ``seconds`` among them."""
        return {} if self._record is None else used_by(self._record, self._clock())

    @property
    def should_stop(self) -> bool:
        """Whether the holder is asked to stop as soon as it can do so in good order."""
        return self._record is not None and self._record.told > 0

    # --- what the holder tells -----------------------------------------------------------------------------

    def heartbeat(self, progress: float | None = None, **used: float) -> None:
        """Tell that the holder lives, how far it is, and what it has used in all: ``lease.heartbeat(0.3, memory=2e9)``.

        Args:
            progress: Share of the work that is done, ≥ 0; more than 1 counts as 1.
            used: What was used so far, ≥ 0, by resource. Seconds are measured here.

        Raises:
            ConfigurationError: a value is unusable.
        """
        if progress is not None:
            check_number("progress", progress, 0.0)
        self._tell(-1.0 if progress is None else min(float(progress), 1.0), used, more=False)

    def spend(self, **used: float) -> None:
        """A heartbeat that tells what was used since the last one: ``lease.spend(tokens=512)``.

        Raises:
            ConfigurationError: a value is unusable.
        """
        self._tell(-1.0, used, more=True)

    def _tell(self, progress: float, used: Mapping[str, float], more: bool) -> None:
        amounts = amounts_from(used)
        record = self._record
        if record is not None and not self._disabled:
            self._manager.heartbeat(record, self._clock(), progress, amounts, more)

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Mark a block in which the lease holds what other calls wait for, such as a lock.

        If calls of its pool then wait, leases that hold something are asked to stop, and others are not.
        """
        record = self._record
        if record is None:
            raise AtrionError("a lease holds nothing before it has begun: enter it first")
        record.hold(self._clock())
        try:
            yield
        finally:
            record.let_go()

    def check(self) -> None:
        """Raise if the lease is cancelled; for holders that nobody can interrupt, such as threads.

        Raises:
            LeaseCancelled: it is.
        """
        record = self._record
        if record is None or self._disabled:
            return
        if record.told != CANCEL and record.state != ENDED:
            self._manager.review(self._clock())
        if record.told == CANCEL:
            self._failed = True
            raise self._error(record)

    async def wait_until_asked(self) -> None:
        """Wait until the lease is asked to stop, or cancelled. For asyncio, within ``async with``.

        Raises:
            AtrionError: the lease was not entered by ``async with`` in asyncio.
        """
        if self._asked is None:
            raise AtrionError("only a lease entered by async with in asyncio can be waited for")
        await self._asked.wait()

    def _error(self, record: LeaseRecord) -> LeaseCancelled:
        name, now = record.resource, self._clock()
        if not name:
            return LeaseCancelled(record.route.id, record.reason)
        budget = record.budget
        if record.swarm is not None and not (
            name in budget.limits and budget.of(name, now) >= budget.limits[name]
        ):
            budget = record.swarm.budget
        return LeaseCancelled(record.route.id, record.reason, name, budget.of(name, now), budget.limits[name])

    # --- beginning and end ---------------------------------------------------------------------------------

    def within(self, swarm: SwarmRecord) -> Lease:
        """Make this the lease of a member of ``swarm``; before it begins."""
        self._swarm = swarm
        return self

    def _begin(self) -> None:
        if self._record is not None:
            raise AtrionError("a lease can be entered only once: get a new one from atrion.lease(...)")
        now = self._clock()
        route, swarm = self._route, self._swarm
        profile = route.settings.profile if self._profile is None else self._profile
        record = LeaseRecord(
            route,
            self._volts,
            profile,
            Budget(self._limits, self._soft, now),
            swarm,
            self._interruptible,
            _weak_signal(self),
            now,
        )
        if self._disabled:
            self._record = record
            return
        decision = self._refusal(now)
        if decision is not None:
            note_rejection()
            raise FlowRejected(decision)
        route.lease()
        self._record = record
        self._manager.begin(record, self._clock)

    def _refusal(self, now: float) -> Decision | None:
        """The decision that sheds the lease; None if it is admitted, and a place in its swarm is kept."""
        route, swarm = self._route, self._swarm
        enforced = route.settings.enforce
        if enforced and route.leases is not None and route.leases.held >= MOST_LEASES:
            return self._full(route.resistance())
        if swarm is not None:
            ohms = swarm.resistance(now, route.settings.constants.base)
            joined = self._manager.join(swarm, enforced)
            if joined and enforced and self._volts <= ohms:
                self._manager.give_up(swarm)
                joined = False
            if not joined:
                return self._full(max(ohms, route.resistance()))
        if route.judge(self._volts, now) == SHED and enforced:
            if swarm is not None:
                self._manager.give_up(swarm)
            return rejection(route, self._volts)
        return None

    def _full(self, ohms: float) -> Decision:
        route = self._route
        route.refuse(self._volts, Reason.SATURATED)
        return Decision(False, route.id, ohms, self._volts, route.mode, Reason.SATURATED, RETRY)

    def _end(self, error: BaseException | None) -> None:
        record = self._record
        if record is None or self._disabled:
            return
        outcome = SUCCESS if error is None else outcome_of(error)
        if isinstance(error, LeaseCancelled) and self._failed:
            outcome = DROPPED
        self._manager.end(record, self._clock(), outcome)

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(error)

    async def __aenter__(self) -> Self:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # another framework's loop: the holder is asked, and cannot be interrupted
            self._begin()
            return self
        self._task = asyncio.current_task()
        self._cancelling = 0 if self._task is None else self._task.cancelling()
        self._asked = asyncio.Event()
        self._loop = loop
        self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(error)
        task = self._task
        if self._interrupted and task is not None:
            left = task.uncancel()
            record = self._record
            if left <= self._cancelling and isinstance(error, asyncio.CancelledError) and record is not None:
                raise self._error(record) from error

    # --- signals -------------------------------------------------------------------------------------------

    def _signal(self, what: int) -> None:
        """Called in any thread."""
        if what == CANCEL:
            self.cancelled.set()
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        """Called in the loop of the holder."""
        record, task = self._record, self._task
        if record is None or record.state == ENDED:
            return
        if self._asked is not None:
            self._asked.set()
        if record.told == CANCEL and task is not None and not self._interrupted and not task.done():
            self._interrupted = True
            task.cancel()

    def __del__(self) -> None:
        record = getattr(self, "_record", None)
        if record is not None and record.state != ENDED and not self._disabled:
            self._manager.abandon(record)

    def __repr__(self) -> str:
        state = "active" if self.active else "new" if self._record is None else "ended"
        return f"<Lease {self.route}: {state}>"


def amounts_from(used: Mapping[str, float]) -> dict[str, float]:
    """What was used, by resource, as floats.

    Raises:
        ConfigurationError: a value is unusable.
    """
    amounts: dict[str, float] = {}
    for name, value in used.items():
        if name in {SECONDS, MEMBERS}:
            raise ConfigurationError(name, value, "leave it out; it is measured here")
        check_number(name, value, 0.0, math.inf)
        amounts[name] = float(value)
    return amounts


def _weak_signal(lease: Lease) -> Callable[[int], object]:
    """Calls the lease's ``_signal`` while it lives: the manager must not keep a lost lease alive."""
    found = weakref.ref(lease)

    def signal(what: int) -> None:
        alive = found()
        if alive is not None:
            alive._signal(what)

    return signal
