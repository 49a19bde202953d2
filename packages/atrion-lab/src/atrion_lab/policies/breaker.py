"""A binary circuit breaker: it admits everything or nothing."""

from __future__ import annotations

from collections import deque
from typing import final

from atrion.sensing.telemetry import Outcome
from atrion_lab.policies.common import failed
from atrion_lab.policies.port import BasePolicy, Call

__all__ = ["BinaryBreaker"]

CLOSED, OPEN, HALF_OPEN = "closed", "open", "half-open"


@final
class BinaryBreaker(BasePolicy):
    """Nygard's breaker ("Release It!", 2007) with the published defaults of resilience4j 2.

    Closed, it keeps the outcomes of the last 100 calls and opens when half of them failed; open, it rejects
    everything for 60 s; half open, it lets 10 calls through and opens again when half of those failed. Source:
    https://resilience4j.readme.io/docs/circuitbreaker (failureRateThreshold 50, slidingWindowSize 100,
    minimumNumberOfCalls 100, waitDurationInOpenState 60 s, permittedNumberOfCallsInHalfOpenState 10).

    Args:
        threshold: Share of failures that opens it, in (0, 1].
        window: Calls remembered, and least calls before it may open, ≥ 1.
        wait: Seconds it stays open, ≥ 0.
        probes: Calls let through half open, ≥ 1.
    """

    name: str = "breaker"

    def __init__(
        self, threshold: float = 0.5, window: int = 100, wait: float = 60.0, probes: int = 10
    ) -> None:
        self._threshold = threshold
        self._wait = wait
        self._probes = probes
        self._window = window
        self._era = 0
        self._admitted = 0
        self._opened = 0.0
        self._outcomes: deque[bool] = deque(maxlen=window)
        self.state: str = CLOSED

    def arrive(self, call: Call, now: float) -> bool:
        """Admit unless open, or half open with every probe out."""
        if self.state == OPEN:
            if now - self._opened < self._wait:
                return False
            self._enter(HALF_OPEN, self._probes)
        if self.state == HALF_OPEN:
            if self._admitted >= self._probes:
                return False
            self._admitted += 1
        call.token = self._era
        return True

    def finish(self, call: Call, outcome: Outcome, now: float) -> None:
        """Remember, and judge; a call of an earlier state says nothing about this one."""
        if call.token != self._era:
            return
        if outcome is Outcome.IGNORED:
            self._admitted -= self.state == HALF_OPEN
            return
        outcomes = self._outcomes
        outcomes.append(failed(call, outcome, now))
        if len(outcomes) < (outcomes.maxlen or 0):
            return
        if sum(outcomes) >= self._threshold * len(outcomes):
            self._opened = now
            self._enter(OPEN, self._window)
        elif self.state == HALF_OPEN:
            self._enter(CLOSED, self._window)

    def _enter(self, state: str, window: int) -> None:
        self.state = state
        self._era += 1
        self._admitted = 0
        self._outcomes = deque(maxlen=window)
