"""The settings of a route: constants of the laws, promises, and sharing. Compiled."""

from __future__ import annotations

from typing import Any, Final, final

from atrion.control.profiles import STANDARD, Profile, profile_of
from atrion.errors import ConfigurationError
from atrion.physics.adaptive import AdaptiveThreshold, threshold_of
from atrion.physics.config import SLO, PhysicsConfig, check_number
from atrion.physics.state import Constants
from atrion.physics.voltage import Tier, band, level_of

__all__ = ["MAX_ROUTE_ID", "OPEN", "Settings", "check_name"]

MAX_ROUTE_ID: Final = 256

LATENCY_BASELINE: Final = 8.0
"""Multiple of their usual value that a caller's latency samples may reach before they are pressure."""
LEAST_BASELINE: Final = 0.05
"""Seconds that they may reach in any case: the scheduler of a busy machine pauses calls for as long."""
OPEN: Final = 1000.0
"""Least ``floor`` in volts that opens the breaker."""


def check_name(field: str, name: object) -> None:
    """Refuse anything but text of 1 to 256 characters as the name of a route, pool or node.

    Raises:
        ConfigurationError: it is not.
    """
    if not isinstance(name, str) or not 0 < len(name) <= MAX_ROUTE_ID:
        shown = name
        if isinstance(name, str) and name:
            shown = f"{name[:40]}… ({len(name)} characters)"
        raise ConfigurationError(field, shown, f"give 1 to {MAX_ROUTE_ID} characters")


@final
class Settings:
    """Settings of a route; one object serves all routes with the same settings.

    Attributes:
        constants: The constants of the laws as plain floats.
        profile: What is expected of the route's work.
        promise: Promised latency in seconds, of the SLO or else of the profile; 0 if none was promised.
        stall: Least seconds without any answer after which unanswered calls count as failures.
        error_baseline: The SLO's share of failing calls.
        gamma: γ in [0, 1].
        shared: Whether scars are shared with other nodes.
        pool: Name of the bottleneck that the route shares with others, or None.
        start: Volts at which the band of the route's own tier begins.
        enforce: False in shadow mode.
        floor: Volts up to which everything is shed, whatever was learned.

    Raises:
        ConfigurationError: a value is unusable.
    """

    __slots__ = (
        "config",
        "constants",
        "enforce",
        "error_baseline",
        "floor",
        "gamma",
        "pool",
        "profile",
        "promise",
        "shared",
        "slo",
        "stall",
        "start",
    )

    # Typed loosely, so that the compiled build also refuses a wrong value with our own message.
    def __init__(
        self,
        config: Any,
        slo: Any,
        gamma: Any,
        shared: Any = True,
        pool: str | None = None,
        tier: Any = Tier.NORMAL,
        enforce: Any = True,
        floor: float = 0.0,
        profile: Any = STANDARD,
    ) -> None:
        if not isinstance(config, PhysicsConfig):
            raise ConfigurationError("config", config, "give a PhysicsConfig")
        if not isinstance(slo, SLO):
            raise ConfigurationError("slo", slo, "give an SLO")
        check_number("gamma", gamma, 0.0, 1.0)
        for name, value in (("shared", shared), ("enforce", enforce)):
            if not isinstance(value, bool):
                raise ConfigurationError(name, value, "give True or False")
        self.config: PhysicsConfig = config
        self.slo: SLO = slo
        self.constants: Constants = Constants(config, slo.weights(config.gain))
        self.profile: Profile = profile_of(profile)
        promised = self.profile.latency if slo.latency is None else slo.latency
        self.promise: float = 0.0 if promised is None else float(promised)
        self.stall: float = float(self.profile.stall)
        self.error_baseline: float = float(slo.error_rate)
        self.gamma: float = float(gamma)
        self.shared: bool = shared
        self.pool: str | None = pool
        self.start: float = band(level_of(tier))
        self.enforce: bool = enforce
        self.floor: float = floor

    def learns_like(self, other: Settings) -> bool:
        """Whether a route that has learned under ``other`` settings need not start anew."""
        return (
            self.config == other.config
            and self.slo == other.slo
            and self.gamma == other.gamma
            and self.shared == other.shared
            and self.pool == other.pool
        )

    def sample_latency_ceiling(self) -> float:
        """Seconds above which a latency sample is pressure in any case."""
        return self.promise if self.promise > 0.0 else float(self.profile.duration)

    def sample_latency_baseline(self, usual: float) -> float:
        """Seconds above which a latency sample is pressure: a multiple of the ``usual`` one, up to the ceiling."""
        if usual <= 0.0:
            return self.sample_latency_ceiling()
        return min(max(LATENCY_BASELINE * usual, LEAST_BASELINE), self.sample_latency_ceiling())

    def threshold(self) -> AdaptiveThreshold | None:
        """A new adaptive break point, or None for the static one."""
        return threshold_of(self.config)
