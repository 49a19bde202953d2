"""Departures while many calls are in flight: their rate, and whether it grows with the calls in flight.

Where workers are free, it grows; where all are busy, it does not, and admitting more calls completes no more of them.
"""

from __future__ import annotations

import math
from typing import Final, final

from atrion._native import mypyc_attr
from atrion.sensing.contrast import LEAST_CALLS

__all__ = ["LOADED_MEMORY", "Departures"]

LOADED_MEMORY: Final = 3.0
"""Loaded calls remembered, in capacities."""
ELASTIC_MEMORY: Final = 30.0
"""Completions, in capacities, over which the elasticity is taken: its error falls with the root of their number."""


@mypyc_attr(acyclic=True)
@final
class Departures:
    """Sums over the time in which many calls were in flight, over a short and a long memory. Times in seconds."""

    __slots__ = ("_done", "_done_met", "_met", "_met_square", "_recent_done", "_recent_time", "_time")

    def __init__(self) -> None:
        self._recent_time: float = 0.0
        self._recent_done: float = 0.0
        self.forget()

    def forget(self) -> None:
        """Forget the long memory."""
        self._time: float = 0.0
        self._done: float = 0.0
        self._met: float = 0.0
        self._met_square: float = 0.0
        self._done_met: float = 0.0

    def pass_time(self, in_flight: float, dt: float, done: float) -> None:
        """``dt`` seconds have passed with so many calls ``in_flight``, and ``done`` calls left at their end."""
        self._recent_time += dt
        self._recent_done += done
        self._time += dt
        self._done += done
        self._met += dt * in_flight
        self._met_square += dt * in_flight * in_flight
        self._done_met += done * in_flight

    def measured(self) -> bool:
        """Whether there were enough departures lately."""
        return self._recent_done >= LEAST_CALLS and self._recent_time > 0.0

    def throughput(self) -> float:
        """Departures per second lately; 0 if there were none."""
        return self._recent_done / self._recent_time if self._recent_time > 0.0 else 0.0

    def rate(self) -> float:
        """Departures per second over the long memory."""
        return self._done / self._time if self._time > 0.0 else 0.0

    def gap(self) -> float:
        """Seconds from one departure to the next lately: the wait that every other call in flight adds."""
        return self._recent_time / self._recent_done if self._recent_done >= LEAST_CALLS else 0.0

    def elasticity(self, capacity: float) -> tuple[float, float]:
        """By how much the rate of departures grows with the calls in flight, and the standard error.

        Relative growth over relative growth: 1 if every call has a worker of its own, 0 if all workers are busy.
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

    def decay(self, capacity: float) -> float:
        """Keep no more than both memories hold for a ``capacity``; returns the share of the short one that is kept."""
        kept = 1.0
        most = LOADED_MEMORY * capacity + 16.0
        if self._recent_done > most:
            kept = most / self._recent_done
            self._recent_time *= kept
            self._recent_done *= kept
        mean = self._met / self._time if self._time > 0.0 else 0.0
        # The capacity may be far less than what is in flight.
        most = ELASTIC_MEMORY * max(capacity, mean) + 64.0
        if self._done > most:
            self.fade(most / self._done)
        return kept

    def fade(self, kept: float) -> None:
        """Keep a share of the long memory."""
        self._time *= kept
        self._done *= kept
        self._met *= kept
        self._met_square *= kept
        self._done_met *= kept
