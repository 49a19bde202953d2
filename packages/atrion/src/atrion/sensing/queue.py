"""The queue at a bottleneck, from the waits of all its routes.

By Little's law, ``rate · wait`` calls of each route stand in the queue; their sum is the queue. A route whose calls do
not wait adds nothing to it, whatever its own latency is.
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
from atrion.sensing.departures import LOADED_MEMORY, Departures
from atrion.sensing.dips import Dips

__all__ = ["UNLOADED", "Queue"]

UNLOADED: Final = 0.75
"""Share of the capacity up to which a call is unloaded: it met few others and waited for none."""
UNLOADED_DEEP: Final = 0.5
"""The same where the capacity is believed to be far too high, so that calls at three quarters of it wait as well."""
UNLOADED_MEMORY: Final = 3.5
"""Unloaded calls remembered, in capacities (at least MEMORY). Counted in completions, so that it fits any pace."""
AGING: Final = 200.0
"""Completions, in capacities, after which a call counts for a third: old calls are no evidence."""
CROWDED: Final = 0.3
"""Relative growth of latency over that of the calls met, above which even unloaded calls wait for each other."""
ROUTES: Final = 32
"""Routes that have a contrast of their own; rarer ones share one."""
RARE: Final = 50.0
"""Calls below which a route is judged together with the other rare ones."""
MIN_KNOWN_SHARE: Final = 0.2
"""Share of the calls that must belong to routes with enough samples."""
FEW: Final = 3.0
"""Calls of each kind below which a route has few samples."""


@mypyc_attr(acyclic=True)
@final
class Queue:
    """Measures the queue in front of the workers. Times in seconds.

    Attributes:
        calls: Calls in the queue.
        error: Standard error of ``calls``.
        wait: Mean wait of the routes that wait at all.
        usual: Geometric mean latency of unloaded calls.
        known: Whether the last :meth:`measure` had enough calls of both kinds.
        together: Whether the rare routes, which cannot be judged one by one, wait as well: 1 if so, −1 if not, else 0.
        unloaded_below: A call that made at most so many in flight is unloaded.
        loaded_from: A call that made at least so many in flight is loaded.
        unloaded_met: Calls in flight that unloaded calls met, on average; ``loaded_met`` likewise.
        unloaded_seen: How many unloaded calls the measurement stands for.
        common: The contrast that rare routes share.
        departures: Departures while many calls are in flight.
        dips: Dips of the limit; kept here because only a pool that has ever had two calls in flight needs them.
    """

    __slots__ = (
        "_contrasts",
        "_loaded_memory",
        "_pace",
        "_unloaded_memory",
        "calls",
        "common",
        "departures",
        "dips",
        "error",
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

    def __init__(self, calls: float, done: float) -> None:
        self._contrasts: list[Contrast] = []
        self.common: Contrast | None = None
        self.departures: Departures = Departures()
        self.dips: Dips = Dips(done)
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
        self.unloaded_below: float = 1.0
        self.loaded_from: float = 1.0
        self._unloaded_memory: float = MEMORY
        self._loaded_memory: float = MEMORY
        self.place(calls, False)

    def place(self, capacity: float, deep: bool) -> None:
        """Set the bounds of unloaded and loaded calls for a ``capacity``; ``deep`` if it seems to be far lower."""
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
        if rarest.recent < 1.0:  # its route is hardly called any more and shares from now on
            self.release(rarest)
            return self.claim()
        if self.common is None:
            self.common = Contrast()
        return self.common

    def release(self, contrast: Contrast) -> None:
        """Take back the contrast of a route that has left."""
        if contrast in self._contrasts:
            self._contrasts.remove(contrast)
            contrast.kept = False

    # --- calls ---------------------------------------------------------------------------------------------

    def add(
        self, contrast: Contrast, latency: float, in_flight: float, met: float, tier: int, weight: float
    ) -> None:
        """``weight`` calls that made ``met`` in flight have succeeded after ``latency`` seconds, of ``in_flight``."""
        contrast.recent += weight
        if in_flight >= self.loaded_from:
            contrast.loaded_done += weight
        if met <= self.unloaded_below:
            contrast.add_unloaded(latency, met, tier, weight, self._unloaded_memory)
            self.dips.got += weight
        elif met >= self.loaded_from:
            shift = (met - self.loaded_from) * self._pace
            contrast.add_loaded(latency, met, tier, weight, self._loaded_memory, shift)

    def fail(self, contrast: Contrast, met: float, weight: float) -> None:
        """A call that made ``met`` in flight has failed, which counts as an endless wait.

        If all calls fail alike, this says nothing. If only loaded calls fail, as with a server that rejects what
        exceeds its queue, they show a queue.
        """
        if met <= self.unloaded_below:
            contrast.unloaded.add(0.0, met, weight, self._unloaded_memory)
        elif met >= self.loaded_from:
            contrast.loaded.add(0.0, met, weight, self._loaded_memory)
            contrast.shifted.add(0.0, met, weight, self._loaded_memory)

    # --- results -------------------------------------------------------------------------------------------

    def measured(self) -> bool:
        """Whether ``calls`` and ``error`` describe the present."""
        return self.known and self.departures.measured()

    def forget_unloaded(self) -> None:
        """Let few new unloaded calls replace the old ones, which met more calls than the bound allows now."""
        for contrast in self._all_contrasts():
            contrast.forget_unloaded()

    def crowded(self) -> bool:
        """Whether even unloaded calls waited for each other."""
        growth = recent = 0.0
        for contrast in self._all_contrasts():
            growth += contrast.recent * contrast.trend.growth
            recent += contrast.recent
        return growth > CROWDED * recent

    def renew(self) -> None:
        """Let new unloaded calls replace the old ones."""
        for contrast in self._all_contrasts():
            contrast.forget()

    def forget(self) -> None:
        """Forget what was measured."""
        self.renew()
        self.departures.forget()

    def _all_contrasts(self) -> list[Contrast]:
        return self._contrasts if self.common is None else [*self._contrasts, self.common]

    def measure(self, capacity: float, done: float) -> None:
        """Measure the queue after ``done`` more completions, for a ``capacity``."""
        kept = self.departures.decay(capacity)
        self._pace = self.departures.gap()
        aged = math.exp(-done / (AGING * capacity + 64.0))
        for contrast in self._all_contrasts():
            contrast.loaded_done *= kept
            contrast.recent *= aged
            # All routes must describe the same period: a route with fewer admitted calls knows less of it.
            contrast.loaded.seen = min(contrast.loaded.seen, 1.5 * contrast.loaded_done + 1.0)
            contrast.measure(aged)
        self._sum()

    def _sum(self) -> None:
        """Sum up the calls of all routes."""
        low = unloaded_met = high = loaded_met = recent = usual = succeeded = 0.0
        for contrast in self._all_contrasts():
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
        share = self._weigh(succeeded)
        # Where unloaded calls took longer than loaded ones, something else has changed.
        sane = self.calls >= -CERTAIN * self.error
        self.known = share >= MIN_KNOWN_SHARE and enough and sane

    def _weigh(self, succeeded: float) -> float:
        """Sum up the waits of all routes; returns the share of calls whose route is known.

        A route with few samples is assumed to wait like the others.
        """
        known = precision = weighed = 0.0
        for contrast in self._all_contrasts():
            if contrast.known and contrast.loaded_done > 0.0:
                share = contrast.loaded_done / succeeded
                known += share
                weight = 1.0 / (contrast.error * contrast.error)
                precision += weight
                weighed += weight * contrast.wait
        common = weighed / precision if precision > 0.0 else 0.0
        calls = variance = waiting = waits = guessed = 0.0
        for contrast in self._all_contrasts():
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
        rate = self.departures.throughput() / known if known > 0.0 else 0.0
        self.calls = rate * calls
        self.error = rate * math.sqrt(variance)
        self.wait = waits / waiting if waiting > 0.0 else 0.0
        self._judge_together()
        return known

    def _judge_together(self) -> None:
        """Judge the rare routes together."""
        share = wait = variance = low = high = 0.0
        for contrast in self._all_contrasts():
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
