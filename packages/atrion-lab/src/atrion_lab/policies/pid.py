"""The PID rejector of Uber's Cinnamon: a share of the least important is rejected, so that in equals out."""

from __future__ import annotations

from collections import deque
from random import Random
from typing import final

from atrion.sensing.telemetry import Outcome
from atrion_lab.policies.common import Facts, level
from atrion_lab.policies.port import BasePolicy, Call

__all__ = ["PidRejector"]


@final
class PidRejector(BasePolicy):
    """Rejects ``K_P·P + K_I·ΣP``, where ``P = (in − (out + free)) / out`` of each half second.

    ``in`` are calls let into the queue, ``out`` calls taken from it, ``free`` idle workers: the rate of rejection
    settles where the queue is fed as fast as it drains and no worker idles. It acts while the queue has not been
    empty for 10 s, rejects the lowest priorities among the last 1,000 calls (the tier, then 128 cohorts by the key's
    hash), and a call may queue for a third of its deadline. Source: Uber's blog, "Cinnamon: Using Century Old Tech to
    Build a Mean Load Shedder" and "PID Controller for Cinnamon" (30 November 2023,
    https://www.uber.com/blog/pid-controller-for-cinnamon/). The blog shows its equations as images; the gains here
    were chosen by us, for the best goodput from 1.2 to 10 times the capacity. Its auto-tuner finds how many calls
    may run at once; here that is known, the workers.

    Args:
        rng: Gives requests without a key their cohort.
        facts: Of the service.
        proportional: K_P.
        integral: K_I.
        interval: Seconds between its steps.
        patience: Seconds the queue may stand before it acts.
    """

    name: str = "pid"

    def __init__(
        self,
        rng: Random,
        facts: Facts,
        proportional: float = 0.05,
        integral: float = 0.05,
        interval: float = 0.5,
        patience: float = 10.0,
    ) -> None:
        self._rng = rng
        self._workers = facts.workers
        self._proportional = proportional
        self._integral = integral
        self._interval = interval
        self._patience = patience
        self._recent: deque[int] = deque(maxlen=1000)
        self._sum = 0.0
        self._stepped = 0.0
        self._empty_at = 0.0
        self._came = 0
        self._queued = 0
        self._lost = 0
        self._threshold = 10**6
        self.in_flight: int = 0
        self.rejection: float = 0.0

    def arrive(self, call: Call, now: float) -> bool:
        """Admit what is important enough."""
        if now - self._stepped >= self._interval:
            self._step(now)
        place = level(call, now, self._rng)
        self._recent.append(place)
        if place > self._threshold:
            return False
        self.in_flight += 1
        self._came += 1
        return True

    def start(self, call: Call, now: float) -> bool:
        """Serve what has not queued for more than a third of its deadline."""
        if now - call.arrived <= (call.deadline - call.arrived) / 3.0:
            return True
        self._lost += 1
        return False

    def finish(self, call: Call, outcome: Outcome, now: float) -> None:
        """A place is free again."""
        self.in_flight -= 1
        if self.in_flight <= self._workers:
            self._empty_at = now

    def _step(self, now: float) -> None:
        queued = max(self.in_flight - self._workers, 0)
        free = max(self._workers - self.in_flight, 0)
        taken = max(self._came - (queued - self._queued) - self._lost, 0)
        if queued == 0:
            self._empty_at = now
        error = (self._came - (taken + free)) / max(taken, 1)
        self._stepped, self._came, self._queued, self._lost = now, 0, queued, 0
        if now - self._empty_at < self._patience and self.rejection == 0.0:
            return
        self._sum = max(self._sum + error, 0.0)
        self.rejection = min(max(self._proportional * error + self._integral * self._sum, 0.0), 1.0)
        if self._sum == 0.0:
            self.rejection = 0.0
        ranked = sorted(self._recent)
        passing = int((1.0 - self.rejection) * len(ranked))
        self._threshold = 10**6 if self.rejection == 0.0 or not ranked else ranked[max(passing - 1, 0)]
