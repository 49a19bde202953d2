"""The wait at a bottleneck, from the latency of calls that met few others against that of calls that met many.

At a first-in-first-out bottleneck, a call that begins behind a queue waits for it, and every call does so alike: the
wait w is added to its latency whatever its own work is. Below the knee nothing waits. So, with
``L = mean of e^(-θ·latency)``, the wait is ``D = ln(L_low / L_high) / θ``: a common wait multiplies the mean by
``e^(-θw)``, and long calls, whose own work is what varies, carry no weight. The low and the high calls are taken from
the same recent completions, so a service that changes changes both alike, and nothing that is remembered can be wrong
for ever. Each route has a contrast of its own: a mix that changes would look like a wait.
"""

from __future__ import annotations

import math
from typing import Final, final

from atrion._native import mypyc_attr
from atrion.sensing.trend import Trend

__all__ = ["Contrast", "Group"]

TIERS: Final = 5
LEAST_CALLS: Final = 4.0
"""Calls of each kind without which nothing is said."""
MEMORY: Final = 12.0
"""Calls of each kind remembered at least."""
TIER_MEMORY: Final = 64.0
"""Low calls of a tier over which its usual work is averaged."""
USUAL_SPREAD: Final = 0.3
"""The spread that LEAST_CALLS calls more are taken to have below MEMORY calls."""
LEAST_SPREAD: Final = 0.04
"""Least relative variance of a mean: calls of one length are no certainty."""
MOST_SPREAD: Final = 1e9
"""The spread of what nothing can be said of."""
MIN_SAMPLES: Final = 12.0
"""Calls of each kind without which nothing is said on who waits."""
EVIDENT: Final = 2.0
"""Standard errors above which a wait is one."""
CERTAIN: Final = 3.0
"""Standard errors that make a statement on who waits: it is looked at again and again."""
SHARED: Final = 0.3
"""Share of a wait that a route must certainly have to be believed to share it."""
ABSENT: Final = 0.5
"""Share of a wait that it must certainly not have to be believed to wait elsewhere."""
FOREIGN: Final = 4.0
"""Times a wait that is another's."""
MOST_EXPONENT: Final = 300.0
"""Exponents beyond which a mean, or its square, is no number: what was ten thousand times faster is no measure."""
SHARP: Final = 1.25
"""Change of θ below which the means are not worth converting."""


@mypyc_attr(acyclic=True)
@final
class Group:
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
            return MOST_SPREAD
        spread = min(max(self.square / (self.mean * self.mean) - 1.0, LEAST_SPREAD), MOST_SPREAD)
        # A few calls may be alike by chance.
        return (
            (self.seen * spread + LEAST_CALLS * USUAL_SPREAD) / (self.seen + LEAST_CALLS)
            if self.seen < MEMORY
            else spread
        )

    def convert(self, power: float) -> None:
        """The means for θ times ``power``, as if the latencies were alike; forgotten where they cannot be told so."""
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
    """Measures the ``wait`` of one route's calls that met many others, with its standard ``error``, in seconds.

    ``known`` says whether the last :meth:`measure` had both kinds; ``loaded_done`` is how many calls have ended while
    many were in flight, ``loaded_latency`` the mean of the high ones, ``recent`` how many there were of late. It is
    ``kept`` while it counts in its pool; its ``verdict`` is that of :meth:`judge`.
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

    def add_unloaded(self, latency: float, met: int, tier: int, memory: float) -> None:
        """A call of ``tier`` that made few, ``met``, in flight has succeeded after ``latency`` seconds."""
        log = math.log(latency) if latency > 1e-9 else -20.7
        if self.unloaded_total == 0.0:
            self._theta = 1.0 / max(latency, 1e-9)
        seen = min(self._tiers_seen[tier] + 1.0, TIER_MEMORY)
        self._tiers_seen[tier] = seen
        self._tier_logs[tier] += (log - self._tier_logs[tier]) / seen
        self.unloaded_total = min(self.unloaded_total + 1.0, TIER_MEMORY)
        self.log_latency += (log - self.log_latency) / self.unloaded_total
        self.unloaded.add(math.exp(-self._theta * latency * self._factors[tier]), met, memory)
        self.trend.add(math.log(float(met)), log, memory)

    def add_loaded(self, latency: float, met: int, tier: int, memory: float, shift: float) -> None:
        """The same for one that made many in flight, and is expected to have waited ``shift`` seconds for it."""
        theta = self._theta * self._factors[tier]
        self.loaded.add(math.exp(-theta * latency), met, memory)
        self.loaded_latency += (latency - self.loaded_latency) / self.loaded.seen
        exponent = min(theta * (shift - latency), MOST_EXPONENT)
        self.shifted.add(math.exp(exponent), met, memory)
        self._shift += (shift - self._shift) / self.shifted.seen

    def judge(self, wait: float) -> None:
        """Tell whether a wait of ``wait`` seconds is this route's: a ``verdict`` of 1 if so, −1 if not, else 0."""
        self.verdict = 0
        if not wait > 0.0:
            return
        if self.loaded.seen >= MIN_SAMPLES and self.loaded_latency < ABSENT * wait:
            self.verdict = -1  # its calls are back before they would have been served
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
        """Whether what was seen makes sense: where low calls take longer than high ones, something else has changed."""
        return self.known and self.wait > -EVIDENT * self.error

    def usual_latency(self) -> float:
        """Geometric mean latency of low calls, in seconds; 0 before the first."""
        return math.exp(self.log_latency) if self.unloaded_total > 0.0 else 0.0

    def forget_unloaded(self) -> None:
        """The low calls met more than is low now: let fewer new ones replace them."""
        self.unloaded.seen = min(self.unloaded.seen, LEAST_CALLS)

    def forget(self) -> None:
        """What the low calls were measured by is gone: let new ones replace them altogether."""
        self.unloaded.seen = 0.0

    def measure(self, aged: float) -> None:
        """Weigh what was seen, of which a share ``aged`` is still believed."""
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
        # While a queue grows or shrinks, short waits weigh most; what is left beside the expected wait hardly varies.
        shifted = self.shifted
        shifted.seen = min(shifted.seen, high.seen)
        if shifted.mean > 0.0 and shifted.spread() < high.spread():
            self.wait = self._shift + (base - math.log(shifted.mean)) / self._theta
            high = shifted
        self.error = math.sqrt(low.spread() / low.seen + min(high.spread(), 50.0) / high.seen) / self._theta

    def _sharpen(self) -> None:
        """Let θ follow the latencies, so that the usual ones weigh most."""
        if self.unloaded_total <= 0.0:
            return
        # What failed makes a wait that has no end; what was answered waited for less than it took.
        wait = min(max(self.wait, 0.0), self.loaded_latency)
        theta = 1.0 / (math.exp(self.log_latency) + 0.5 * wait)
        power = theta / self._theta
        if not 1.0 / SHARP < power < SHARP:
            self._theta = theta
            self.unloaded.convert(power)
            self.loaded.convert(power)
            self.shifted.convert(power)

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
