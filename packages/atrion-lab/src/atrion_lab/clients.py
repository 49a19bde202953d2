"""Clients with tiers, keys, deadlines and retries."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import final

from atrion.sensing.telemetry import Outcome
from atrion_lab.arrivals import Arrivals, Closed
from atrion_lab.metrics import Recorder
from atrion_lab.policies.port import Call
from atrion_lab.simulator import Target, Timeline

__all__ = ["MIX", "Clients", "Request", "Traffic"]

MIX: tuple[float, ...] = (0.3, 0.2, 0.3, 0.1, 0.1)
"""Shares of the tiers, from bulk to critical."""
TARPIT_BOUND = 5.0
"""Seconds a rejection is held back at most."""
BUDGET_BURST = 10.0
"""Retries a budget saves up at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Clients of one kind.

    Attributes:
        arrivals: When requests are born.
        to: Names of the servers they may go to; more than one and the policy, or chance, chooses.
        mix: Weights of the tiers, from bulk to critical.
        keys: How many keys they have; 0 for none.
        deadline: Seconds an attempt is waited for.
        retries: Further attempts after a failure, a rejection or a deadline.
        backoff: Seconds before the first retry, doubled for each further one, with full jitter.
        budget: Retries allowed as a share of requests, or None for no bound.
        honour: Wait for the rejection's retry_after before a retry.
        work: Factor on the server's service times.
        cost: What calls say that they cost: so much for a second of service; 0 says nothing.
        cost_sigma: Spread of the logarithm by which they are wrong about it.
        tarpit: A rejection is answered only after its retry_after: who asks again at once is slowed down.
        steps: Levels of quality an answer may have, 0 for only one.
        fair: Note each key's experience.
        told: Tier and luck of each request in the order of arrival, where they are recorded and not drawn.
    """

    arrivals: Arrivals
    to: tuple[str, ...] = ("api",)
    mix: tuple[float, ...] = MIX
    keys: int = 1000
    deadline: float = 0.5
    retries: int = 0
    backoff: float = 0.05
    budget: float | None = None
    honour: bool = False
    work: float = 1.0
    cost: float = 0.0
    cost_sigma: float = 0.0
    tarpit: bool = False
    steps: int = 0
    fair: bool = False
    told: tuple[tuple[int, float], ...] = ()


@final
class Request:
    """What a client wants, over all its attempts. Born at ``born`` seconds."""

    __slots__ = (
        "attempt",
        "born",
        "clients",
        "cost",
        "done",
        "key",
        "luck",
        "quality",
        "service",
        "steps",
        "tier",
    )

    def __init__(
        self, clients: Clients, tier: int, key: str | None, born: float, service: float, luck: float
    ) -> None:
        self.clients: Clients = clients
        self.tier: int = tier
        self.key: str | None = key
        self.born: float = born
        self.service: float = service
        self.luck: float = luck
        self.cost: float = 0.0
        self.steps: int = clients.traffic.steps
        self.quality: float = 1.0
        self.attempt: int = 0
        self.done: bool = False

    def rejected(self, call: Call) -> None:
        """An attempt was refused at the gate."""
        self.clients.unhappy(self, call, "failed")

    def answered(self, call: Call, outcome: Outcome, now: float) -> None:
        """An attempt ended; nobody may be waiting any more."""
        self.clients.answered(self, call, outcome, now)


@final
class Clients:
    """Traffic at work.

    All random values but the backoff are drawn when a request is created, so every policy gets the same requests.
    """

    __slots__ = (
        "_budget",
        "_choose",
        "_closed",
        "_draw",
        "_guess",
        "_impatient",
        "_jitter",
        "_levels",
        "_luck",
        "_recorder",
        "_simulation",
        "_times",
        "_told",
        "_who",
        "traffic",
    )

    def __init__(
        self,
        simulation: Timeline,
        traffic: Traffic,
        recorder: Recorder,
        draw: Callable[[], float],
        choose: Callable[[Request], Target],
        rng: Callable[[str], Random],
    ) -> None:
        self._simulation = simulation
        self.traffic: Traffic = traffic
        self._recorder = recorder
        self._draw = draw
        self._choose = choose
        self._times: Iterator[float] = traffic.arrivals.times(rng("arrivals"))
        self._who = rng("who")
        self._luck = rng("luck")
        self._jitter = rng("backoff")
        self._guess = rng("cost")
        total = sum(traffic.mix)
        self._levels = list(accumulate(weight / total for weight in traffic.mix))[:-1]
        self._told = iter(traffic.told) if traffic.told else None
        self._budget = BUDGET_BURST
        self._closed = traffic.arrivals if isinstance(traffic.arrivals, Closed) else None
        # Only who acts at a deadline needs to be told of it.
        self._impatient = traffic.retries > 0 or self._closed is not None
        self._plan()

    def _plan(self) -> None:
        when = next(self._times, None)
        if when is not None:
            self._simulation.at(when, self._arrive)

    def _arrive(self, _: object) -> None:
        now = self._simulation.now
        who = self._who
        traffic = self.traffic
        if self._told is None:
            tier, luck = bisect(self._levels, who.random()), self._luck.random()
        else:
            tier, luck = next(self._told)
        key = f"k{int(who.random() * traffic.keys)}" if traffic.keys else None
        request = Request(self, tier, key, now, self._draw(), luck)
        if traffic.cost > 0.0:
            request.cost = (
                traffic.cost * request.service * self._guess.lognormvariate(0.0, traffic.cost_sigma)
            )
        self._recorder.offered[self._recorder.slot(tier, now)] += 1
        if traffic.budget is not None:
            self._budget = min(self._budget + traffic.budget, BUDGET_BURST)
        self._plan()
        self._send(request)

    def _send(self, request: Request) -> None:
        now = self._simulation.now
        deadline = now + self.traffic.deadline
        call = Call(
            "",
            request.tier,
            request.key,
            now,
            deadline,
            request.service,
            request.attempt,
            request.luck,
            request,
            request.cost,
        )
        self._recorder.attempts[self._recorder.slot(request.tier, now)] += 1
        if self._impatient:
            self._simulation.at(deadline, self._expire, call)
        self._choose(request).submit(call)

    def _expire(self, call: Call) -> None:
        """The client stops waiting for this attempt; its work goes on without it."""
        request: Request = call.request
        if request.attempt == call.attempt and not request.done:
            self.unhappy(request, call, "late")

    def answered(self, request: Request, call: Call, outcome: Outcome, now: float) -> None:
        """An attempt ended."""
        if request.done:
            return
        if now > call.deadline:
            if not self._impatient:
                self._close(request, "late")
        elif outcome is Outcome.SUCCESS:
            recorder = self._recorder
            recorder.kept[recorder.slot(request.tier, request.born)] += 1
            recorder.worth[recorder.slot(request.tier, request.born)] += request.quality
            self._close(request, "good")
        elif request.attempt == call.attempt:
            self.unhappy(request, call, "failed")

    def unhappy(self, request: Request, call: Call, ending: str) -> None:
        """An attempt brought nothing: try again, or end as ``ending``."""
        traffic = self.traffic
        if request.attempt >= traffic.retries or (traffic.budget is not None and self._budget < 1.0):
            self._close(request, ending, call.retry_after if traffic.tarpit else 0.0)
            return
        if traffic.budget is not None:
            self._budget -= 1.0
        wait = traffic.backoff * 2.0**request.attempt * self._jitter.random()
        if traffic.honour:
            wait += call.retry_after
        request.attempt += 1
        self._simulation.at(self._simulation.now + wait, self._retry, request)

    def _retry(self, request: Request) -> None:
        if not request.done:
            self._send(request)

    def _close(self, request: Request, ending: str, held: float = 0.0) -> None:
        """The request is over; the answer of a rejected one may be ``held`` back for some seconds."""
        now = self._simulation.now
        request.done = True
        recorder = self._recorder
        getattr(recorder, ending)[recorder.slot(request.tier, now)] += 1
        if self.traffic.fair and request.key is not None:
            recorder.experience(request.key, request.born, ending == "good")
        if self._closed is not None:
            wait = min(held, TARPIT_BOUND) + self._jitter.expovariate(1.0 / self._closed.think)
            self._simulation.at(now + wait, self._arrive)
