"""The outcome of each request of a window, call by call, which time series do not contain."""

from __future__ import annotations

from array import array
from typing import Any, final

from atrion.control.observer import Transition
from atrion.physics.modes import Mode
from atrion.sensing.telemetry import Outcome
from atrion_lab.policies.port import Call

__all__ = ["Accounts", "Ledger"]

TIERS = 5


@final
class Ledger:
    """Accounts of the requests born in [start, end) seconds; ``inner`` for what servers ask of each other.

    Attributes:
        born: Requests, by tier.
        attempts: Calls that asked at a gate.
        idle: Of these, refused while their server had a free worker and was well.
        admitted: Calls that passed a gate.
        late: Of these, those that ended after their deadline, or had not ended then.
        good: Requests answered in time, by route and tier.
        work: Work of the good, in seconds on an idle server.
        latencies: Seconds from arrival to end, of admitted calls.
        shares: The same over the seconds that their clients would wait.
    """

    def __init__(self, start: float, end: float, *, inner: bool = False) -> None:
        self._start = start
        self._end = end
        self._inner = inner
        self._open: dict[int, Call] = {}
        self.born: list[int] = [0] * TIERS
        self.attempts: int = 0
        self.idle: int = 0
        self.admitted: int = 0
        self.late: int = 0
        self.good: dict[str, list[int]] = {}
        self.work: float = 0.0
        self.latencies: array[float] = array("d")
        self.shares: array[float] = array("d")

    def _asks(self, call: Call) -> bool:
        """Count an attempt; whether it belongs to the window."""
        born = call.arrived if self._inner else call.request.born
        if not self._start <= born < self._end:
            return False
        self.attempts += 1
        if not self._inner and call.attempt == 0:
            self.born[call.tier] += 1
        return True

    def admit(self, call: Call) -> None:
        """A call passed its gate."""
        if self._asks(call):
            self.admitted += 1
            self._open[id(call)] = call

    def refuse(self, call: Call, idle: bool) -> None:
        """A call was refused, ``idle`` while its server had a free worker and was well."""
        if self._asks(call):
            self.idle += idle

    def finish(self, call: Call, outcome: Outcome, now: float) -> None:
        """An admitted call ended."""
        if self._open.pop(id(call), None) is None or outcome is Outcome.DROPPED:
            return
        self._end_of(call, now)
        request: Any = call.request
        if self._inner or outcome is not Outcome.SUCCESS or now > call.deadline or request.done:
            return
        tiers = self.good.get(call.route)
        if tiers is None:
            tiers = self.good[call.route] = [0] * TIERS
        tiers[call.tier] += 1
        self.work += request.service

    def _end_of(self, call: Call, now: float) -> None:
        taken = now - call.arrived
        self.late += now > call.deadline
        self.latencies.append(taken)
        self.shares.append(taken / (call.deadline - call.arrived))

    def close(self, now: float) -> None:
        """The run is over: what has not ended by its deadline is late, and has taken as long as until now at least."""
        for call in self._open.values():
            if now > call.deadline:
                self._end_of(call, now)
        self._open.clear()

    def answered(self, tier: int | None = None, routes: tuple[str, ...] | None = None) -> int:
        """Requests answered in time, of one tier or all, of some routes or all."""
        chosen = [tiers for route, tiers in self.good.items() if routes is None or route in routes]
        return sum(sum(tiers) if tier is None else tiers[tier] for tiers in chosen)


@final
class Accounts:
    """What a run is to be measured by, beyond its series: the requests born in [start, end).

    ``sampled`` keeps the policies' samples as well, which costs time in a long run.
    """

    def __init__(self, start: float, end: float, *, sampled: bool = False) -> None:
        self.clients: Ledger = Ledger(start, end)
        self.inner: Ledger = Ledger(start, end, inner=True)
        self.sampled: bool = sampled
        self.breaks: int = 0

    def on_tick(self, state: object) -> None:
        """The law advanced."""

    def on_decision(self, decision: object) -> None:
        """A request asked."""

    def on_transition(self, transition: Transition) -> None:
        """A route changed its mode."""
        self.breaks += transition.after is Mode.CIRCUIT_BREAKER

    def close(self, now: float) -> None:
        """The run is over."""
        self.clients.close(now)
        self.inner.close(now)
