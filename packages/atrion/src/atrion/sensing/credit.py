"""Calls allowed beyond the limit for a while: a burst that is soon worked off need not be shed."""

from __future__ import annotations

import math
from typing import Final, final

from atrion._native import mypyc_attr

__all__ = ["BUDGET", "UNPROMISED", "WARM", "Credit"]

COLD_CREDIT: Final = 400.0
"""Credit of a new route: a cold start into ordinary traffic sheds nobody."""
COLD_TIME: Final = 0.5
"""Least seconds in which that credit fades; else the time of the first two calls."""
WARM: Final = 48.0
"""Completions after which a route is not new any more."""
BUDGET: Final = 0.5
"""Share of the promised latency in which the credit must be worked off."""
UNPROMISED: Final = 1.0
"""Seconds taken for the promised latency if none was promised, for the budget alone."""
CREDIT_TIME: Final = 0.1
"""Least seconds in which the credit is used up; else one service time."""
REFILL: Final = 20.0
"""Times slower that it comes back."""


@mypyc_attr(acyclic=True)
@final
class Credit:
    """The ``calls`` in flight allowed beyond the limit; ``cold`` says whether the route is new."""

    __slots__ = ("calls", "cold")

    def __init__(self) -> None:
        self.calls: float = COLD_CREDIT
        self.cold: bool = True

    def drop(self) -> None:
        """Give no credit for a cold start."""
        self.cold = False
        self.calls = 0.0

    def update(
        self, full: float, service: float, first: float, dt: float, over: bool, stalled: bool, refill: bool
    ) -> None:
        """Use up or refill for ``dt`` seconds, to at most ``full`` calls.

        Args:
            full: Calls that are worked off within the budget.
            service: Seconds of one service.
            first: Seconds until the first call was answered; below 0 before that.
            dt: Seconds.
            over: Whether the calls in flight exceed the limit without credit.
            stalled: Whether nothing was completed: a pause of the service is no standing queue.
            refill: Whether the credit may come back.
        """
        fade = max(CREDIT_TIME, service)
        if self.cold:
            full = COLD_CREDIT
            fade = max(COLD_TIME, 2.0 * first)
        if over or (self.cold and first >= 0.0):
            if not stalled or self.cold:
                self.calls *= math.exp(-dt / fade)
        elif refill:
            self.calls += (1.0 - math.exp(-dt / (REFILL * fade))) * (full - self.calls)
        if not self.cold:
            self.calls = min(self.calls, full)
