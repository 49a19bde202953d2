"""The settings of the physics: validated, immutable, in SI units."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from atrion._plain import Plain
from atrion.errors import ConfigurationError
from atrion.physics.laws import weight

__all__ = ["SLO", "AdaptiveBreak", "PhysicsConfig", "check_number"]


def check_number(field: str, value: Any, low: float, high: float = math.inf, *, above: bool = False) -> None:
    """Refuse ``value`` unless it is a finite number in [low, high], or in (low, high] with ``above``.

    Raises:
        ConfigurationError: naming the field, the value and the range.
    """
    if high == math.inf:
        cure = f"give a finite number {'above' if above else 'of at least'} {low:g}"
    else:
        cure = f"give a number in {'(' if above else '['}{low:g}, {high:g}]"
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -1e300 < value < 1e300:
        raise ConfigurationError(field, value, cure)
    if value < low or (above and value == low) or value > high:
        raise ConfigurationError(field, value, cure)


@dataclass(frozen=True, slots=True, kw_only=True)
class SLO(Plain):
    """What a route promises, and how much each kind of pressure matters to it.

    Attributes:
        latency: Seconds after which an answer is useless, > 0, or None for no promise: then slow answers shed nobody.
        error_rate: Share of failing calls, in (0, 1], above which serving is not worth its cost. This is not an
            availability target: a dependency that fails 20% of calls still serves 80%.
        latency_criticality: How much latency matters, 0 to 10.
        error_criticality: How much errors matter, 0 to 10.
        saturation_criticality: How much saturation matters, 0 to 10.

    Raises:
        ConfigurationError: a value is out of its range.
    """

    latency: float | None = None
    error_rate: float = 0.65
    latency_criticality: float = 5.0
    error_criticality: float = 8.0
    saturation_criticality: float = 5.3

    def __post_init__(self) -> None:
        if self.latency is not None:
            check_number("SLO.latency", self.latency, 0.0, above=True)
        check_number("SLO.error_rate", self.error_rate, 0.0, 1.0, above=True)
        for name in ("latency_criticality", "error_criticality", "saturation_criticality"):
            check_number(f"SLO.{name}", getattr(self, name), 0.0, 10.0)

    def weights(self, gain: float) -> tuple[float, float, float]:
        """Weights of latency, error and saturation in ohms: ``gain · log(1 + c)`` (RFC-0002)."""
        return (
            weight(self.latency_criticality, gain),
            weight(self.error_criticality, gain),
            weight(self.saturation_criticality, gain),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveBreak(Plain):
    """An adaptive break point ``clamp(mean + k·std, floor, ceiling)``.

    Attributes:
        window: Observations the exponential window spans, ≥ 1.
        sensitivity: k, standard deviations above the mean, ≥ 0.
        floor: Lowest break point, ohms, > 0.
        ceiling: Highest break point, ohms, ≥ floor.
        warmup_ticks: Observations before it acts, ≥ 0.
        recovery_multiplier: Share of the break point below which a route recovers, in (0, 1].

    Raises:
        ConfigurationError: a value is out of its range.
    """

    window: int = 100
    sensitivity: float = 3.0
    floor: float = 30.0
    ceiling: float = 500.0
    warmup_ticks: int = 50
    recovery_multiplier: float = 0.5

    def __post_init__(self) -> None:
        check_number("AdaptiveBreak.window", self.window, 1)
        check_number("AdaptiveBreak.sensitivity", self.sensitivity, 0.0)
        check_number("AdaptiveBreak.floor", self.floor, 0.0, above=True)
        check_number("AdaptiveBreak.ceiling", self.ceiling, self.floor)
        check_number("AdaptiveBreak.warmup_ticks", self.warmup_ticks, 0)
        check_number("AdaptiveBreak.recovery_multiplier", self.recovery_multiplier, 0.0, 1.0, above=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhysicsConfig(Plain):
    """Constants of the laws. The defaults are the shipped controller; :meth:`reference` is the RFC's.

    Attributes:
        base_resistance: R_base, ohms, > 0: the least resistance.
        decay_rate: λ, per second, > 0: how fast scar tissue heals.
        scar_factor: σ, ohms, ≥ 0: the scar of one tick of trauma.
        scar_cap: Most scar tissue, ohms, > 0 (∞ in the reference preset).
        damping: μ, ohm-seconds, ≥ 0: what momentum adds.
        momentum_cap: Most that momentum adds, ohms, ≥ 0 (∞ in the reference preset).
        critical_pressure: P_crit in (0, √3]: ‖P⁺‖ above it is trauma.
        break_multiplier: The breaker opens at R ≥ R_base × this; > 1.
        bootstrap_ticks: Ticks of BOOTSTRAP, ≥ 1.
        steepness: k > 0 of the pressure curve.
        gain: Ohms a weight of 1 is worth, > 0.
        tick: Seconds between advances of the law, ≥ 0; 0 advances at every update.
        directed: Count only deterioration: positive pressure, momentum that worsens, smoothed.
        staleness_rate: κ, ohms per second, ≥ 0.
        staleness_cap: Most that staleness adds, ohms, ≥ 0.
        adaptive: An adaptive break point instead of the static one, or None.

    Raises:
        ConfigurationError: a value is out of its range.
    """

    base_resistance: float = 10.0
    decay_rate: float = 0.8
    scar_factor: float = 30.0
    scar_cap: float = 150.0
    damping: float = 1.0
    momentum_cap: float = 10.0
    critical_pressure: float = 0.6
    break_multiplier: float = 20.0
    bootstrap_ticks: int = 2
    steepness: float = 2.0
    gain: float = 50.0
    tick: float = 0.1
    directed: bool = True
    staleness_rate: float = 5.0
    staleness_cap: float = 50.0
    adaptive: AdaptiveBreak | None = None

    def __post_init__(self) -> None:
        positive = ("base_resistance", "decay_rate", "steepness", "gain")
        for name in positive:
            check_number(f"PhysicsConfig.{name}", getattr(self, name), 0.0, 1e6, above=True)
        for name in ("scar_factor", "damping", "tick", "staleness_rate", "staleness_cap"):
            check_number(f"PhysicsConfig.{name}", getattr(self, name), 0.0, 1e6)
        if self.scar_cap != math.inf:
            check_number("PhysicsConfig.scar_cap", self.scar_cap, 0.0, 1e6, above=True)
        if self.momentum_cap != math.inf:
            check_number("PhysicsConfig.momentum_cap", self.momentum_cap, 0.0, 1e6)
        check_number(
            "PhysicsConfig.critical_pressure", self.critical_pressure, 0.0, math.sqrt(3.0), above=True
        )
        check_number("PhysicsConfig.break_multiplier", self.break_multiplier, 1.0, 1e6, above=True)
        check_number("PhysicsConfig.bootstrap_ticks", self.bootstrap_ticks, 1)
        if not isinstance(self.directed, bool):
            raise ConfigurationError("PhysicsConfig.directed", self.directed, "give True or False")
        if self.adaptive is not None and not isinstance(self.adaptive, AdaptiveBreak):
            raise ConfigurationError("PhysicsConfig.adaptive", self.adaptive, "give an AdaptiveBreak or None")

    @classmethod
    def reference(cls, **changes: Any) -> PhysicsConfig:
        """The RFC's own constants, for comparison: they make a poor controller. ``changes`` override fields.

        Raises:
            ConfigurationError: a field does not exist or its value is out of range.
        """
        known = {field.name for field in fields(cls)}
        for name, value in changes.items():
            if name not in known:
                raise ConfigurationError(
                    f"PhysicsConfig.{name}", value, f"the fields are {', '.join(sorted(known))}"
                )
        preset: dict[str, Any] = {
            "base_resistance": 10.0,
            "decay_rate": 0.1,
            "scar_factor": 5.0,
            "scar_cap": math.inf,
            "damping": 0.02,
            "momentum_cap": math.inf,
            "critical_pressure": 0.7,
            "break_multiplier": 10.0,
            "bootstrap_ticks": 10,
            "steepness": 1.0,
            "gain": 1.0,
            "tick": 0.0,
            "directed": False,
            "staleness_rate": 0.0,
        }
        return cls(**{**preset, **changes})
