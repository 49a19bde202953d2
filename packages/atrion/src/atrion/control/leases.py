"""All leases of an engine: who is held, when to review whom, and whom to tell to stop. Pure and compiled.

Every method that may tell holders returns ``(lease, what)`` pairs, for the caller to pass on.
"""

from __future__ import annotations

import heapq
import math
from typing import Final, final

from atrion.control.culprits import Blockage
from atrion.control.lease import ENDED, EXPIRED, HELD, STOP, LeaseRecord, SwarmRecord
from atrion.control.pool import Pool
from atrion.control.route import Route
from atrion.sensing.telemetry import Outcome

__all__ = ["LOOK", "MOST_LEASES", "Leases", "Told"]

SUCCESS: Final = int(Outcome.SUCCESS)
IGNORED: Final = int(Outcome.IGNORED)
MOST_LEASES: Final = 20_000
"""Most leases of one route at a time: they are remembered one by one."""
SPARE: Final = 256
"""Reviews that may be queued beside two for each held lease."""
LOOK: Final = 0.25
"""Seconds between looks at the pools of held leases."""

Told = list[tuple[LeaseRecord, int]]
"""Leases whose holders are to be told STOP or CANCEL."""


@final
class Leases:
    """The held leases of one engine, by the time at which each has to be reviewed."""

    __slots__ = ("_blockages", "_count", "_last", "_looked", "_queue", "_routes", "held")

    def __init__(self, now: float) -> None:
        self.held: dict[LeaseRecord, None] = {}
        self._queue: list[tuple[float, int, LeaseRecord]] = []
        self._count: int = 0
        self._last: float = now
        self._looked: float = now
        self._blockages: dict[Pool, Blockage] = {}
        self._routes: dict[Route, int] = {}

    # --- a lease's life ------------------------------------------------------------------------------------

    def begin(self, lease: LeaseRecord, now: float) -> Told:
        """A lease was admitted."""
        self._take(lease, now)
        return self._review(lease, now)

    def _take(self, lease: LeaseRecord, now: float) -> None:
        lease.state = HELD
        lease.place = lease.route.hold(now)
        self.held[lease] = None
        self._routes[lease.route] = self._routes.get(lease.route, 0) + 1
        if lease.swarm is not None:
            lease.swarm.members[lease] = None

    def heartbeat(
        self, lease: LeaseRecord, now: float, progress: float, used: dict[str, float], more: bool
    ) -> Told:
        """The holder lives, and tells of its progress (below 0: nothing) and use. A lease that had expired goes on."""
        if lease.state == ENDED:
            return []
        lease.heartbeat(now, progress)
        for name, value in used.items():
            lease.use(name, value, more)
        if lease.state == EXPIRED:
            self._take(lease, now)
        told = self._review(lease, now)
        if lease.swarm is not None:
            told.extend(self._review_members(lease.swarm, now, lease))
        return told

    def spend(self, swarm: SwarmRecord, used: dict[str, float], now: float) -> Told:
        """A swarm has used more, for no member in particular."""
        for name, value in used.items():
            swarm.budget.add(name, value)
        return self._review_members(swarm, now)

    def end(self, lease: LeaseRecord, now: float, outcome: int) -> float:
        """The lease has ended with an outcome; returns the overrun of its own budget."""
        if lease.state == ENDED:
            return 0.0
        self._close(lease, now)
        overrun = lease.overrun(now)
        lease.route.end_lease(outcome, lease.budget.elapsed(now), overrun, now)
        return overrun

    def abandon(self, lease: LeaseRecord, now: float) -> None:
        """The holder is gone without having ended the lease, which is nobody's fault: it leaves no scar."""
        if lease.state != ENDED:
            self._close(lease, now)
            lease.route.end_lease(IGNORED, 0.0, 0.0, now)

    def _close(self, lease: LeaseRecord, now: float) -> None:
        """It goes on no more."""
        if lease.state == HELD:
            self._drop(lease, now)
        lease.state = ENDED
        if lease.swarm is not None:
            lease.swarm.budget.give_back(lease.budget.used)

    def _drop(self, lease: LeaseRecord, now: float) -> None:
        """It is not held any more."""
        lease.leave()
        route = lease.route
        route.release(lease.place, now)
        self.held.pop(lease, None)
        left = self._routes.get(route, 0) - 1
        if left > 0:
            self._routes[route] = left
        else:
            self._routes.pop(route, None)
        if lease.swarm is not None:
            lease.swarm.members.pop(lease, None)

    # --- reviews -------------------------------------------------------------------------------------------

    def _review(self, lease: LeaseRecord, now: float) -> Told:
        held = lease.state == HELD
        what = lease.review(now)
        if held and lease.state == EXPIRED:
            self._drop(lease, now)
            counts = lease.route.leases
            if counts is not None:
                counts.expired += 1
        self._enqueue(lease)  # its seconds go on, also when it has expired
        return [(lease, what)] if what != 0 else []

    def _review_members(self, swarm: SwarmRecord, now: float, reviewed: LeaseRecord | None = None) -> Told:
        """Review the members of a swarm, but for the one that was ``reviewed`` just now, if its strain has changed."""
        told: Told = []
        if swarm.has_changed(now):
            for member in list(swarm.members):
                if member is not reviewed:
                    told.extend(self._review(member, now))
        return told

    def _enqueue(self, lease: LeaseRecord) -> None:
        if lease.due < lease.queued:
            lease.queued = lease.due
            self._count += 1
            heapq.heappush(self._queue, (lease.due, self._count, lease))
            if len(self._queue) > SPARE + 2 * len(self.held):
                self._clean()

    def _clean(self) -> None:
        """Drop what is queued for leases that have ended, or is queued anew."""
        self._queue = [
            entry for entry in self._queue if entry[2].state != ENDED and entry[0] == entry[2].queued
        ]
        heapq.heapify(self._queue)

    def is_idle(self) -> bool:
        """Whether no lease has to be reviewed."""
        if not self.held and self._queue:
            self._clean()
        return not self.held and not self._queue

    def next(self) -> float:
        """When to review next; ∞ while there is no lease."""
        if not self.held and not self._queue:
            return math.inf
        due = self._looked + LOOK
        return min(due, self._queue[0][0]) if self._queue else due

    def review(self, now: float) -> Told:
        """Review the leases that are due, and look for culprits."""
        told: Told = []
        if now < self._last:
            self._clean()  # the clock was set back: every time is in doubt
            self._queue = [(now, number, entry[2]) for number, entry in enumerate(self._queue)]
            for _, _, lease in self._queue:
                lease.due = lease.queued = now
            self._looked = now
        self._last = now
        while self._queue and self._queue[0][0] <= now:
            due, _, lease = heapq.heappop(self._queue)
            if lease.state == ENDED or due != lease.queued:
                continue
            lease.queued = math.inf
            if lease.due > now:
                self._enqueue(lease)
            else:
                told.extend(self._review(lease, now))
        if now >= self._looked + LOOK:
            self._looked = now
            told.extend(self._look(now))
        return told

    def _look(self, now: float) -> Told:
        """Look at every pool that has leases, and ask one lease of a blocked one to stop."""
        pools: dict[Pool, None] = {route.pool: None for route in self._routes}
        self._blockages = {pool: seen for pool, seen in self._blockages.items() if pool in pools}
        told: Told = []
        for pool in pools:
            seen = self._blockages.get(pool)
            if seen is None:
                self._blockages[pool] = Blockage(pool, now)
            elif seen.look(pool, now) > 0.0:
                lease = self._suspect(seen, pool, now)
                if lease is not None and lease.tell(STOP, "culprit", now) != 0:
                    self._enqueue(lease)
                    told.append((lease, STOP))
        return told

    def _suspect(self, seen: Blockage, pool: Pool, now: float) -> LeaseRecord | None:
        return seen.suspect([lease for lease in self.held if lease.route.pool is pool], now)

    def forget(self) -> None:
        """The leases are those of another process."""
        for lease in self.held:
            lease.state = ENDED
            if lease.route.leases is not None:
                lease.route.leases.forget()
        self.held = {}
        self._routes = {}
        self._queue = []
