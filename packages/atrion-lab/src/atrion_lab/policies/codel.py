"""Controlled delay: the queue itself drops what has waited too long."""

from __future__ import annotations

import math
from typing import final

from atrion.sensing.telemetry import Outcome
from atrion_lab.policies.common import waited
from atrion_lab.policies.port import BasePolicy, Call

__all__ = ["Codel", "FacebookCodel"]


@final
class Codel(BasePolicy):
    """CoDel: once waits stay above 5 ms for 100 ms, drop one call, then the next after ``interval/√count``.

    Source: Nichols, Jacobson, McGregor, Iyengar, RFC 8289 (2018), sections 4 and 5 (target 5 ms, interval 100 ms).
    It admits everything: its drops come when a worker takes a call. The RFC's exception for a queue of a single
    packet is left out, since the port does not tell the queue's length.

    Args:
        target: Seconds of waiting that are fine, > 0.
        interval: Seconds that waits may stay above it, > 0.
    """

    name: str = "codel"

    def __init__(self, target: float = 0.005, interval: float = 0.1) -> None:
        self._target = target
        self._interval = interval
        self._over_since = math.inf
        self._dropping = False
        self._next = 0.0
        self._count = 0
        self._last_count = 0

    def start(self, call: Call, now: float) -> bool:
        """Serve, or drop."""
        over = self._is_over(now - call.arrived, now)
        if self._dropping:
            if not over:
                self._dropping = False
            elif now >= self._next:
                self._count += 1
                self._next += self._interval / math.sqrt(self._count)
                return False
        elif over:
            self._dropping = True
            fresh = self._count - self._last_count
            again = fresh > 1 and now - self._next < 16.0 * self._interval
            self._count = self._last_count = fresh if again else 1
            self._next = now + self._interval / math.sqrt(self._count)
            return False
        return True

    def finish(self, call: Call, outcome: Outcome, now: float) -> None:
        """A call that found an idle worker passed no queue: the queue was empty then."""
        if call.started > self._over_since - self._interval and waited(call) < self._target:
            self._over_since = math.inf

    def _is_over(self, wait: float, now: float) -> bool:
        if wait < self._target:
            self._over_since = math.inf
            return False
        if self._over_since == math.inf:
            self._over_since = now + self._interval
            return False
        return now >= self._over_since


@final
class FacebookCodel(BasePolicy):
    """Facebook's controlled delay: a call may wait 100 ms, or only 5 ms when the queue has not been empty for 100 ms.

    Source: Ben Maurer, "Fail at Scale", ACM Queue 13(8), 2015, "Controlled delay"
    (https://queue.acm.org/detail.cfm?id=2839461; N 100 ms, M 5 ms). The adaptive LIFO of the same article reorders
    the queue, which the port leaves to the server. A call that found an idle worker says that the queue was empty;
    it is known when that call ends.

    Args:
        interval: N, seconds, > 0.
        target: M, seconds, > 0.
    """

    name: str = "codel-facebook"

    def __init__(self, interval: float = 0.1, target: float = 0.005) -> None:
        self._interval = interval
        self._target = target
        self._empty_at = 0.0

    def arrive(self, call: Call, now: float) -> bool:
        """Admit, with a patience that depends on how long the queue has been standing."""
        standing = now - self._empty_at > self._interval
        call.token = self._target if standing else self._interval
        return True

    def start(self, call: Call, now: float) -> bool:
        """Serve what is still within its patience."""
        return bool(now - call.arrived <= call.token)

    def finish(self, call: Call, outcome: Outcome, now: float) -> None:
        """Learn when the queue was empty."""
        if call.started >= 0.0 and call.started <= call.arrived:
            self._empty_at = max(self._empty_at, call.started)
