"""What a route can carry, learned from its calls by Little's law."""

from __future__ import annotations

import math
from typing import final

from atrion._native import mypyc_attr
from atrion.sensing.window import Window

__all__ = ["Capacity"]

INITIAL = 12.0
"""Calls in flight that a route is believed to carry before anything was measured."""
FIRST = 2.0
"""Calls in flight below which a call of an unknown route is believed to find a free worker."""
SLACK = 1.75
"""Queue allowed, in square roots of the capacity: the spread of random arrivals grows like the root."""
SPREAD = 3.0
"""Roots more over which saturation grows, so that tiers stand some calls apart in small pools too."""
HEADROOM = 2.0
"""Capacity over what was in use while no queue was seen: nobody knows yet, so it may well be twice."""
CONGESTED = 1.5
"""Latency over its floor above which a queue has formed."""
MEMORY = 1.0
"""Seconds that throughput and latency are averaged over."""
CERTAINTY = 0.3
"""Seconds in which a queue takes the headroom away."""
DOUBT = 10.0
"""Seconds in which calm gives it back: how much more could be carried is forgotten slowly."""
LIGHT = 0.5
"""Share of the calls in use below which a new one finds a free worker, even if the service time is believed to be
twice what it is: so a wrong belief is corrected by those calls, and not confirmed."""
LEAST_WAIT = 0.02
"""Seconds that calls may wait in any case, or a tenth of the ceiling: less is what a scheduler makes of any call."""
SURE = 32.0
"""Light calls after which the service time is known well enough."""
DRAIN = 1.0
"""Seconds, altogether, for which a route that began in an overload keeps itself nearly empty to see light calls."""


@mypyc_attr(acyclic=True)
@final
class Capacity:
    """Learned service time (seconds) and capacity (calls in flight).

    ``service_time`` is the mean latency of calls that met a lightly loaded route. ``calls`` is throughput times it
    (Little's law): what is in use, and all there is once a queue was seen. ``limit`` adds the headroom that is still
    unknown and the queue that random arrivals need.

    A process that starts into an overload meets no light call by itself, and too low a service time would let it
    believe in a queue for ever: it drains for a moment, until it knows.
    """

    __slots__ = (
        "_calm",
        "_drained",
        "_headroom",
        "_latency",
        "_lights",
        "_span",
        "_throughput",
        "calls",
        "limit",
        "service_time",
    )

    def __init__(self) -> None:
        self.calls: float = INITIAL
        self.service_time: float = 0.0
        self.limit: float = 0.0
        self._headroom: float = HEADROOM
        self._calm: bool = True
        self._drained: float = 0.0
        self._lights: float = 0.0
        self._throughput: float = 0.0
        self._latency: float = 0.0
        self._span: float = 0.0
        self._bound(0.0)

    def _bound(self, ceiling: float) -> None:
        calls = self.calls * self._headroom
        root = math.sqrt(calls)
        self.limit = max(calls + SLACK * root, self._throughput * min(LEAST_WAIT, 0.1 * ceiling))
        self._span = self.limit + SPREAD * root

    def light_below(self) -> float:
        """In-flight calls below which a new call counts as lightly loaded."""
        known = LIGHT * self._throughput * self.service_time
        if self._lights >= SURE:
            return max(1.0, known)
        # A calm route must not wait for light calls by a service time that it has from two of them: those that meet
        # fewer than usual will do.
        return max(FIRST, self._throughput * self._latency if self._calm else known)

    def learn(self, window: Window, dt: float, calm: bool, ceiling: float) -> None:
        """Take a window of ``dt`` seconds.

        ``calm``: little was shed and pressure is low. ``ceiling`` in seconds is never crossed by the floor.
        """
        successes = window.window_successes
        if successes <= 0 or dt <= 0.0:
            return
        latency = window.window_latency / successes
        self._calm = calm and window.in_flight <= self.limit
        share = 1.0 if self._latency == 0.0 else 1.0 - math.exp(-dt / MEMORY)
        self._throughput += share * (successes / dt - self._throughput)
        self._latency += share * (latency - self._latency)
        self._learn_floor(window, latency, dt, calm, ceiling)
        if self.service_time <= 0.0:
            return
        used = self._throughput * self.service_time
        sure = self._lights >= SURE or self._drained >= DRAIN
        if sure and self._latency > CONGESTED * self.service_time:
            used = min(used, 0.5 * ceiling * self._throughput)
            self.calls += share * (used - self.calls)
            self._headroom += (1.0 - math.exp(-dt / CERTAINTY)) * (1.0 - self._headroom)
        else:
            self.calls = max(self.calls, used)
            self._headroom += (1.0 - math.exp(-dt / DOUBT)) * (HEADROOM - self._headroom)
        self.calls = max(self.calls, 1.0)
        self._bound(ceiling)
        if not sure and (self._drained > 0.0 or window.in_flight > self.limit):
            self._drained += dt
            self.limit = self.light_below()
            self._span = 1.0  # whatever its tier, a call beyond the limit would queue

    def _learn_floor(self, window: Window, latency: float, dt: float, calm: bool, ceiling: float) -> None:
        lights = window.window_lights
        if lights > 0:
            light_latency = window.window_light_latency / lights
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

    def excess(self, in_flight: int) -> float:
        """How far ``in_flight`` exceeds the limit, 1 being a whole pool and its queue; ≤ 0 while it does not."""
        return (in_flight - self.limit) / self._span
