"""The adaptive break point (RFC-0007 core model, restated in the design's table of laws)."""

from __future__ import annotations

import math
from typing import final

from atrion.physics.config import PhysicsConfig

__all__ = ["AdaptiveThreshold", "threshold_of"]


@final
class AdaptiveThreshold:
    """``B = clamp(mean + k·std, floor, ceiling)``, ohms, over an exponential window of N observations.

    ``static_break`` (ohms) holds until ``warmup_ticks`` observations were made.
    """

    __slots__ = (
        "_alpha",
        "ceiling",
        "count",
        "floor",
        "mean",
        "recovery_multiplier",
        "sensitivity",
        "static_break",
        "variance",
        "warmup_ticks",
    )

    def __init__(
        self,
        static_break: float,
        window: int = 100,
        sensitivity: float = 3.0,
        floor: float = 30.0,
        ceiling: float = 500.0,
        warmup_ticks: int = 50,
        recovery_multiplier: float = 0.5,
    ) -> None:
        self.static_break: float = static_break
        self._alpha: float = 2.0 / (window + 1.0)
        self.sensitivity: float = sensitivity
        self.floor: float = floor
        self.ceiling: float = ceiling
        self.warmup_ticks: int = warmup_ticks
        self.recovery_multiplier: float = recovery_multiplier
        self.count: int = 0
        self.mean: float = 0.0
        self.variance: float = 0.0

    def observe(self, resistance: float) -> None:
        """Take one resistance, in ohms; a value that is not finite is passed over."""
        if resistance - resistance != 0.0:
            return
        self.count += 1
        if self.count == 1:
            self.mean = resistance
            return
        delta = resistance - self.mean
        self.mean += self._alpha * delta
        self.variance = (1.0 - self._alpha) * (self.variance + self._alpha * delta * delta)

    def copy(self) -> AdaptiveThreshold:
        """Another with the same observations."""
        other = AdaptiveThreshold(
            self.static_break,
            1,
            self.sensitivity,
            self.floor,
            self.ceiling,
            self.warmup_ticks,
            self.recovery_multiplier,
        )
        other._alpha = self._alpha
        other.count = self.count
        other.mean = self.mean
        other.variance = self.variance
        return other

    @property
    def std(self) -> float:
        """Standard deviation of the observations, in ohms."""
        return math.sqrt(self.variance)

    def break_point(self) -> float:
        """The resistance, in ohms, at which the breaker opens."""
        if self.count < self.warmup_ticks:
            return self.static_break
        return min(max(self.mean + self.sensitivity * self.std, self.floor), self.ceiling)

    def recovery_point(self) -> float:
        """The resistance, in ohms, below which the breaker closes."""
        return max(self.recovery_multiplier * self.break_point(), 0.5 * self.floor)


def threshold_of(config: PhysicsConfig) -> AdaptiveThreshold | None:
    """A new adaptive break point as configured, or None for the static one."""
    adaptive = config.adaptive
    if adaptive is None:
        return None
    return AdaptiveThreshold(
        float(config.base_resistance * config.break_multiplier),
        adaptive.window,
        adaptive.sensitivity,
        adaptive.floor,
        adaptive.ceiling,
        adaptive.warmup_ticks,
        adaptive.recovery_multiplier,
    )
