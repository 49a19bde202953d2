"""From calls to one tick's statistics, without locks.

Writers only ever add to running totals and the tick remembers where it stood, so nothing is lost between the
two: under the GIL an attribute's ``+=`` on a float or an int is not interrupted by another thread.
"""

from __future__ import annotations

from typing import final

from atrion._native import mypyc_attr

__all__ = ["Window"]

SUCCESS = 0
FAILURE = 1
DROPPED = 3


@mypyc_attr(acyclic=True)
@final
class Window:
    """Calls of a route since the last tick, and those still in flight. Times in seconds."""

    __slots__ = (
        "_drops",
        "_failures",
        "_latency",
        "_light_latency",
        "_lights",
        "_seen_drop_age",
        "_successes",
        "drop_age_total",
        "drops_total",
        "failures_total",
        "in_flight",
        "last_end",
        "latency_total",
        "light_latency_total",
        "lights_total",
        "start_sum",
        "successes_total",
        "window_drop_age",
        "window_drops",
        "window_failures",
        "window_latency",
        "window_light_latency",
        "window_lights",
        "window_successes",
    )

    def __init__(self) -> None:
        self.in_flight: int = 0
        self.start_sum: float = 0.0
        self.last_end: float = 0.0
        self.successes_total: int = 0
        self.failures_total: int = 0
        self.drops_total: int = 0
        self.lights_total: int = 0
        self.latency_total: float = 0.0
        self.light_latency_total: float = 0.0
        self.drop_age_total: float = 0.0
        self._successes: int = 0
        self._failures: int = 0
        self._drops: int = 0
        self._lights: int = 0
        self._latency: float = 0.0
        self._light_latency: float = 0.0
        self._seen_drop_age: float = 0.0
        self.window_successes: int = 0
        self.window_failures: int = 0
        self.window_drops: int = 0
        self.window_lights: int = 0
        self.window_latency: float = 0.0
        self.window_light_latency: float = 0.0
        self.window_drop_age: float = 0.0

    def clear(self) -> None:
        """Forget the calls in flight, which are another process' calls."""
        self.in_flight = 0
        self.start_sum = 0.0

    def release(self, other: Window) -> None:
        """Forget the calls in flight that ``other`` counts as well."""
        self.in_flight = max(self.in_flight - other.in_flight, 0)
        self.start_sum -= other.start_sum

    def begin(self, now: float) -> None:
        """A call begins."""
        if self.in_flight == 0:
            self.last_end = now
            self.start_sum = 0.0  # also sheds the rounding that a long life collects
        self.in_flight += 1
        self.start_sum += now

    def end(self, started: float, now: float, outcome: int, light: bool) -> None:
        """A call that began at ``started`` ends; ``light`` when it met an unloaded route."""
        if self.in_flight > 0:
            self.in_flight -= 1
        self.start_sum -= started
        if now > self.last_end:
            self.last_end = now
        latency = now - started
        if not latency >= 0.0:
            latency = 0.0
        if outcome == SUCCESS:
            self.successes_total += 1
            self.latency_total += latency
            if light:
                self.lights_total += 1
                self.light_latency_total += latency
        elif outcome == FAILURE:
            self.failures_total += 1
        elif outcome == DROPPED:
            self.drops_total += 1
            self.drop_age_total += latency

    def roll(self) -> None:
        """Close the window: its statistics become readable, the next one starts."""
        self.window_successes = self.successes_total - self._successes
        self.window_failures = self.failures_total - self._failures
        self.window_drops = self.drops_total - self._drops
        self.window_lights = self.lights_total - self._lights
        self.window_latency = max(self.latency_total - self._latency, 0.0)
        self.window_light_latency = max(self.light_latency_total - self._light_latency, 0.0)
        self.window_drop_age = max(self.drop_age_total - self._seen_drop_age, 0.0)
        self._successes += self.window_successes
        self._failures += self.window_failures
        self._drops += self.window_drops
        self._lights += self.window_lights
        self._latency = self.latency_total
        self._light_latency = self.light_latency_total
        self._seen_drop_age = self.drop_age_total

    def hang(self, now: float) -> float:
        """How long the calls in flight have been without an answer, in seconds; 0 with none in flight.

        The larger of the time since anything ended and the mean age: for a single call its exact age, for
        steady traffic within one service time of the oldest.
        """
        if self.in_flight <= 0:
            return 0.0
        return max(now - self.last_end, now - self.start_sum / self.in_flight, 0.0)
