"""The queue at a bottleneck: what the waits of all its routes come to, and whether departures confirm it.

By Little's law, ``rate · wait`` calls of each route stand in the queue; their sum is the queue. A route whose calls do
not wait adds nothing to it, whatever its own latency is. Where workers are free, departures grow with the calls in
flight; where all are busy, they do not, and no more calls are carried by letting more in.
"""

from __future__ import annotations

import math
from typing import Final, final

from atrion._native import mypyc_attr
from atrion.sensing.contrast import (
    ABSENT,
    CERTAIN,
    EVIDENT,
    LEAST_CALLS,
    MEMORY,
    MIN_SAMPLES,
    SHARED,
    Contrast,
)

__all__ = ["UNLOADED", "Queue"]

UNLOADED: Final = 0.75
"""Share of the capacity up to which a call met few others."""
UNLOADED_DEEP: Final = 0.5
"""The same where the capacity is believed to be far too high: what meets three quarters of it waits as well."""
UNLOADED_MEMORY: Final = 3.5
"""Low calls remembered, in capacities (at least MEMORY): completions and not seconds, whatever the pace."""
LOADED_MEMORY: Final = 3.0
"""High calls remembered, likewise."""
AGING: Final = 200.0
"""Completions, in capacities, after which a call that was seen counts for a third: what is old is no evidence."""
ELASTIC_MEMORY: Final = 30.0
"""Completions, in capacities, over which the elasticity of departures is taken: its error is the root of n/K."""
CROWDED: Final = 0.3
"""Growth of latency over that of the calls met, both relative, above which low calls wait for each other."""
ROUTES: Final = 32
"""Routes that have a contrast of their own; the rarer ones share one."""
RARE: Final = 50.0
"""Calls below which a route is judged together with the others that are as rare."""
MIN_KNOWN_SHARE: Final = 0.2
"""Share of the calls that must be of routes that have seen enough."""
FEW: Final = 3.0
"""Calls of each kind below which a route has seen little."""


@mypyc_attr(acyclic=True)
@final
class Queue:
    """Measures ``calls``, with standard ``error``, in front of the workers. Times in seconds.

    A call is unloaded if it made at most ``unloaded_below`` calls in flight, and loaded if at least ``loaded_from``.
    ``known`` says whether the last :meth:`measure` had enough of both. ``wait`` is what those wait that wait
    at all; ``together`` says whether it is also that of the rare routes of which nobody can say it alone (1 if so, −1
    if not). The fields of a dip belong to :class:`~atrion.sensing.Capacity`, and are here as only a pool that was ever
    pressed has a queue.
    """

    __slots__ = (
        "_contrasts",
        "_done",
        "_done_met",
        "_loaded_done",
        "_loaded_memory",
        "_loaded_time",
        "_met",
        "_met_square",
        "_pace",
        "_time",
        "_unloaded_memory",
        "calls",
        "common",
        "dip_begun",
        "dip_calls",
        "dip_done",
        "dip_every",
        "dip_rate",
        "dip_start",
        "error",
        "failed_dips",
        "got",
        "known",
        "loaded_from",
        "loaded_met",
        "together",
        "unloaded_below",
        "unloaded_met",
        "unloaded_seen",
        "usual",
        "wait",
    )

    def __init__(self, calls: float) -> None:
        self._contrasts: list[Contrast] = []
        self.common: Contrast | None = None
        self._loaded_time: float = 0.0
        self._loaded_done: float = 0.0
        self._time: float = 0.0
        self._done: float = 0.0
        self._met: float = 0.0
        self._met_square: float = 0.0
        self._done_met: float = 0.0
        self._pace: float = 0.0
        self.calls: float = 0.0
        self.error: float = 0.0
        self.wait: float = 0.0
        self.usual: float = 0.0
        self.known: bool = False
        self.together: int = 0
        self.unloaded_met: float = 0.0
        self.unloaded_seen: float = 0.0
        self.loaded_met: float = 0.0
        self.got: int = 0
        self.unloaded_below: float = 1.0
        self.loaded_from: float = 1.0
        self._unloaded_memory: float = MEMORY
        self._loaded_memory: float = MEMORY
        self.dip_calls: float = 0.0
        self.dip_begun: int = 0
        self.dip_done: float = 0.0
        self.dip_every: float = 1.0
        self.dip_rate: float = 0.0
        self.dip_start: int = 0
        self.failed_dips: int = 0
        self.place(calls, False)

    def place(self, capacity: float, deep: bool) -> None:
        """Tell low from high calls around a ``capacity``; ``deep`` where it is believed to be far less."""
        self.unloaded_below = max(1.0, math.floor((UNLOADED_DEEP if deep else UNLOADED) * capacity))
        self.loaded_from = max(math.floor(capacity), self.unloaded_below + 1.0)
        self._unloaded_memory = max(MEMORY, UNLOADED_MEMORY * capacity)
        self._loaded_memory = max(MEMORY, LOADED_MEMORY * capacity)

    # --- routes --------------------------------------------------------------------------------------------

    def claim(self) -> Contrast:
        """A contrast for a route: one of its own, or the common one where there are many routes."""
        if len(self._contrasts) < ROUTES:
            contrast = Contrast()
            self._contrasts.append(contrast)
            return contrast
        rarest = min(self._contrasts, key=_recent)
        if rarest.recent < 1.0:  # its route is hardly called any more, and shares from now on
            self.release(rarest)
            return self.claim()
        if self.common is None:
            self.common = Contrast()
        return self.common

    def release(self, contrast: Contrast) -> None:
        """The route has gone."""
        if contrast in self._contrasts:
            self._contrasts.remove(contrast)
            contrast.kept = False

    # --- calls ---------------------------------------------------------------------------------------------

    def pass_time(self, in_flight: int, dt: float, done: int) -> None:
        """``dt`` seconds have gone by with many calls, ``in_flight``, at whose end ``done`` calls left."""
        self._loaded_time += dt
        self._loaded_done += done
        self._time += dt
        self._done += done
        self._met += dt * in_flight
        self._met_square += dt * in_flight * in_flight
        self._done_met += done * in_flight

    def add(self, contrast: Contrast, latency: float, in_flight: int, met: int, tier: int) -> None:
        """A call that made ``met`` in flight has succeeded after ``latency`` seconds, one of ``in_flight``."""
        contrast.recent += 1.0
        if in_flight >= self.loaded_from:
            contrast.loaded_done += 1.0
        if met <= self.unloaded_below:
            contrast.add_unloaded(latency, met, tier, self._unloaded_memory)
            self.got += 1
        elif met >= self.loaded_from:
            shift = (met - self.loaded_from) * self._pace
            contrast.add_loaded(latency, met, tier, self._loaded_memory, shift)

    def fail(self, contrast: Contrast, met: int) -> None:
        """A call that made ``met`` in flight has failed: it waited for ever, as it were.

        Where all fail alike, the low ones do as well and nothing is said; where only the high ones fail, as in front
        of a server that turns away what it cannot hold, that is their queue.
        """
        if met <= self.unloaded_below:
            contrast.unloaded.add(0.0, met, self._unloaded_memory)
        elif met >= self.loaded_from:
            contrast.loaded.add(0.0, met, self._loaded_memory)
            contrast.shifted.add(0.0, met, self._loaded_memory)

    # --- what it comes to ----------------------------------------------------------------------------------

    def throughput(self) -> float:
        """Calls that left a second while many were in flight; 0 when none did."""
        return self._loaded_done / self._loaded_time if self._loaded_time > 0.0 else 0.0

    def rate(self) -> float:
        """The same over a longer time, and steadier."""
        return self._done / self._time if self._time > 0.0 else 0.0

    def measured(self) -> bool:
        """Whether ``calls`` and ``error`` say something of the present."""
        return self.known and self._loaded_done >= LEAST_CALLS and self._loaded_time > 0.0

    def forget_unloaded(self) -> None:
        """The low calls met more than is low now: let fewer new ones replace them."""
        for contrast in self._everybody():
            contrast.forget_unloaded()

    def crowded(self) -> bool:
        """Whether even low calls waited for each other."""
        growth = recent = 0.0
        for contrast in self._everybody():
            growth += contrast.recent * contrast.trend.growth
            recent += contrast.recent
        return growth > CROWDED * recent

    def renew(self) -> None:
        """Let new low calls replace those that were seen."""
        for contrast in self._everybody():
            contrast.forget()

    def forget(self) -> None:
        """What was measured is gone: let new calls replace it altogether."""
        self.renew()
        self._time = self._done = self._met = self._met_square = self._done_met = 0.0

    def _everybody(self) -> list[Contrast]:
        return self._contrasts if self.common is None else [*self._contrasts, self.common]

    def elasticity(self, capacity: float) -> tuple[float, float]:
        """By how much the rate of departures grows with the calls in flight where they are many, and its error.

        Relative growth over relative growth: 1 where every call has a worker of its own, 0 where all workers are busy.
        """
        if self._done < 8.0 * capacity + 16.0 or self._time <= 0.0:
            return 0.5, 1e9
        mean = self._met / self._time
        variance = self._met_square / self._time - mean * mean
        if variance <= 1e-9:
            return 0.5, 1e9
        covariance = (self._done_met - mean * self._done) / self._time
        slope = covariance / variance * mean * self._time / self._done
        return slope, mean / math.sqrt(variance * self._done)

    def measure(self, capacity: float, done: float) -> None:
        """Weigh what was seen, after ``done`` more completions, for a ``capacity``."""
        kept = 1.0
        most = LOADED_MEMORY * capacity + 16.0
        if self._loaded_done > most:
            kept = most / self._loaded_done
            self._loaded_time *= kept
            self._loaded_done *= kept
        most = ELASTIC_MEMORY * capacity + 64.0
        if self._done > most:
            less = most / self._done
            self._time *= less
            self._done *= less
            self._met *= less
            self._met_square *= less
            self._done_met *= less
        # Seconds from one departure to the next, by which a call waits longer for every other that it meets.
        self._pace = self._loaded_time / self._loaded_done if self._loaded_done >= LEAST_CALLS else 0.0
        aged = math.exp(-done / (AGING * capacity + 64.0))
        for contrast in self._everybody():
            contrast.loaded_done *= kept
            contrast.recent *= aged
            # All are to speak of the same time: a route that was let in less of late knows less of it.
            contrast.loaded.seen = min(contrast.loaded.seen, 1.5 * contrast.loaded_done + 1.0)
            contrast.measure(aged)
        self._sum()

    def _sum(self) -> None:
        """The queue of all routes together."""
        low = unloaded_met = high = loaded_met = recent = usual = succeeded = 0.0
        for contrast in self._everybody():
            low += contrast.unloaded.seen
            unloaded_met += contrast.unloaded.seen * contrast.unloaded.met
            high += contrast.loaded.seen
            loaded_met += contrast.loaded.seen * contrast.loaded.met
            succeeded += contrast.loaded_done
            if contrast.unloaded_total > 0.0:
                recent += contrast.recent
                usual += contrast.recent * contrast.usual_latency()
        self.unloaded_seen = low
        self.unloaded_met = unloaded_met / low if low > 0.0 else 0.0
        self.loaded_met = loaded_met / high if high > 0.0 else 0.0
        self.usual = usual / recent if recent > 0.0 else 0.0
        enough = low >= LEAST_CALLS and high >= LEAST_CALLS and self.loaded_met >= UNLOADED * self.loaded_from
        self.known = self._weigh(succeeded) >= MIN_KNOWN_SHARE and enough

    def _weigh(self, succeeded: float) -> float:
        """Sum the waits over the routes; returns the share of the calls of which anything is known.

        A route that has seen little is taken to wait like the others.
        """
        told = precision = weighed = 0.0
        for contrast in self._everybody():
            if contrast.known and contrast.loaded_done > 0.0:
                share = contrast.loaded_done / succeeded
                told += share
                weight = 1.0 / (contrast.error * contrast.error)
                precision += weight
                weighed += weight * contrast.wait
        common = weighed / precision if precision > 0.0 else 0.0
        calls = variance = waiting = waits = guessed = 0.0
        for contrast in self._everybody():
            share = contrast.loaded_done / succeeded if contrast.known else 0.0
            if share <= 0.0:
                continue
            if min(contrast.unloaded.seen, contrast.loaded.seen) >= FEW:
                calls += share * contrast.wait
                variance += share * contrast.error * share * contrast.error
            else:
                guessed += share
            if contrast.wait > EVIDENT * contrast.error:
                waiting += share
                waits += share * contrast.wait
        if guessed > 0.0:
            calls += guessed * common
            variance += guessed * guessed / precision
        rate = self.throughput() / told if told > 0.0 else 0.0
        self.calls = rate * calls
        self.error = rate * math.sqrt(variance)
        self.wait = waits / waiting if waiting > 0.0 else 0.0
        self._judge_together()
        return told

    def _judge_together(self) -> None:
        """Whether the wait is that of the routes of which nobody can say it alone."""
        share = wait = variance = low = high = 0.0
        for contrast in self._everybody():
            contrast.judge(self.wait)
            if contrast.verdict == 0 and contrast.recent < RARE and contrast.sane():
                done = contrast.loaded_done
                low += contrast.unloaded.seen
                high += contrast.loaded.seen
                share += done
                wait += done * contrast.wait
                variance += done * contrast.error * done * contrast.error
        self.together = 0
        if share > 0.0 and self.wait > 0.0:
            error = CERTAIN * math.sqrt(variance)
            if wait - error > SHARED * self.wait * share:
                self.together = 1
            elif min(low, high) >= MIN_SAMPLES and wait + error < ABSENT * self.wait * share:
                self.together = -1


def _recent(contrast: Contrast) -> float:
    return contrast.recent
