"""The queue at a bottleneck, from the latency of calls that met few others against that of calls that met many.

At a first-in-first-out bottleneck, a call that begins behind a queue waits for it, and every call does so alike: the
wait w is added to its latency whatever its own work is. Below the knee nothing waits. So, with
``L = mean of e^(-θ·latency)``, the wait is ``D = ln(L_low / L_high) / θ``: a common wait multiplies the mean by
``e^(-θw)``, and long calls, whose own work is what varies, carry no weight. By Little's law ``throughput · D`` calls
stand in the queue. The low and the high calls are taken from the same recent completions, so a service that changes
changes both alike, and nothing that is remembered can be wrong for ever.
"""

from __future__ import annotations

import math
from typing import final

from atrion._native import mypyc_attr

__all__ = ["Contrast"]

TIERS = 5
LOW = 0.75
"""Share of the capacity up to which a call met few others."""
DEEP = 0.5
"""The same where the capacity is believed to be far too high: what meets three quarters of it waits as well."""
LEAST = 4.0
"""Calls of each kind without which nothing is said."""
LOW_MEMORY = 3.5
"""Low calls remembered, in capacities (at least MEMORY): completions and not seconds, whatever the pace."""
HIGH_MEMORY = 3.0
"""High calls remembered, likewise."""
MEMORY = 12.0
"""Calls of each kind remembered at least."""
AGING = 200.0
"""Completions, in capacities, after which a call that was seen counts for a third: what is old is no evidence."""
TIER_MEMORY = 64.0
"""Low calls of a tier over which its usual work is averaged."""
LEAST_SPREAD = 0.04
"""Least relative variance of a mean: calls of one length are no certainty."""
ELASTIC_MEMORY = 30.0
"""Completions, in capacities, over which the elasticity of departures is taken: its error is the root of n/K."""
SHARP = 1.25
"""Change of θ below which the means are not worth converting."""


@mypyc_attr(acyclic=True)
@final
class _Group:
    """Mean of ``e^(-θ·latency)`` over like calls, and of its square; ``seen`` is how many it stands for."""

    __slots__ = ("mean", "met", "seen", "square")

    def __init__(self) -> None:
        self.mean: float = 0.0
        self.square: float = 0.0
        self.seen: float = 0.0
        self.met: float = 0.0

    def add(self, value: float, met: int, memory: float) -> None:
        """Take a call that made ``met`` calls in flight."""
        self.seen = min(self.seen + 1.0, memory)
        share = 1.0 / self.seen
        self.mean += share * (value - self.mean)
        self.square += share * (value * value - self.square)
        self.met += share * (met - self.met)

    def spread(self) -> float:
        """Variance of a value over the mean's square."""
        if self.mean <= 1e-100:
            return 1e9
        return max(self.square / (self.mean * self.mean) - 1.0, LEAST_SPREAD)

    def convert(self, power: float) -> None:
        """The means for θ times ``power``, as if the latencies were alike."""
        if self.mean > 0.0:
            spread = self.square / (self.mean * self.mean) - 1.0
            self.mean = self.mean**power
            self.square = (1.0 + spread * power * power) * self.mean * self.mean


@mypyc_attr(acyclic=True)
@final
class Contrast:
    """Measures ``queue`` calls, with standard ``error``, in front of the workers. Times in seconds.

    ``low_below`` and ``high_from`` are the calls in flight up to which a call is a low one and from which on it is a
    high one. ``known`` says whether the last :meth:`measure` had enough of both.
    """

    __slots__ = (
        "_done",
        "_done_met",
        "_factors",
        "_high",
        "_high_done",
        "_high_memory",
        "_high_time",
        "_low",
        "_low_memory",
        "_met",
        "_met_square",
        "_theta",
        "_tier_logs",
        "_tiers_seen",
        "_time",
        "_wait",
        "dip_calls",
        "dip_done",
        "dip_every",
        "dip_rate",
        "dip_start",
        "error",
        "failed_dips",
        "got",
        "high_from",
        "known",
        "log_latency",
        "low_below",
        "lows",
        "queue",
    )

    def __init__(self, calls: float) -> None:
        self._low: _Group = _Group()
        self._high: _Group = _Group()
        self._high_time: float = 0.0
        self._high_done: float = 0.0
        self._theta: float = 1.0
        self._tier_logs: list[float] = [0.0] * TIERS
        self._tiers_seen: list[float] = [0.0] * TIERS
        self._factors: list[float] = [1.0] * TIERS
        self._wait: float = 0.0
        self._time: float = 0.0
        self._done: float = 0.0
        self._met: float = 0.0
        self._met_square: float = 0.0
        self._done_met: float = 0.0
        self.lows: float = 0.0
        self.log_latency: float = 0.0
        self.got: int = 0
        self.queue: float = 0.0
        self.error: float = 0.0
        self.known: bool = False
        self.low_below: float = 1.0
        self.high_from: float = 1.0
        self._low_memory: float = MEMORY
        self._high_memory: float = MEMORY
        # What the capacity remembers of its dips, which only a route with a contrast has.
        self.dip_calls: float = 0.0
        self.dip_done: float = 0.0
        self.dip_every: float = 1.0
        self.dip_rate: float = 0.0
        self.dip_start: int = 0
        self.failed_dips: int = 0
        self.place(calls, False)

    def place(self, calls: float, deep: bool) -> None:
        """Tell low from high calls around a capacity of ``calls``; ``deep`` where it is believed to be far less."""
        self.low_below = max(1.0, math.floor((DEEP if deep else LOW) * calls))
        self.high_from = max(math.floor(calls), self.low_below + 1.0)
        self._low_memory = max(MEMORY, LOW_MEMORY * calls)
        self._high_memory = max(MEMORY, HIGH_MEMORY * calls)

    def pass_time(self, in_flight: int, dt: float, done: int) -> None:
        """``dt`` seconds have gone by with ``in_flight`` calls, at whose end ``done`` calls succeeded."""
        if in_flight >= self.high_from:
            self._high_time += dt
            self._high_done += done
            self._time += dt
            self._done += done
            self._met += dt * in_flight
            self._met_square += dt * in_flight * in_flight
            self._done_met += done * in_flight

    def add(self, latency: float, met: int, tier: int) -> None:
        """A call of ``tier`` that made ``met`` in flight has succeeded after ``latency`` seconds."""
        if met <= self.low_below:
            log = math.log(latency) if latency > 1e-9 else -20.7
            if self.lows == 0.0:
                self._theta = 1.0 / max(latency, 1e-9)
            seen = min(self._tiers_seen[tier] + 1.0, TIER_MEMORY)
            self._tiers_seen[tier] = seen
            self._tier_logs[tier] += (log - self._tier_logs[tier]) / seen
            self.lows = min(self.lows + 1.0, TIER_MEMORY)
            self.log_latency += (log - self.log_latency) / self.lows
            self._low.add(math.exp(-self._theta * latency * self._factors[tier]), met, self._low_memory)
            self.got += 1
        elif met >= self.high_from:
            self._high.add(math.exp(-self._theta * latency * self._factors[tier]), met, self._high_memory)

    def fail(self, met: int) -> None:
        """A call that made ``met`` in flight has failed: it waited for ever, as it were.

        Where all fail alike, the low ones do as well and nothing is said; where only the high ones fail, as in front
        of a server that turns away what it cannot hold, that is their queue.
        """
        if met <= self.low_below:
            self._low.add(0.0, met, self._low_memory)
        elif met >= self.high_from:
            self._high.add(0.0, met, self._high_memory)

    def usual_latency(self) -> float:
        """Geometric mean latency of low calls, in seconds; 0 before the first."""
        return math.exp(self.log_latency) if self.lows > 0.0 else 0.0

    def met_high(self) -> float:
        """Calls in flight that the high calls met on average."""
        return self._high.met

    def met_low(self) -> float:
        """Calls in flight that the low calls met on average."""
        return self._low.met

    def throughput(self) -> float:
        """Calls that succeeded a second while many were in flight; 0 when none did."""
        return self._high_done / self._high_time if self._high_time > 0.0 else 0.0

    def forget_lows(self) -> None:
        """The low calls met more than is low now: let fewer new ones replace them."""
        self._low.seen = min(self._low.seen, LEAST)

    def forget(self) -> None:
        """What the low calls were measured by is gone: let new ones replace them altogether."""
        self._low.seen = 0.0
        self._time = self._done = self._met = self._met_square = self._done_met = 0.0

    def elasticity(self, calls: float) -> tuple[float, float]:
        """By how much the rate of departures grows with the calls in flight where they are many, and its error.

        Relative growth over relative growth: 1 where every call has a worker of its own, 0 where all workers are busy.
        """
        if self._done < 8.0 * calls + 16.0 or self._time <= 0.0:
            return 0.5, 1e9
        mean = self._met / self._time
        variance = self._met_square / self._time - mean * mean
        if variance <= 1e-9:
            return 0.5, 1e9
        covariance = (self._done_met - mean * self._done) / self._time
        slope = covariance / variance * mean * self._time / self._done
        return slope, mean / math.sqrt(variance * self._done)

    def low_seen(self) -> float:
        """Low calls remembered."""
        return self._low.seen

    def measure(self, calls: float, done: float) -> None:
        """Weigh what was seen, after ``done`` more completions, for a capacity of ``calls``."""
        most = HIGH_MEMORY * calls + 16.0
        if self._high_done > most:
            kept = most / self._high_done
            self._high_time *= kept
            self._high_done *= kept
        most = ELASTIC_MEMORY * calls + 64.0
        if self._done > most:
            kept = most / self._done
            self._time *= kept
            self._done *= kept
            self._met *= kept
            self._met_square *= kept
            self._done_met *= kept
        low, high = self._low, self._high
        aged = math.exp(-done / (AGING * calls + 64.0))
        low.seen *= aged
        high.seen *= aged
        self._weigh_tiers()
        self._sharpen()
        self.known = (
            low.seen >= LEAST and high.seen >= LEAST and low.mean > 0.0 and high.met >= LOW * self.high_from
        )
        if not self.known:
            self._wait = 0.0
            return
        wait = (math.log(low.mean) - math.log(max(high.mean, 1e-12))) / self._theta
        deviation = math.sqrt(low.spread() / low.seen + min(high.spread(), 50.0) / high.seen) / self._theta
        self._wait = max(wait, 0.0)
        rate = self.throughput()
        self.queue = rate * wait
        self.error = rate * deviation

    def measured(self) -> bool:
        """Whether ``queue`` and ``error`` say something of the present."""
        return self.known and self._high_done >= LEAST and self._high_time > 0.0

    def _sharpen(self) -> None:
        """Let θ follow the latencies, so that the usual ones weigh most."""
        if self.lows <= 0.0:
            return
        theta = 1.0 / (math.exp(self.log_latency) + 0.5 * self._wait)
        power = theta / self._theta
        if not 1.0 / SHARP < power < SHARP:
            self._theta = theta
            self._low.convert(power)
            self._high.convert(power)

    def _weigh_tiers(self) -> None:
        """Factors that make calls of all tiers alike, lest a change of the mix look like a wait."""
        logs = 0.0
        count = 0
        shrunk = [0.0] * TIERS
        for tier in range(TIERS):
            seen = self._tiers_seen[tier]
            shrunk[tier] = (seen * self._tier_logs[tier] + self.log_latency) / (seen + 1.0)
            if seen > 0.0:
                logs += shrunk[tier]
                count += 1
        for tier in range(TIERS):
            if self._tiers_seen[tier] > 0.0:
                self._factors[tier] = math.exp(logs / count - shrunk[tier])
