"""The physics state of one route and its step in time: laws and modes. Pure: callers pass the time. Compiled."""

from __future__ import annotations

import math
from typing import Final, final

from atrion._native import mypyc_attr
from atrion.physics.adaptive import AdaptiveThreshold
from atrion.physics.config import PhysicsConfig
from atrion.physics.laws import (
    MAX_RESISTANCE,
    MIN_DT,
    drive,
    momentum,
    norm,
    positive_norm,
    resistance,
    staleness,
)
from atrion.physics.modes import Mode, mode_of

__all__ = ["Constants", "PhysicsState"]

BOOTSTRAP: Final = 0
OPERATIONAL: Final = 1
CIRCUIT_BREAKER: Final = 2
HEALING: Final = 0.3
"""Seconds of decay that one success is worth without pressure: a dependency that answers again recovers at once."""


@final
class Constants:
    """A :class:`PhysicsConfig` and the weights as plain floats; one object serves all routes with the same settings."""

    __slots__ = (
        "base",
        "bootstrap_ticks",
        "break_point",
        "critical",
        "damping",
        "decay_rate",
        "directed",
        "momentum_cap",
        "scar_cap",
        "scar_factor",
        "staleness_cap",
        "staleness_rate",
        "steepness",
        "tick",
        "weight_error",
        "weight_latency",
        "weight_saturation",
    )

    def __init__(self, config: PhysicsConfig, weights: tuple[float, float, float]) -> None:
        self.base: float = float(config.base_resistance)
        self.decay_rate: float = float(config.decay_rate)
        self.scar_factor: float = float(config.scar_factor)
        self.scar_cap: float = float(config.scar_cap)
        self.damping: float = float(config.damping)
        self.momentum_cap: float = float(config.momentum_cap)
        self.critical: float = float(config.critical_pressure)
        self.break_point: float = self.base * float(config.break_multiplier)
        self.bootstrap_ticks: int = int(config.bootstrap_ticks)
        self.steepness: float = float(config.steepness)
        self.tick: float = float(config.tick)
        self.directed: bool = config.directed
        self.staleness_rate: float = float(config.staleness_rate)
        self.staleness_cap: float = float(config.staleness_cap)
        self.weight_latency: float = weights[0]
        self.weight_error: float = weights[1]
        self.weight_saturation: float = weights[2]


@mypyc_attr(acyclic=True)
@final
class PhysicsState:
    """Pressure, momentum, scar tissue, resistance and mode of one route.

    Starts in BOOTSTRAP with zero pressure, no scar and ``R = 1.2·R_base``. ``threshold`` is the adaptive
    break point, or None for the static one.
    """

    __slots__ = (
        "_smooth_error",
        "_smooth_latency",
        "_smooth_saturation",
        "adaptive",
        "constants",
        "error",
        "latency",
        "mode_index",
        "momentum",
        "resistance",
        "saturation",
        "scar_tissue",
        "ticks",
    )

    def __init__(self, constants: Constants, adaptive: AdaptiveThreshold | None = None) -> None:
        self.constants: Constants = constants
        self.adaptive: AdaptiveThreshold | None = adaptive
        self.mode_index: int = BOOTSTRAP
        self.ticks: int = 0
        self.latency: float = 0.0
        self.error: float = 0.0
        self.saturation: float = 0.0
        self.momentum: float = 0.0
        self.scar_tissue: float = 0.0
        self.resistance: float = 1.2 * constants.base
        self._smooth_latency: float = 0.0
        self._smooth_error: float = 0.0
        self._smooth_saturation: float = 0.0

    @property
    def mode(self) -> Mode:
        """The mode the route is in."""
        return mode_of(self.mode_index)

    def copy(self, constants: Constants) -> PhysicsState:
        """The same state under ``constants``."""
        other = PhysicsState(constants, None if self.adaptive is None else self.adaptive.copy())
        other.mode_index = self.mode_index
        other.ticks = self.ticks
        other.latency = self.latency
        other.error = self.error
        other.saturation = self.saturation
        other.momentum = self.momentum
        other.scar_tissue = self.scar_tissue
        other.resistance = self.resistance
        other._smooth_latency = self._smooth_latency
        other._smooth_error = self._smooth_error
        other._smooth_saturation = self._smooth_saturation
        return other

    def break_point(self) -> float:
        """The resistance, in ohms, at which the breaker opens."""
        return self.constants.break_point if self.adaptive is None else self.adaptive.break_point()

    def advance(
        self,
        latency: float,
        error: float,
        saturation: float,
        dt: float,
        trauma_ticks: float = 1.0,
        stale: float = 0.0,
    ) -> None:
        """One tick: normalised pressures in [−1, 1], ``dt`` in seconds, ``stale`` age in seconds.

        ``trauma_ticks`` is how many ticks the evidence stands for: 0 without any, as silence is not trauma, and above 1
        where calls are rarer than ticks, so that scars count time and not calls.
        """
        k = self.constants
        if not dt >= MIN_DT:
            dt = MIN_DT
        if self.mode_index == BOOTSTRAP:
            self.ticks += 1
            self._set_pressure(latency, error, saturation)
            if self.ticks >= k.bootstrap_ticks:
                self.mode_index = OPERATIONAL
                self._scar(dt, trauma_ticks)
                self.resistance = self._resistance(stale)
            return
        self.momentum = self._momentum(latency, error, saturation, dt)
        self._set_pressure(latency, error, saturation)
        self._scar(dt, trauma_ticks)
        self.resistance = self._resistance(stale)
        if self.adaptive is not None and not (k.directed and self._distressed()):
            self.adaptive.observe(self.resistance)
        self._transition()

    def _distressed(self) -> bool:
        """Whether the adaptive break point must skip this tick, so that it does not learn an incident as normal."""
        return (
            self.mode_index == CIRCUIT_BREAKER
            or positive_norm(self.latency, self.error, self.saturation) > 0.0
        )

    def warm(self, scar_tissue: float) -> None:
        """Start with ``scar_tissue`` ohms from an earlier life, capped. A warm start needs no BOOTSTRAP."""
        if self.mode_index == BOOTSTRAP:
            self.mode_index = OPERATIONAL
        self.scar_tissue = min(scar_tissue, self.constants.scar_cap, MAX_RESISTANCE)
        self.resistance = self._resistance(0.0)

    def wound(self, ohms: float) -> None:
        """Add ``ohms`` of scar tissue, up to the cap. What is known of the route ends its BOOTSTRAP."""
        if self.mode_index == BOOTSTRAP:
            self.mode_index = OPERATIONAL
        before = self.scar_tissue
        self.scar_tissue = max(min(before + ohms, self.constants.scar_cap), before)
        self.resistance = min(self.resistance + self.scar_tissue - before, MAX_RESISTANCE)

    def heal(self, successes: int) -> None:
        """Reduce scar tissue by ``successes``, which show that the dependency works, and not by time alone."""
        if successes > 0 and self.scar_tissue > 0.0:
            before = self.scar_tissue
            self.scar_tissue *= math.exp(-self.constants.decay_rate * HEALING * successes)
            self.resistance = max(self.resistance - before + self.scar_tissue, self.constants.base)
            if self.mode_index == CIRCUIT_BREAKER:
                self._transition()

    def _set_pressure(self, latency: float, error: float, saturation: float) -> None:
        self.latency = latency
        self.error = error
        self.saturation = saturation

    def _momentum(self, latency: float, error: float, saturation: float, dt: float) -> float:
        if not self.constants.directed:
            return momentum((latency, error, saturation), (self.latency, self.error, self.saturation), dt)
        # Only deterioration counts, of the smoothed pressure: noise is no movement, and relief is no danger.
        share = 1.0 - math.exp(-dt / 0.3)
        d_latency = share * (latency - self._smooth_latency)
        d_error = share * (error - self._smooth_error)
        d_saturation = share * (saturation - self._smooth_saturation)
        self._smooth_latency += d_latency
        self._smooth_error += d_error
        self._smooth_saturation += d_saturation
        worsening = latency * d_latency + error * d_error + saturation * d_saturation
        pressing = positive_norm(latency, error, saturation) > 0.0
        return norm(d_latency, d_error, d_saturation) / dt if worsening > 0.0 and pressing else 0.0

    def _scar(self, dt: float, trauma_ticks: float) -> None:
        k = self.constants
        self.scar_tissue *= math.exp(-k.decay_rate * dt)
        if trauma_ticks > 0.0 and positive_norm(self.latency, self.error, self.saturation) > k.critical:
            self.scar_tissue += k.scar_factor * trauma_ticks
        if self.scar_tissue > k.scar_cap:
            self.scar_tissue = k.scar_cap

    def _resistance(self, stale: float) -> float:
        k = self.constants
        kinetic = min(k.damping * self.momentum, k.momentum_cap)
        return resistance(
            k.base,
            self.driving(),
            kinetic,
            self.scar_tissue,
            staleness(stale, k.staleness_rate, k.staleness_cap),
        )

    def driving(self) -> float:
        """``P·W`` in ohms; of the positive parts when directed, so that relief cannot mask distress."""
        k = self.constants
        weights = (k.weight_latency, k.weight_error, k.weight_saturation)
        if k.directed:
            return drive(weights, (max(self.latency, 0.0), max(self.error, 0.0), max(self.saturation, 0.0)))
        return drive(weights, (self.latency, self.error, self.saturation))

    def _transition(self) -> None:
        k = self.constants
        if self.mode_index == OPERATIONAL:
            if self.resistance >= self.break_point():
                self.mode_index = CIRCUIT_BREAKER
            return
        healed = self.scar_tissue < k.scar_factor
        calm = positive_norm(self.latency, self.error, self.saturation) < k.critical
        recovery = 0.5 * k.break_point if self.adaptive is None else self.adaptive.recovery_point()
        if (healed and calm) or self.resistance < recovery:
            self.mode_index = OPERATIONAL
