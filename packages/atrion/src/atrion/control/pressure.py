"""From a window's calls, or a caller's samples, to the three pressures of the law."""

from __future__ import annotations

import math
from typing import final

from atrion._native import mypyc_attr
from atrion.control.settings import Settings
from atrion.physics.laws import normalize
from atrion.sensing.capacity import Capacity
from atrion.sensing.samples import Samples
from atrion.sensing.window import Window

__all__ = ["Pressure"]

EVIDENCE = 4.0
"""Calls that count as much as what was believed before."""
NEWS = 0.5
"""Most that one tick's calls may change the belief: a window of ten calls is half chance."""
FOLLOW = 30.0
"""Seconds in which the floor of a caller's own latencies follows them, in calm."""


@mypyc_attr(acyclic=True)
@final
class Pressure:
    """Normalised pressures of one route, each in [−1, 1]; what does not report keeps its last value."""

    __slots__ = ("_error_rate", "_floor", "error", "latency", "saturation")

    def __init__(self) -> None:
        self.latency: float = 0.0
        self.error: float = 0.0
        self.saturation: float = 0.0
        self._error_rate: float = 0.0
        self._floor: float = 0.0

    def read_samples(self, given: Samples, settings: Settings, dt: float, shed: int) -> int:
        """Take what callers brought along in ``dt`` seconds and clear it; returns how many samples that were."""
        k = settings.constants.steepness
        if given.latencies > 0:
            latency = given.latency()
            finite = min(latency, settings.latency_ceiling)
            if self._floor <= 0.0:
                self._floor = finite
            self.latency = normalize(latency, settings.latency_baseline(self._floor), k)
            if shed == 0 and self.latency <= 0.0 and self.error <= 0.0:
                self._floor += (1.0 - math.exp(-dt / FOLLOW)) * (finite - self._floor)
        if given.errors > 0:
            self._error_rate = given.error_rate()
            self.error = normalize(self._error_rate, settings.error_baseline, k)
        if given.saturations > 0:
            self.saturation = normalize(given.saturation(), 1.0, k)
        count = given.count()
        given.clear()
        return count

    def read_calls(
        self, window: Window, crowd: int, capacity: Capacity, settings: Settings, now: float
    ) -> int:
        """Take a window of guarded calls; returns how many calls it stands for.

        ``crowd`` calls are in flight at what has this ``capacity``. A window without a word is no news, unless what is
        in flight hangs.
        """
        successes = window.window_successes
        failures = window.window_failures
        k = settings.constants.steepness
        finished = successes + failures
        if finished > 0:
            weight = min(finished / (finished + EVIDENCE), NEWS)
            self._error_rate += weight * (failures / finished - self._error_rate)
            self.error = normalize(self._error_rate, settings.error_baseline, k)
        if successes > 0:
            # What the queue explains is saturation already; counting it as latency too would scar overload.
            latency = window.window_latency / successes
            latency *= min(1.0, capacity.calls / max(crowd, 1))
        elif window.window_drops > 0:
            latency = window.window_drop_age / window.window_drops
        elif failures > 0:
            return finished
        else:
            latency = window.hang(now)
            if latency <= capacity.service_time:
                return 0  # still within an ordinary call
        self.latency = normalize(latency, settings.latency_baseline(capacity.service_time), k)
        return max(finished + window.window_drops, 1)
