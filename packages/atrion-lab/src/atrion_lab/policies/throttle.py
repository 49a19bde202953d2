"""Google's adaptive throttling: a client that is refused asks less."""

from __future__ import annotations

from random import Random
from typing import final

from atrion.sensing.telemetry import Outcome
from atrion_lab.policies.common import Rolling, failed
from atrion_lab.policies.port import BasePolicy, Call

__all__ = ["ClientThrottle"]


@final
class ClientThrottle(BasePolicy):
    """Client-side throttling: reject with ``max(0, (requests − K·accepts) / (requests + 1))``.

    ``requests`` are all that asked in the last two minutes, rejected ones too; ``accepts`` those the service
    answered in time. Source: "Site Reliability Engineering" (Google, 2016), chapter 21, "Client-side throttling",
    equation 1, https://sre.google/sre-book/handling-overload/ (K = 2, two minutes).

    Args:
        rng: Decides who is rejected.
        k: K, > 0.
        window: Seconds remembered, > 0.
    """

    name: str = "client-throttle"

    def __init__(self, rng: Random, k: float = 2.0, window: float = 120.0) -> None:
        self._rng = rng
        self._k = k
        self._requests = Rolling(window, 120)
        self._accepts = Rolling(window, 120)

    def rejection(self, now: float) -> float:
        """The probability of rejecting the next request."""
        self._requests.roll(now)
        self._accepts.roll(now)
        requests = self._requests.count
        return max(0.0, (requests - self._k * self._accepts.count) / (requests + 1))

    def arrive(self, call: Call, now: float) -> bool:
        """Draw."""
        probability = self.rejection(now)
        self._requests.add(now)
        return self._rng.random() >= probability

    def finish(self, call: Call, outcome: Outcome, now: float) -> None:
        """Count what was accepted; a client's own fault was answered as well."""
        if not failed(call, outcome, now):
            self._accepts.add(now)
