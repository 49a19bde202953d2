"""What a route was told to be: constants of the laws, promises, and how much it listens to others. Compiled."""

from __future__ import annotations

from typing import Any, final

from atrion.errors import ConfigurationError
from atrion.physics.adaptive import AdaptiveThreshold
from atrion.physics.config import SLO, PhysicsConfig, check_number
from atrion.physics.state import Constants

__all__ = ["Settings"]

LATENCY_BASELINE = 8.0
"""Service times that a latency may reach before it is pressure of its own."""
LEAST_BASELINE = 0.05
"""Seconds that a latency may reach in any case: a busy machine's scheduler pauses a call for as long."""
CALM = 0.1
"""Rejections for every finished call that are no overload yet."""


@final
class Settings:
    """Settings of a route, shared by all that have the same.

    ``latency_ceiling`` in seconds and ``error_baseline`` as a share are the SLO's; ``gamma`` is γ in [0, 1]; ``pool``
    names the bottleneck it shares with other routes, or is None.

    Raises:
        ConfigurationError: a value is unusable.
    """

    __slots__ = ("config", "constants", "error_baseline", "gamma", "latency_ceiling", "pool", "shared", "slo")

    # Typed loosely, so that the compiled build too refuses a wrong value in words.
    def __init__(self, config: Any, slo: Any, gamma: Any, shared: bool, pool: str | None = None) -> None:
        if not isinstance(config, PhysicsConfig):
            raise ConfigurationError("config", config, "give a PhysicsConfig")
        if not isinstance(slo, SLO):
            raise ConfigurationError("slo", slo, "give an SLO")
        check_number("gamma", gamma, 0.0, 1.0)
        self.config: PhysicsConfig = config
        self.slo: SLO = slo
        self.constants: Constants = Constants(config, slo.weights(config.gain))
        self.latency_ceiling: float = float(slo.latency)
        self.error_baseline: float = float(slo.error_rate)
        self.gamma: float = float(gamma)
        self.shared: bool = shared
        self.pool: str | None = pool

    def latency_baseline(self, floor: float) -> float:
        """Seconds above which latency is pressure: a multiple of its ``floor``, and never above the SLO."""
        if floor <= 0.0:
            return self.latency_ceiling
        return min(max(LATENCY_BASELINE * floor, LEAST_BASELINE), self.latency_ceiling)

    def threshold(self) -> AdaptiveThreshold | None:
        """A route's own adaptive break point, or None for the static one."""
        adaptive = self.config.adaptive
        if adaptive is None:
            return None
        return AdaptiveThreshold(
            self.constants.break_point,
            adaptive.window,
            adaptive.sensitivity,
            adaptive.floor,
            adaptive.ceiling,
            adaptive.warmup_ticks,
            adaptive.recovery_multiplier,
        )
