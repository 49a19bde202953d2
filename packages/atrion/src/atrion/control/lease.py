"""One lease: a long call with a budget, whose holder tells from time to time that it lives. Compiled."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, final

from atrion.control.budget import Budget
from atrion.control.profiles import Profile
from atrion.control.route import Route

__all__ = ["CANCEL", "ENDED", "EXPIRED", "HELD", "STOP", "LeaseRecord", "SwarmRecord"]

HELD: Final = 0
EXPIRED: Final = 1
ENDED: Final = 2
# What the holder is told.
STOP: Final = 1
CANCEL: Final = 2
LEAST: Final = 0.001
"""Least seconds between two reviews of a lease."""
CHANGE: Final = 0.02
"""Change of a swarm's strain, two ohms, after which its members are reviewed."""
SPAN: Final = 100.0
"""Ohms of a swarm that has used up its budget: above every voltage."""


@final
class SwarmRecord:
    """The budget that the leases of a swarm share.

    Attributes:
        budget: Limits and use of all members together; the number of members is not among them.
        most: Most members at a time.
        joining: Members that are being admitted.
        members: Those that are held now.
        closed: Whether the swarm has ended, so that nobody may join it.
    """

    __slots__ = ("_reviewed", "budget", "closed", "joining", "members", "most")

    def __init__(self, budget: Budget, most: float) -> None:
        self.budget: Budget = budget
        self.most: float = most
        self.joining: int = 0
        self.members: dict[LeaseRecord, None] = {}
        self.closed: bool = False
        self._reviewed: float = 0.0

    def resistance(self, now: float, base: float) -> float:
        """Ohms that a member's voltage must exceed: above ``base`` from the soft budget on, the lowest tiers first."""
        return base + SPAN * self.budget.strain(now)

    def is_full(self) -> bool:
        """Whether no further member may join."""
        return self.closed or len(self.members) + self.joining >= self.most

    def has_changed(self, now: float) -> bool:
        """Whether the budget's strain has changed so much since the last time that the members should be reviewed."""
        strain = self.budget.strain(now)
        changed = abs(strain - self._reviewed) >= CHANGE or (strain >= 1.0 > self._reviewed)
        if changed:
            self._reviewed = strain
        return changed


@final
class LeaseRecord:
    """The state of one lease. Times in seconds.

    Attributes:
        route: Its route.
        volts: The voltage with which it was admitted.
        profile: What is expected of it.
        budget: Its own budget.
        swarm: Its swarm, or None.
        interruptible: Whether it may be cancelled if it does not stop when asked to.
        signal: Called with STOP or CANCEL when the holder is to be told.
        state: HELD, EXPIRED or ENDED.
        place: Whether it takes a call's place in the pool.
        progress: Share of the work that is done, in [0, 1]; below 0 if it was never told.
        told: STOP or CANCEL once the holder was told, else 0.
        reason: Why: ``budget``, ``swarm`` or ``culprit``; empty before.
        resource: The resource whose budget is used up, if that is why.
        due: When it has to be reviewed next.
        queued: When it is in the queue of reviews; ∞ if it is not.
        holding: How many marks say that it holds now what others wait for.
        held_since: When the first of them was set.
    """

    __slots__ = (
        "_asked",
        "_moved",
        "_strain",
        "begun",
        "budget",
        "due",
        "heard",
        "held_since",
        "holding",
        "interruptible",
        "place",
        "profile",
        "progress",
        "queued",
        "reason",
        "resource",
        "route",
        "signal",
        "state",
        "swarm",
        "told",
        "volts",
    )

    def __init__(
        self,
        route: Route,
        volts: float,
        profile: Profile,
        budget: Budget,
        swarm: SwarmRecord | None,
        interruptible: bool,
        signal: Callable[[int], object],
        now: float,
    ) -> None:
        self.route: Route = route
        self.volts: float = volts
        self.profile: Profile = profile
        self.budget: Budget = budget
        self.swarm: SwarmRecord | None = swarm
        self.interruptible: bool = interruptible
        self.signal: Callable[[int], object] = signal
        self.state: int = HELD
        self.place: bool = False
        self.progress: float = -1.0
        self.told: int = 0
        self.reason: str = ""
        self.resource: str = ""
        self.due: float = now
        self.queued: float = math.inf
        self.holding: int = 0
        self.held_since: float = 0.0
        self.begun: float = now
        self.heard: float = 0.0
        self._moved: float = 0.0
        self._asked: float = math.inf
        self._strain: float = 0.0

    # --- what the holder tells -----------------------------------------------------------------------------

    def heartbeat(self, now: float, progress: float) -> None:
        """The holder lives; a ``progress`` below 0 is none told."""
        self.heard = self.budget.elapsed(now)
        if progress >= 0.0 and progress != self.progress:
            self.progress = progress
            self._moved = self.heard

    def use(self, name: str, value: float, more: bool) -> None:
        """What was used of a resource is ``value``, or so much ``more``."""
        if more:
            change = value
            self.budget.add(name, value)
        else:
            change = self.budget.set(name, value)
        if self.swarm is not None:
            self.swarm.budget.add(name, change)

    def hold(self, now: float) -> None:
        """It holds from now on what others wait for."""
        if self.holding == 0:
            self.held_since = now
        self.holding += 1

    def let_go(self) -> None:
        """It holds one thing less."""
        self.holding -= 1

    # --- reviews -------------------------------------------------------------------------------------------

    def review(self, now: float) -> int:
        """Bring the state up to date; returns what to tell the holder now, or 0.

        In shadow mode a lease expires, but nobody is asked to stop.
        """
        elapsed = self.budget.elapsed(now)
        silent = elapsed - self.heard
        strain = self.budget.strain(now)
        resource = self.budget.worst(now) if strain >= 1.0 else ""
        swarm = self.swarm
        common = 0.0
        if swarm is not None:
            common = swarm.budget.strain(now)
            if common >= 1.0 and not resource:
                resource = swarm.budget.worst(now)
            strain = max(strain, common)
        wait = self.budget.wait(now)
        if self.state == HELD:
            self._set_strain(strain)
            if silent >= self.profile.heartbeat:
                self.state = EXPIRED
            wait = min(wait, max(self.profile.heartbeat - silent, 0.0))
        self.due = now + self._wait(wait, now)
        if not self.route.settings.enforce:
            return 0
        if resource:
            return self.tell(CANCEL, "budget", now, resource)
        if swarm is not None and self.volts <= swarm.resistance(now, self.route.settings.constants.base):
            return self.tell(STOP, "swarm", now)
        if self.told == STOP and self.interruptible and elapsed - self._asked >= self.profile.grace:
            return self.tell(CANCEL, self.reason, now)
        return 0

    def _wait(self, wait: float, now: float) -> float:
        if self.swarm is not None:
            wait = min(wait, self.swarm.budget.wait(now))
        if self.told == STOP and self.interruptible:
            wait = min(wait, self.profile.grace)
        return max(wait, LEAST)

    def tell(self, what: int, reason: str, now: float, resource: str = "") -> int:
        """Note that the holder is to be told; returns ``what``, or 0 if it knows already."""
        if what <= self.told:
            return 0
        if self.told == 0:
            held = self.route.leases
            if held is not None:
                held.stopped += 1
        self.told = what
        self.reason = reason
        self.resource = resource
        if what == STOP:
            self._asked = self.budget.elapsed(now)
            if self.interruptible:
                self.due = min(self.due, now + self.profile.grace)
        return what

    def _set_strain(self, strain: float) -> None:
        held = self.route.leases
        if held is not None and strain != self._strain:
            held.strain = max(held.strain + strain - self._strain, 0.0)
            self._strain = strain
            self.route.refresh()

    def leave(self) -> None:
        """Take the lease out of its route's strain: it is not held any more."""
        self._set_strain(0.0)

    # --- what it costs -------------------------------------------------------------------------------------

    def overrun(self, now: float) -> float:
        """Share of its own budget that was used beyond it, ≥ 0."""
        return max(self.budget.load(now) - 1.0, 0.0)

    def is_stuck(self, seconds: float, now: float) -> bool:
        """Whether it has told of progress, but of none in the last ``seconds``: it waits like everybody else."""
        return self.progress > 0.0 and self.budget.elapsed(now) - self._moved >= seconds
