"""The leases of one engine among its threads: a lock, and a thread that reviews them while some are held."""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from atrion.control.lease import CANCEL, LeaseRecord, SwarmRecord
from atrion.control.leases import LOOK, Leases, Told
from atrion.workload.view import LeaseSnapshot, view_of

__all__ = ["LeaseManager"]

logger: logging.Logger = logging.getLogger("atrion.leases")

LINGER: Final = 5.0
"""Seconds for which the thread waits for further leases."""
NOTED: Final = 0.1
"""Overrun from which the end of a cancelled lease is logged: the way out takes some time."""
LEAST: Final = 0.01
"""Least seconds between two reviews of the thread."""


class LeaseManager:
    """Begins, reviews and ends leases; holders are told outside of the lock.

    Args:
        now: Monotonic clock, in seconds.
        watched: Whether a thread reviews the leases; without one, they are reviewed whenever one of them begins, ends
            or tells of its use, and when they are asked for.
    """

    def __init__(self, now: float, watched: bool) -> None:
        self._watched = watched
        self._start(now)

    def _start(self, now: float) -> None:
        # Re-entrant: a signal handler may use a lease.
        self._lock = threading.RLock()
        self._leases = Leases(now)
        self._thread: threading.Thread | None = None
        self._idle_since = now
        self._planned = math.inf
        self._wake = threading.Event()
        self._abandoned: deque[LeaseRecord] = deque()

    def after_fork(self, now: float) -> None:
        """In a child: the leases are the parent's, and its thread is gone."""
        self._leases.forget()
        self._start(now)

    # --- leases --------------------------------------------------------------------------------------------

    def join(self, swarm: SwarmRecord, enforced: bool) -> bool:
        """Keep a place for a member of a swarm until :meth:`begin` or :meth:`give_up`; returns whether there is one."""
        with self._lock:
            if enforced and swarm.is_full():
                return False
            swarm.joining += 1
            return True

    def give_up(self, swarm: SwarmRecord) -> None:
        """The member that had a place was not admitted."""
        with self._lock:
            swarm.joining -= 1

    def begin(self, lease: LeaseRecord, clock: Callable[[], float]) -> None:
        """A lease was admitted."""
        now = clock()
        with self._lock:
            if lease.swarm is not None:
                lease.swarm.joining -= 1
            told = self._review(now)
            told += self._leases.begin(lease, now)
            if self._watched and self._thread is None:
                self._thread = threading.Thread(
                    target=_watch, args=(self, clock), name="atrion-leases", daemon=True
                )
                self._thread.start()
            elif lease.due < self._planned:
                self._wake.set()
        self._tell(told)

    def heartbeat(
        self, lease: LeaseRecord, now: float, progress: float, used: dict[str, float], more: bool
    ) -> None:
        """The holder of a lease tells of its progress (below 0: nothing) and use."""
        with self._lock:
            told = self._leases.heartbeat(lease, now, progress, used, more)
            told += self._review(now)
        self._tell(told)

    def spend(self, swarm: SwarmRecord, used: dict[str, float], now: float) -> None:
        """A swarm has used more."""
        with self._lock:
            told = self._leases.spend(swarm, used, now)
        self._tell(told)

    def end(self, lease: LeaseRecord, now: float, outcome: int) -> None:
        """A lease has ended."""
        with self._lock:
            told = self._review(now)
            overrun = self._leases.end(lease, now, outcome)
        self._tell(told)
        if overrun > NOTED or (overrun > 0.0 and lease.told == 0):
            name = lease.budget.worst(now)
            used, limit = lease.budget.of(name, now), lease.budget.limits[name]
            logger.warning(
                "%s: a lease used %g %s of %g",
                lease.route.id,
                used,
                name,
                limit,
                extra={"route": lease.route.id, "resource": name, "used": used, "limit": limit},
            )

    def abandon(self, lease: LeaseRecord) -> None:
        """The holder is gone. Called by a finaliser, so this takes no lock: the next review ends the lease."""
        self._abandoned.append(lease)

    # --- reviews -------------------------------------------------------------------------------------------

    def review(self, now: float) -> None:
        """Let leases expire, and tell those that are to stop."""
        with self._lock:
            told = self._review(now)
        self._tell(told)

    def _review(self, now: float) -> Told:
        while self._abandoned:
            self._leases.abandon(self._abandoned.popleft(), now)
        return self._leases.review(now)

    def turn(self, now: float) -> float | None:
        """A review by the thread; returns the seconds until the next one, or None if the thread is not needed."""
        self.review(now)
        with self._lock:
            if not self._leases.is_idle():
                self._idle_since = now
            elif not 0.0 <= now - self._idle_since < LINGER:
                self._thread = None
                return None
            delay = min(max(self._leases.next() - now, LEAST), LOOK)
            self._planned = now + delay
            return delay

    def pause(self, seconds: float) -> None:
        """Let the thread wait, unless a lease begins that has to be reviewed earlier."""
        self._wake.wait(seconds)
        self._wake.clear()

    @staticmethod
    def _tell(told: Told) -> None:
        for lease, what in told:
            route = lease.route.id
            verb = "cancelled" if what == CANCEL else "asked to stop"
            why = f"{lease.reason}: {lease.resource}" if lease.resource else lease.reason
            logger.warning(
                "%s: a lease is %s (%s)", route, verb, why, extra={"route": route, "reason": lease.reason}
            )
            try:
                lease.signal(what)
            except Exception:
                logger.exception("%s: the holder of a lease could not be told", route)

    def snapshot(self, now: float) -> tuple[LeaseSnapshot, ...]:
        """The held leases, in the order in which they began."""
        self.review(now)
        with self._lock:
            return tuple(view_of(lease, now) for lease in self._leases.held)


def _watch(manager: LeaseManager, clock: Callable[[], float]) -> None:
    """The thread: reviews until no lease is held."""
    while True:
        delay: float | None = LOOK
        try:
            delay = manager.turn(clock())
        except Exception:
            logger.exception("a review of the leases failed; the next one goes on")
        if delay is None:
            return
        manager.pause(delay)
