"""A first-in first-out controller that knows the future: what could be answered in time without priorities."""

from __future__ import annotations

import math
from bisect import bisect_right
from heapq import heappop, heappush
from typing import Any, final

from atrion_lab.policies.port import BasePolicy, Call
from atrion_lab.services import Phase, Server

__all__ = ["Clairvoyant"]

ROOM = 2.0 / 3.0
"""Most of its time to the deadline that is left for a call's service, as a share."""


@final
class _Plan:
    """The future of one server: when the calls that it took will end, and which phases come."""

    __slots__ = ("_ends", "_last", "_longest", "_phases", "_server", "_starts")

    def __init__(self, server: Server) -> None:
        self._server = server
        self._phases = (Phase(start=-math.inf), *server.phases)
        self._starts = [phase.start for phase in self._phases]
        self._ends: list[float] = []
        self._last = 0.0
        self._longest = 0.0

    def takes(self, call: Call, now: float) -> bool:
        """Whether the call would be answered in time if it were admitted, and if so, that it is."""
        begins = max(now, self._last)
        ends = self._ends
        while True:
            while ends and ends[0] <= begins:
                heappop(ends)
            at = bisect_right(self._starts, begins)
            phase = self._phases[at - 1]
            if len(ends) < (self._server.workers if phase.workers is None else phase.workers):
                break
            change = self._starts[at] if at < len(self._starts) else math.inf
            begins = min(change, ends[0] if ends else math.inf)
            # Whoever comes later cannot begin earlier, whether or not this one is taken.
            self._last = begins
            if begins > call.deadline:
                return False
        self._last = begins
        # By the wait and not by the end, with room for the longest call so far: what would choose the short ones for
        # their shortness is no first-in first-out.
        self._longest = max(self._longest, call.service * phase.slow)
        patience = call.deadline - now
        if begins - now > patience - min(self._longest, ROOM * patience) + 1e-9:  # rounding is no wait
            return False
        end = begins + call.service * phase.slow
        if end > call.deadline or phase.hang or call.luck < phase.fail:
            return False
        heappush(ends, end)
        return True


@final
class Clairvoyant(BasePolicy):
    """Admits, in the order of arrival, what will be answered in time and need not wait long; it looks at no tier.

    It knows every service time, every phase of health and every failure before they come. What a growing crowd
    (``worsening``), rejections or other servers' answers add to a service time it does not foresee, so with those it
    is no upper bound.
    """

    name: str = "possible"

    def arrive(self, call: Call, now: float) -> bool:
        """Admit what ends in time."""
        pool: Any = call.gate.pool
        server: Server = pool.server
        if server.queue is not None and pool.busy >= pool.workers and len(pool.queue) >= server.queue:
            return False
        if pool.plan is None:
            pool.plan = _Plan(server)
        plan: _Plan = pool.plan
        return plan.takes(call, now)
