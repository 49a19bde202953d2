"""What a route can carry, learned from its calls by Little's law."""

from __future__ import annotations

import math
from typing import final

__all__ = ["Capacity"]

INITIAL = 8.0
"""Calls in flight assumed before anything was measured."""
SLACK = 1.5
"""Queue allowed, in square roots of the capacity: the spread of random arrivals grows like the root."""
CONGESTED = 1.5
"""Latency over its floor above which a queue has formed."""
MEMORY = 0.6
"""Seconds that throughput and latency are averaged over."""


@final
class Capacity:
    """Learned service time (seconds) and capacity (calls in flight).

    ``service_time`` is the mean latency of calls that met a lightly loaded route; ``calls`` is the highest
    throughput times it (Little's law), and only a lower bound until a queue has been seen.
    """

    __slots__ = ("_latency", "_lights", "_throughput", "calls", "limit", "service_time")

    def __init__(self) -> None:
        self.calls: float = INITIAL
        self.service_time: float = 0.0
        self.limit: float = 0.0
        self._lights: float = 0.0
        self._throughput: float = 0.0
        self._latency: float = 0.0
        self._set(INITIAL)

    def _set(self, calls: float) -> None:
        self.calls = max(calls, 1.0)
        self.limit = self.calls + SLACK * math.sqrt(self.calls)

    def light_below(self) -> float:
        """In-flight calls below which a new call counts as lightly loaded."""
        return max(1.0, 0.5 * self.calls)

    def learn(
        self,
        successes: int,
        latency: float,
        lights: int,
        light_latency: float,
        dt: float,
        calm: bool,
        ceiling: float,
    ) -> None:
        """Take a window: ``successes`` and their mean ``latency``, the same of the ``lights``, over ``dt`` s.

        ``calm``: nothing was shed and pressure is low. ``ceiling`` in seconds is never crossed by the floor.
        """
        if successes <= 0 or dt <= 0.0:
            return
        share = 1.0 - math.exp(-dt / MEMORY)
        if self._latency == 0.0:
            share = 1.0
        self._throughput += share * (successes / dt - self._throughput)
        self._latency += share * (latency - self._latency)
        self._learn_floor(latency, lights, light_latency, dt, calm, ceiling)
        if self.service_time <= 0.0:
            return
        measured = self._throughput * self.service_time
        if self._latency <= CONGESTED * self.service_time:
            # No queue: whatever is in flight is below capacity, so capacity is at least twice of it.
            self._set(max(self.calls, 2.0 * self._throughput * self._latency))
        else:
            self._set(self.calls + share * (measured - self.calls))

    def _learn_floor(
        self, latency: float, lights: int, light_latency: float, dt: float, calm: bool, ceiling: float
    ) -> None:
        if lights > 0:
            self._lights = min(self._lights + lights, 1e6)
            step = lights / self._lights
            if light_latency < self.service_time or calm:
                # Established floors still follow: down at once, up only in calm and over half a minute.
                pace = 1.0 if light_latency < self.service_time else 30.0
                step = max(step, (1.0 - math.exp(-dt / pace)) * min(1.0, lights / 10.0))
            self.service_time += step * (light_latency - self.service_time)
        elif self.service_time <= 0.0:
            self.service_time = latency
        self.service_time = min(self.service_time, ceiling)

    def saturation(self, in_flight: int) -> float:
        """In flight over what the route carries with its allowed queue; above 1 it is too much."""
        return in_flight / self.limit
