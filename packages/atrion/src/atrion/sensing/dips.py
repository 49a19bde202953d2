"""Dips of the limit, in which some calls are measured without a queue, for comparison with those that queue."""

from __future__ import annotations

import math
from typing import Final, final

from atrion._native import mypyc_attr

__all__ = ["Dips"]

DIP_FIRST: Final = 4.0
"""Completions, in capacities, under pressure and without unloaded calls, before the first dip."""
DIP_AGAIN: Final = 25.0
"""Completions, in capacities, from one dip to the next."""
DIP_ENOUGH: Final = 0.75
"""Unloaded calls, in capacities, that end a dip."""
DIP_CLOSED: Final = 4.0
"""Times rarer that dips are while departures do not grow with the calls in flight, which shows the queue for free."""
DIP_PATIENCE: Final = 64.0
"""Times rarer that dips become at most while each one finds what the last one found."""


@mypyc_attr(acyclic=True)
@final
class Dips:
    """When to dip, and for how long. Amounts are counted in completions.

    Attributes:
        active: Whether there is a dip now.
        holding: Whether a dip still has an effect that the controller of saturation must not learn from.
        since: Completions since the last dip, or since there were enough unloaded calls.
        begun: Unloaded calls begun in this dip.
        got: Unloaded calls completed since the last dip.
    """

    __slots__ = (
        "_calls",
        "_done",
        "_every",
        "_failed",
        "_rate",
        "_start",
        "active",
        "begun",
        "got",
        "holding",
        "since",
    )

    def __init__(self, since: float) -> None:
        self.active: bool = False
        self.holding: bool = False
        self.since: float = since
        self.begun: float = 0.0
        self.got: float = 0.0
        self._calls: float = 0.0
        self._rate: float = 0.0
        self._every: float = 1.0
        self._done: float = 0.0
        self._start: float = 0.0
        self._failed: int = 0

    def hasten(self) -> None:
        """Dip as soon as demand presses."""
        self.since = 1e9
        self._every = 1.0

    def stubborn(self, calls: float) -> bool:
        """Whether refusing all but critical requests was not enough before, and this dip takes long again."""
        return self._failed >= 2 and self._done > 2.0 * calls + 8.0

    def proceed(self, calls: float, rate: float, done: float, in_flight: float) -> bool:
        """End a dip that is over after ``done`` more completions; returns whether a new one may be due.

        ``calls`` is the capacity, ``rate`` the departures per second.
        """
        need = max(DIP_ENOUGH * calls, 4.0)
        if self.active:
            self._done += done
            enough = self.begun >= need or in_flight == 0
            if enough or self._done > self._start + 2.0 * need + 8.0:
                self.active = False
                self.since = 0.0
                self.got = 0.0
                self._failed = 0 if enough else self._failed + 1
                same = abs(calls - self._calls) < 0.25 * calls
                same = same and abs(rate - self._rate) < 0.25 * rate
                self._every = min(2.0 * self._every, DIP_PATIENCE) if same or not enough else 1.0
                self._calls = calls
                self._rate = rate
            return False
        if self.got >= need:
            self.since = 0.0
            self.got = 0.0
            self._every = 1.0
            return False
        return True

    def start_if_due(
        self, calls: float, error: float, in_flight: float, compared: bool, closed: bool
    ) -> None:
        """Start a dip if it is time, with a queue known to a standard ``error``.

        ``compared`` says that unloaded calls have been seen; ``closed`` that departures do not grow with the calls.
        """
        wait = DIP_FIRST * 2.0 ** min(self._failed, 6) * calls
        if compared:
            poor = error > 0.6 * math.sqrt(calls)
            every = self._every * DIP_CLOSED if closed else 1.0 if poor else self._every
            wait = DIP_AGAIN * every * calls + 16.0
        if self.since > wait:
            self.active = self.holding = True
            self._done = 0.0
            self.begun = 0.0
            self._start = in_flight
            self.got = 0.0

    def release(self, calls: float, refilled: bool) -> None:
        """Stop holding once the calls in flight are back, or long after a dip."""
        if self.holding and not self.active and (refilled or self.since > 3.0 * calls):
            self.holding = False
