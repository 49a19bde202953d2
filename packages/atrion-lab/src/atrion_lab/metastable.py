"""Theory of retry storms: which states sustain themselves after their trigger has gone, and for how long.

A failure is metastable when it outlasts its trigger (Bronson, Aghayev, Charapko, Zhu, "Metastable Failures in
Distributed Systems", HotOS 2021; Huang et al., "Metastable Failures in the Wild", OSDI 2022). They call a system
*stable* when it comes back from every trigger, and *vulnerable* when it runs well but a trigger that is strong enough
tips it into the *metastable* state, which then feeds itself. Here the feedback is retries of work that is done too
late.

Let ρ be the load of first attempts over capacity, r the most retries of a request, τ the seconds an attempt is waited
for, and b the budget: retries as a share of requests. While everybody waits longer than τ, every attempt is executed
in vain and every request makes all of its attempts, so that the demand is

    ρ · A,    A = 1 + min(r, b)    (A = 1 + r without a budget).

When ρA < 1, a queue longer than τ drains, by 1 − ρA seconds of work a second: stable. When ρA ≥ 1 although ρ < 1 it
grows for ever: vulnerable. Backoff delays retries and does not reduce their rate, so it is not in A; it may keep a
trigger from tipping the system. Without retries (r = 0) every ρ < 1 is stable.

Whether a trigger tips a vulnerable system, and when a stable one is back, follows from :func:`seconds_to_recover`,
the same queue as a fluid. Arrivals C(t) and served work S(t) are cumulative, in seconds of the whole capacity; S grows
by the capacity that the trigger leaves, up to C. What arrived at t begins at the first u with S(u) ≥ C(t); if u − t
exceeds τ less a mean service time it is late, and comes again after τ and the mean backoff.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

__all__ = ["Patience", "Trigger", "amplification", "seconds_to_recover", "state"]

STEP: Final = 0.01
"""Seconds of a step of the fluid."""
HORIZON: Final = 120.0
"""Seconds after the trigger's end for which the fluid is followed."""


@final
@dataclass(frozen=True, slots=True)
class Patience:
    """How clients behave.

    Attributes:
        retries: Further attempts after an attempt that failed or took too long, at most; ≥ 0.
        budget: Retries allowed as a share of requests, > 0, or None for no bound.
        backoff: Seconds before the first retry at most, doubled for each further one; half of it on average.
        deadline: Seconds an attempt is waited for, > 0.
    """

    retries: int = 0
    budget: float | None = None
    backoff: float = 0.05
    deadline: float = 0.5


@final
@dataclass(frozen=True, slots=True)
class Trigger:
    """What happens for ``seconds`` from ``start`` on.

    Attributes:
        start: When it begins, seconds.
        seconds: How long it lasts.
        capacity: Share of the capacity that remains, ≥ 0.
        load: Arrivals over the full capacity meanwhile, or None where they stay as they were.
        fails: Every call that ends meanwhile fails.
    """

    start: float
    seconds: float
    capacity: float = 1.0
    load: float | None = None
    fails: bool = False

    @property
    def end(self) -> float:
        """When it is over, seconds."""
        return self.start + self.seconds


def amplification(clients: Patience) -> float:
    """Attempts that a request makes while all are in vain, A ≥ 1."""
    retries = float(clients.retries)
    return 1.0 + (retries if clients.budget is None else min(retries, clients.budget))


def state(load: float, clients: Patience, back: float | None) -> str:
    """``stable``, ``vulnerable`` (the trigger is too weak to tip it), ``metastable`` or ``overloaded`` (ρ ≥ 1).

    By the formula, and where that leaves open what a trigger does, by the seconds until the fluid is ``back``.
    """
    if load >= 1.0:
        return "overloaded"
    if load * amplification(clients) < 1.0:
        return "stable"
    return "metastable" if back is None else "vulnerable"


@final
class _Fluid:
    """The queue and its clients, step by step; amounts of work in seconds of the whole capacity."""

    def __init__(self, clients: Patience, service: float, rate: float, burst: float, steps: int) -> None:
        self._clients = clients
        self._service = round(service / STEP)
        self._limit = max(round((clients.deadline - service) / STEP), 1)
        self._burst = burst / rate
        self._tokens = self._burst
        longest = round(clients.backoff * 2.0**clients.retries / STEP) + self._limit + self._service
        self._attempts = [[0.0] * (steps + longest + 2) for _ in range(clients.retries + 1)]
        self._arrived: list[float] = []
        self._served = 0.0
        self._next = 0
        self.bad: list[bool] = []
        """For each step, whether what arrived in it was in vain."""

    def advance(self, load: float, capacity: float, fails: bool) -> None:
        """One step."""
        at = len(self._arrived)
        clients = self._clients
        if clients.budget is not None:
            self._tokens = min(self._tokens + clients.budget * load * STEP, self._burst)
        self._attempts[0][at] = load * STEP
        demand = sum(attempts[at] for attempts in self._attempts)
        self._arrived.append((self._arrived[-1] if self._arrived else 0.0) + demand)
        self.bad.append(False)
        self._served = min(self._served + capacity * STEP, self._arrived[-1])
        while self._next <= at and self._arrived[self._next] <= self._served + 1e-12:
            if fails and at - self._next < self._limit:
                self._unhappy(self._next, at + self._service)
            self._next += 1
        late = at - self._limit
        if late >= self._next:
            self._unhappy(late, late + self._limit + self._service)

    def _unhappy(self, arrived: int, known: int) -> None:
        """What arrived in a step is known to have been in vain in another, and comes again."""
        self.bad[arrived] = True
        for attempt in range(self._clients.retries):
            again = self._attempts[attempt][arrived]
            if self._clients.budget is not None:
                again = min(again, self._tokens)
                self._tokens -= again
            wait = round(self._clients.backoff * 2.0**attempt / 2.0 / STEP)
            self._attempts[attempt + 1][known + max(wait, 1)] += again


def seconds_to_recover(
    load: float,
    trigger: Trigger,
    clients: Patience,
    *,
    service: float = 0.05,
    rate: float = 320.0,
    burst: float = 10.0,
) -> float | None:
    """Seconds after the trigger's end until attempts are answered in time again; None: not within :data:`HORIZON`.

    Args:
        load: First attempts over the capacity, ρ > 0.
        trigger: What happens.
        clients: How its clients behave.
        service: Mean service time, seconds.
        rate: Calls a second that the server carries; a budget's ``burst`` is counted in calls.
        burst: Retries that a budget saves up at most.
    """
    steps = round((trigger.end + HORIZON) / STEP)
    fluid = _Fluid(clients, service, rate, burst, steps)
    for step in range(steps):
        on = trigger.start <= step * STEP < trigger.end
        offered = trigger.load if on and trigger.load is not None else load
        fluid.advance(offered, trigger.capacity if on else 1.0, on and trigger.fails)
    end = round(trigger.end / STEP)
    bad = [step for step in range(end, steps) if fluid.bad[step]]
    # What arrives in the last moments has not been judged yet, so a queue that stays shows a deadline before the end.
    if bad and bad[-1] >= steps - round(2.0 * clients.deadline / STEP):
        return None
    return (bad[-1] + 1 - end) * STEP if bad else 0.0
