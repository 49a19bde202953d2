"""Which lease to ask to stop, where calls wait for something that few leases hold. Pure: callers pass the time.

A pool is blocked while calls wait in it and far fewer are answered than usual: more demand would leave the answers as
many as before. The suspects are the leases of the pool that were held when this began. Compiled.
"""

from __future__ import annotations

import math
from typing import Final, final

from atrion.control.lease import HELD, LeaseRecord
from atrion.control.pool import Pool
from atrion.physics.voltage import level_at

__all__ = ["Blockage"]

WAITING: Final = 3
"""Calls in flight below which nobody is said to wait."""
SLOW: Final = 0.5
"""Share of the usual answers below which a pool with waiting calls is blocked."""
EXPECTED: Final = 8.0
"""Answers that must be missing from: fewer may be missing by chance."""
LEAST: Final = 0.5
"""Least seconds that a blockage lasts before anybody is asked."""
PAUSE: Final = 5.0
"""Seconds between two looks that are a pause of this process, in which no answer could have been seen."""
SURE: Final = 2.0
"""How much more suspicious than the next one a lease must be to be asked at once."""
PATIENCE: Final = 5.0
"""Seconds of a blockage after which the most suspicious one is asked in any case, if there are few."""
ALIBI: Final = 0.2
"""Share of a lease's life, or of the time for which it has held something, below which a blockage is not its own."""
SILENT: Final = 0.1
"""Factor on the suspicion of a lease without a heartbeat since the blockage began."""
FEW: Final = 8
"""Most suspects among whom one is chosen without such a difference."""
RELIEF: Final = 2.0
"""Seconds after which asking should have helped; four times as many after each request that did not help."""
HELPED: Final = 5.0
"""Seconds after a request within which a blockage that ends has ended because of it."""
MOST: Final = 3
"""Most requests that do not help: then something else is to blame."""
MEMORY: Final = 300.0
"""Seconds after which that is forgotten."""


@final
class Blockage:
    """Watches one pool. Times in seconds."""

    __slots__ = (
        "_answered",
        "_answers",
        "_asked",
        "_blur",
        "_last",
        "_last_asked",
        "_next",
        "_rate",
        "_since",
    )

    def __init__(self, pool: Pool, now: float) -> None:
        self._answers: int = _answers(pool)
        self._last: float = now
        self._rate: float = pool.capacity.throughput()
        self._since: float = -1.0
        self._blur: float = 0.0
        self._answered: int = 0
        self._asked: int = 0
        self._next: float = now
        self._last_asked: float = -math.inf

    def look(self, pool: Pool, now: float) -> float:
        """Seconds for which the pool has been blocked, 0 if it is not."""
        answers = _answers(pool)
        dt = now - self._last
        done = answers - self._answers
        self._answers = answers
        self._last = now
        if not 0.0 < dt < PAUSE:
            self._since = -1.0
            return 0.0
        began = self._since >= 0.0
        waiting = pool.window.in_flight - pool.places >= WAITING
        # While the capacity dips, few calls are admitted, and few answers mean nothing; once calls were waiting, all
        # that come may be shed.
        waits = waiting or pool.calm < 0.0 if began else waiting and not pool.capacity.holding
        since = self._since if began else now - dt
        answered = self._answered + done if began else done
        if waits and answered < SLOW * self._rate * (now - since):
            if not began:
                if now - self._last_asked >= MEMORY:
                    self._asked = 0
                self._blur = dt  # it began at some time since the last look
            self._since = since
            self._answered = answered
            blocked = now - since
            return blocked if blocked >= LEAST and self._rate * blocked >= EXPECTED else 0.0
        if began and now - self._last_asked < HELPED and done >= SLOW * self._rate * dt:
            self._asked = 0
            self._next = now
        self._since = -1.0
        self._rate = pool.capacity.throughput()
        return 0.0

    def suspect(self, leases: list[LeaseRecord], now: float) -> LeaseRecord | None:
        """The lease to ask to stop now, of those of the pool; None if it is not certain, or asking has not helped."""
        blocked = now - self._since
        if self._since < 0.0 or self._asked >= MOST or now < self._next:
            return None
        marked = any(lease.holding > 0 for lease in leases)
        best: LeaseRecord | None = None
        most = next_most = 0.0
        suspects = 0
        for lease in leases:
            suspicion = self._suspicion(lease, blocked, marked, now)
            if suspicion <= 0.0:
                continue
            suspects += 1
            if suspicion > most:
                next_most = most
                most = suspicion
                best = lease
            elif suspicion > next_most:
                next_most = suspicion
        if best is None or (most < SURE * next_most and (blocked < PATIENCE or suspects > FEW)):
            return None
        self._last_asked = now
        self._next = now + max(RELIEF, best.profile.grace) * 4.0**self._asked
        self._asked += 1
        return best

    def _suspicion(self, lease: LeaseRecord, blocked: float, marked: bool, now: float) -> float:
        """How much a lease has to do with the blockage, costs and matters little; 0 if it has an alibi.

        The share of its life that was blocked: one that has run beside everybody else for long did no harm. Where
        holders mark what they hold, only they are suspects.
        """
        if lease.state != HELD or lease.told != 0 or lease.route.settings.enforce is False:
            return 0.0
        age = lease.budget.elapsed(now)
        if marked:
            if lease.holding <= 0:
                return 0.0
            age = now - lease.held_since
        elif lease.is_stuck(0.8 * blocked, now):
            return 0.0
        if age < blocked - self._blur:
            return 0.0  # it came later
        guilt = min(blocked / age, 1.0) if age > 0.0 else 1.0
        if guilt < ALIBI:
            return 0.0
        if not marked and lease.budget.elapsed(now) - lease.heard >= blocked - self._blur:
            guilt *= SILENT  # who waits for the holder tells nothing meanwhile
        left = 1.0 - 0.9 * max(lease.progress, 0.0)
        return guilt * left * (1.0 + lease.budget.load(now)) / 2.0 ** level_at(lease.volts)


def _answers(pool: Pool) -> int:
    """Calls of the pool that were answered so far, whatever the outcome."""
    window = pool.window
    return window.successes_total + window.failures_total + window.ignored_total
