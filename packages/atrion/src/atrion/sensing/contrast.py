"""The wait at a bottleneck, from the latency of unloaded calls against that of loaded calls.

An unloaded call met few other calls in flight and waited for none; a loaded call met many. At a first-in-first-out
bottleneck, every loaded call waits alike: the wait w is added to its latency, whatever its own work is. So, with
``L = mean of e^(-θ·latency)``, the wait is ``w = ln(L_unloaded / L_loaded) / θ``: a common wait multiplies the mean by
``e^(-θw)``, and long calls, whose own work varies most, carry little weight. Both kinds are taken from the same recent
completions, so that a service that becomes slower or faster changes both, and no remembered value can stay wrong. Each
route has a contrast of its own, because a changing mix of routes would look like a wait.
"""

from __future__ import annotations

import math
from typing import Final, final

from atrion._native import mypyc_attr
from atrion.sensing.trend import Trend

__all__ = ["Contrast", "Group"]

TIERS: Final = 5
LEAST_CALLS: Final = 4.0
"""Least calls of each kind for a measurement."""
MEMORY: Final = 12.0
"""Least calls of each kind that are remembered."""
TIER_MEMORY: Final = 64.0
"""Unloaded calls of a tier over which its usual latency is averaged."""
USUAL_SPREAD: Final = 0.3
"""Spread assumed of LEAST_CALLS additional calls, below MEMORY calls."""
LEAST_SPREAD: Final = 0.04
"""Least relative variance of a mean: calls of equal length do not make it certain."""
MOST_SPREAD: Final = 1e9
"""Spread of a mean that is unknown."""
MIN_SAMPLES: Final = 12.0
"""Least calls of each kind for a verdict on whether a route waits."""
EVIDENT: Final = 2.0
"""Standard errors above which a wait is significant."""
CERTAIN: Final = 3.0
"""Standard errors for a verdict, which is repeated at every tick."""
SHARED: Final = 0.3
"""Share of the pool's wait that a route must certainly have to share its queue."""
ABSENT: Final = 0.5
"""Share of the pool's wait that a route must certainly not reach to be in another queue."""
FOREIGN: Final = 4.0
"""Multiple of the pool's wait from which on a route waits for something else."""
MOST_EXPONENT: Final = 300.0
"""Largest exponent of a mean that can be converted without overflow."""
SHARP: Final = 1.25
"""Change of θ below which the means are not converted."""


@mypyc_attr(acyclic=True)
@final
class Group:
    """Mean of ``e^(-θ·latency)`` over calls of one kind, and of its square; ``seen`` is how many it stands for."""

    __slots__ = ("mean", "met", "seen", "square")

    def __init__(self) -> None:
        self.mean: float = 0.0
        self.square: float = 0.0
        self.seen: float = 0.0
        self.met: float = 0.0

    def add(self, value: float, met: float, weight: float, memory: float) -> None:
        """Take a call that made ``met`` calls in flight, and counts as ``weight`` of them."""
        self.seen = min(self.seen + weight, memory)
        share = min(weight / self.seen, 1.0)
        self.mean += share * (value - self.mean)
        self.square += share * (value * value - self.square)
        self.met += share * (met - self.met)

    def spread(self) -> float:
        """Variance of a value over the mean's square."""
        if self.mean <= 1e-100:
            return MOST_SPREAD
        spread = min(max(self.square / (self.mean * self.mean) - 1.0, LEAST_SPREAD), MOST_SPREAD)
        # A few calls may be equal by chance.
        return (
            (self.seen * spread + LEAST_CALLS * USUAL_SPREAD) / (self.seen + LEAST_CALLS)
            if self.seen < MEMORY
            else spread
        )

    def convert(self, power: float) -> None:
        """Convert the means to θ times ``power``, as if all latencies were equal; forget them on overflow."""
        if self.mean > 0.0:
            log = math.log(self.mean)
            if abs(log) * max(power, 1.0) > MOST_EXPONENT:
                self.mean = self.square = self.seen = 0.0
                return
            spread = min(self.square / (self.mean * self.mean) - 1.0, MOST_SPREAD)
            self.mean = math.exp(power * log)
            self.square = (1.0 + spread * power * power) * self.mean * self.mean


@mypyc_attr(acyclic=True)
@final
class Contrast:
    """Measures the wait of one route's loaded calls.

    Attributes:
        wait: Seconds.
        error: Standard error of ``wait``, in seconds.
        known: Whether the last :meth:`measure` had calls of both kinds.
        verdict: Whether the route waits in its pool's queue; see :meth:`judge`.
        unloaded: Unloaded calls; ``unloaded_total`` counts them.
        loaded: Loaded calls; ``shifted`` has the same without their expected wait.
        loaded_done: Calls completed while many were in flight.
        loaded_latency: Mean latency of loaded calls, in seconds.
        recent: Calls completed lately.
        trend: Growth of latency with the calls met, among unloaded calls.
        kept: False once the pool has given its place to another route.
    """

    __slots__ = (
        "_factors",
        "_shift",
        "_theta",
        "_tier_logs",
        "_tiers_seen",
        "error",
        "kept",
        "known",
        "loaded",
        "loaded_done",
        "loaded_latency",
        "log_latency",
        "recent",
        "shifted",
        "trend",
        "unloaded",
        "unloaded_total",
        "verdict",
        "wait",
    )

    def __init__(self) -> None:
        self.unloaded: Group = Group()
        self.loaded: Group = Group()
        self.shifted: Group = Group()
        self.trend: Trend = Trend()
        self._shift: float = 0.0
        self._theta: float = 1.0
        self._tier_logs: list[float] = [0.0] * TIERS
        self._tiers_seen: list[float] = [0.0] * TIERS
        self._factors: list[float] = [1.0] * TIERS
        self.unloaded_total: float = 0.0
        self.log_latency: float = 0.0
        self.wait: float = 0.0
        self.error: float = 0.0
        self.known: bool = False
        self.loaded_done: float = 0.0
        self.loaded_latency: float = 0.0
        self.recent: float = 0.0
        self.kept: bool = True
        self.verdict: int = 0

    def add_unloaded(self, latency: float, met: float, tier: int, weight: float, memory: float) -> None:
        """A call of ``tier`` that made few calls, ``met``, in flight has succeeded after ``latency`` seconds."""
        log = math.log(latency) if latency > 1e-9 else -20.7
        if self.unloaded_total == 0.0:
            self._theta = 1.0 / max(latency, 1e-9)
        seen = min(self._tiers_seen[tier] + weight, TIER_MEMORY)
        self._tiers_seen[tier] = seen
        self._tier_logs[tier] += min(weight / seen, 1.0) * (log - self._tier_logs[tier])
        self.unloaded_total = min(self.unloaded_total + weight, TIER_MEMORY)
        self.log_latency += min(weight / self.unloaded_total, 1.0) * (log - self.log_latency)
        self.unloaded.add(math.exp(-self._theta * latency * self._factors[tier]), met, weight, memory)
        self.trend.add(math.log(met), log, memory)

    def add_loaded(
        self, latency: float, met: float, tier: int, weight: float, memory: float, shift: float
    ) -> None:
        """The same for a call that made many in flight and is expected to have waited ``shift`` seconds."""
        theta = self._theta * self._factors[tier]
        self.loaded.add(math.exp(-theta * latency), met, weight, memory)
        share = min(weight / self.loaded.seen, 1.0)
        self.loaded_latency += share * (latency - self.loaded_latency)
        exponent = min(theta * (shift - latency), MOST_EXPONENT)
        self.shifted.add(math.exp(exponent), met, weight, memory)
        self._shift += min(weight / self.shifted.seen, 1.0) * (shift - self._shift)

    def judge(self, wait: float) -> None:
        """Set ``verdict``: 1 if the pool's wait of ``wait`` seconds is also this route's, −1 if not, 0 if unknown."""
        self.verdict = 0
        if not wait > 0.0:
            return
        if self.loaded.seen >= MIN_SAMPLES and self.loaded_latency < ABSENT * wait:
            self.verdict = -1  # its calls complete in less time than the wait
        elif self.known:
            error = CERTAIN * self.error
            if SHARED * wait < self.wait - error < FOREIGN * wait:
                self.verdict = 1
            elif (
                min(self.unloaded.seen, self.loaded.seen) >= MIN_SAMPLES
                and self.sane()
                and not ABSENT * wait - error <= self.wait < FOREIGN * wait + error
            ):
                self.verdict = -1

    def sane(self) -> bool:
        """Whether the wait is plausible: if unloaded calls take longer than loaded ones, something else has changed."""
        return self.known and self.wait > -EVIDENT * self.error

    def usual_latency(self) -> float:
        """Geometric mean latency of unloaded calls, in seconds; 0 before the first."""
        return math.exp(self.log_latency) if self.unloaded_total > 0.0 else 0.0

    def rescale(self, factor: float) -> None:
        """Let all calls so far count ``factor`` times as much."""
        self.recent *= factor
        self.loaded_done *= factor
        self.unloaded_total *= factor
        for group in (self.unloaded, self.loaded, self.shifted):
            group.seen *= factor
        for tier in range(TIERS):
            self._tiers_seen[tier] *= factor

    def forget_unloaded(self) -> None:
        """Let few new unloaded calls replace the old ones."""
        self.unloaded.seen = min(self.unloaded.seen, LEAST_CALLS)

    def forget(self) -> None:
        """Let new unloaded calls replace the old ones at once."""
        self.unloaded.seen = 0.0

    def measure(self, aged: float) -> None:
        """Measure the wait; a share ``aged`` of the old calls still counts."""
        low, high = self.unloaded, self.loaded
        low.seen *= aged
        high.seen *= aged
        self._weigh_tiers()
        self._sharpen()
        self.known = low.seen >= 1.0 and high.seen >= 1.0 and low.mean > 0.0
        if not self.known:
            self.wait = 0.0
            return
        base = math.log(low.mean)
        self.wait = (base - math.log(max(high.mean, 1e-12))) / self._theta
        # While a queue grows or shrinks, short waits weigh most; without the expected wait, latencies vary less.
        shifted = self.shifted
        shifted.seen = min(shifted.seen, high.seen)
        if shifted.mean > 0.0 and shifted.spread() < high.spread():
            self.wait = self._shift + (base - math.log(shifted.mean)) / self._theta
            high = shifted
        self.error = math.sqrt(low.spread() / low.seen + min(high.spread(), 50.0) / high.seen) / self._theta

    def _sharpen(self) -> None:
        """Adapt θ to the latencies, so that the usual ones weigh most."""
        if self.unloaded_total <= 0.0:
            return
        # Failed calls count as an endless wait; answered ones waited for less than their latency.
        wait = min(max(self.wait, 0.0), self.loaded_latency)
        theta = 1.0 / (math.exp(self.log_latency) + 0.5 * wait)
        power = theta / self._theta
        if not 1.0 / SHARP < power < SHARP:
            self._theta = theta
            self.unloaded.convert(power)
            self.loaded.convert(power)
            self.shifted.convert(power)

    def _weigh_tiers(self) -> None:
        """Compute the factors that make tiers comparable, so that a changing mix of tiers does not look like a wait."""
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
