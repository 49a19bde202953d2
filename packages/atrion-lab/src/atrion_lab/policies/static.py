"""What an operator sets by hand, once: a rate with a token bucket, or a queue of fixed length."""

from __future__ import annotations

from typing import final

from atrion.sensing.telemetry import Outcome
from atrion_lab.policies.port import BasePolicy, Call

__all__ = ["BoundedQueue", "TokenBucket"]

ROUNDING = 1e-9
"""Of a token, by which sums of small refills may fall short."""


@final
class TokenBucket(BasePolicy):
    """Admits what finds a token: they come at ``rate`` a second, and the bucket holds ``burst`` of them.

    Source: Turner, "New directions in communications (or which way to the information age?)", IEEE Communications
    Magazine 24(10), 1986; in the form of RFC 2697, section 3, with one colour and a token a call.

    Args:
        rate: Calls a second, > 0.
        burst: Calls at once after a pause, ≥ 1.
    """

    name: str = "token-bucket"

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._filled = 0.0
        self.tokens: float = burst

    def arrive(self, call: Call, now: float) -> bool:
        """Take a token."""
        self.tokens = min(self._burst, self.tokens + self._rate * (now - self._filled))
        self._filled = now
        if self.tokens < 1.0 - ROUNDING:
            return False
        self.tokens -= 1.0
        return True


@final
class BoundedQueue(BasePolicy):
    """Admits while a worker or one of ``length`` places in the queue is free.

    The finite storage of Kleinrock, "Queueing Systems", volume 1 (1975), section 3.6 (M/M/1/K), with several servers,
    K being workers and places; the server takes its calls in their order. Length as Little's law has it: what waits
    ``t`` seconds at most are ``t`` times the capacity.

    Args:
        workers: Calls served at once, ≥ 1.
        length: Calls that may wait, ≥ 0.
    """

    name: str = "bounded-queue"

    def __init__(self, workers: int, length: int) -> None:
        self._places = workers + length
        self.in_flight: int = 0

    def arrive(self, call: Call, now: float) -> bool:
        """Take a place."""
        if self.in_flight >= self._places:
            return False
        self.in_flight += 1
        return True

    def finish(self, call: Call, outcome: Outcome, now: float) -> None:
        """A place is free again."""
        self.in_flight -= 1
