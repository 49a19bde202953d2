"""The laws over NumPy arrays: many parameter sets are stepped together.

This is the one second statement of the laws in the package. :func:`difference_from_engine` holds it to
:class:`~atrion.physics.PhysicsState`, tick by tick; the stability map calls it at every run and a test does too,
which also holds the saturation to the engine's.
"""

from __future__ import annotations

from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from atrion.control.saturation import GENTLE, IDLE, INTEGRAL_TIME, STEEP
from atrion.physics import MAX_RESISTANCE, Constants, PhysicsConfig, PhysicsState
from atrion.physics.laws import NOISE

__all__ = ["PhysicsArrays", "Recording", "SaturationArrays", "difference_from_engine", "normalized"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int8]

BOOTSTRAP, OPERATIONAL, CIRCUIT_BREAKER = 0, 1, 2
SMOOTHING = 0.3
"""Seconds over which directed momentum smooths pressure, as in the engine."""


def normalized(raw: Floats, baseline: float, steepness: float) -> Floats:
    """``tanh(k·(x − baseline)/baseline)`` for a finite ``raw`` and a baseline > 0 of the same unit."""
    return np.tanh(steepness * (raw - baseline) / baseline)


@final
class PhysicsArrays:
    """One :class:`~atrion.physics.PhysicsState` for each element of the swept constants.

    Args:
        config: Every constant that is not swept; its adaptive break point is not used.
        weights: Of latency, error and saturation, ohms.
        decay_rate: λ, per second, of each element.
        damping: μ, ohm-seconds, of each element.
        scar_factor: σ, ohms, of each element.
    """

    def __init__(
        self,
        config: PhysicsConfig,
        weights: tuple[float, float, float],
        decay_rate: Floats,
        damping: Floats,
        scar_factor: Floats,
    ) -> None:
        self._k = Constants(config, weights)
        self._weights = np.array(weights)[:, np.newaxis]
        self._decay_rate = decay_rate
        self._damping = damping
        self._scar_factor = scar_factor
        self._smooth = np.zeros((3, len(decay_rate)))
        self._ticks = 0
        self.pressure: Floats = np.zeros((3, len(decay_rate)))
        self.momentum: Floats = np.zeros(len(decay_rate))
        self.scar_tissue: Floats = np.zeros(len(decay_rate))
        self.resistance: Floats = np.full(len(decay_rate), 1.2 * self._k.base)
        self.mode: Ints = np.zeros(len(decay_rate), dtype=np.int8)

    def advance(self, pressure: Floats, dt: float) -> None:
        """One tick of ``dt`` > 0 seconds; ``pressure`` holds latency, error and saturation, each in [−1, 1]."""
        if self._ticks < self._k.bootstrap_ticks:
            self._ticks += 1
            self.pressure = pressure
            if self._ticks >= self._k.bootstrap_ticks:
                self.mode[:] = OPERATIONAL
                self._scar(dt)
                self._resist()
            return
        self._move(pressure, dt)
        self.pressure = pressure
        self._scar(dt)
        self._resist()
        self._transit()

    def _move(self, pressure: Floats, dt: float) -> None:
        if not self._k.directed:
            change = np.sqrt(np.square(pressure - self.pressure).sum(axis=0))
            self.momentum = np.where(change >= NOISE, change / dt, 0.0)
            return
        step = (1.0 - np.exp(-dt / SMOOTHING)) * (pressure - self._smooth)
        self._smooth += step
        worsening = (pressure * step).sum(axis=0) > 0.0
        pressing = pressure.max(axis=0) > 0.0
        speed = np.sqrt(np.square(step).sum(axis=0)) / dt
        self.momentum = np.where(worsening & pressing, speed, 0.0)

    def positive_norm(self) -> Floats:
        """‖P⁺‖ of each element."""
        length: Floats = np.sqrt(np.square(np.maximum(self.pressure, 0.0)).sum(axis=0))
        return length

    def _scar(self, dt: float) -> None:
        trauma = self.positive_norm() > self._k.critical
        left = self.scar_tissue * np.exp(-self._decay_rate * dt)
        self.scar_tissue = np.minimum(left + np.where(trauma, self._scar_factor, 0.0), self._k.scar_cap)

    def _resist(self) -> None:
        felt = np.maximum(self.pressure, 0.0) if self._k.directed else self.pressure
        driving = (self._weights * felt).sum(axis=0)
        kinetic = np.minimum(self._damping * self.momentum, self._k.momentum_cap)
        total = self._k.base + driving + kinetic + self.scar_tissue
        self.resistance = np.clip(total, self._k.base, max(self._k.base, MAX_RESISTANCE))

    def _transit(self) -> None:
        healed = self.scar_tissue < self._scar_factor
        calm = self.positive_norm() < self._k.critical
        recovers = (healed & calm) | (self.resistance < 0.5 * self._k.break_point)
        breaks = self.resistance >= self._k.break_point
        broken = np.where(self.mode == CIRCUIT_BREAKER, ~recovers, breaks)
        self.mode = np.where(broken, CIRCUIT_BREAKER, OPERATIONAL).astype(np.int8)


@final
class SaturationArrays:
    """One :class:`~atrion.control.saturation.Saturation` for each element, all of the same weight and steepness."""

    def __init__(self, count: int, weight: float, steepness: float) -> None:
        self._weight = weight
        self._steepness = steepness
        self.integral: Floats = np.zeros(count)

    def _proportional(self, overload: Floats) -> Floats:
        bent = overload * (GENTLE + np.where(overload > 0.0, STEEP, IDLE) * np.square(overload))
        swing: Floats = self._weight * np.tanh(self._steepness * bent)
        return swing

    def ohms(self, overload: Floats) -> Floats:
        """Ohms at decision time."""
        total = np.maximum(self.integral + self._proportional(overload), 0.0)
        return np.where((self.integral == 0.0) & (overload <= 0.0), 0.0, total)

    def integrate(self, overload: Floats, dt: float) -> None:
        """Let the level follow for ``dt`` seconds."""
        step = (1.0 - np.exp(-dt / INTEGRAL_TIME)) * self._proportional(overload)
        self.integral = np.clip(self.integral + step, 0.0, self._weight)


@final
class Recording:
    """What some elements felt and became, tick by tick: three pressures, R, scar tissue and mode."""

    def __init__(self, laws: PhysicsArrays, elements: NDArray[np.intp]) -> None:
        self._laws = laws
        self._elements = elements
        self._ticks: list[Floats] = []

    def take(self, pressure: Floats) -> None:
        """Take the tick that ``pressure`` has just caused."""
        laws, chosen = self._laws, self._elements
        state = (laws.resistance[chosen], laws.scar_tissue[chosen], laws.mode[chosen].astype(np.float64))
        self._ticks.append(np.vstack((pressure[:, chosen], *state)))

    def rows(self) -> Floats:
        """Elements × ticks × 6."""
        rows: Floats = np.array(self._ticks).transpose(2, 0, 1)
        return rows


def difference_from_engine(
    config: PhysicsConfig,
    weights: tuple[float, float, float],
    swept: dict[str, float],
    rows: Floats,
    dt: float,
) -> float:
    """Largest relative difference in R or scar between a recorded element and the engine; ∞ if modes differ.

    Args:
        config: The constants that are not swept.
        weights: Of latency, error and saturation, ohms.
        swept: ``decay_rate``, ``damping`` and ``scar_factor`` of the element.
        rows: The element's :meth:`Recording.rows`.
        dt: Seconds of a tick.
    """
    changed: dict[str, Any] = {name: getattr(config, name) for name in config.__dataclass_fields__}
    changed.update(swept, adaptive=None)
    state = PhysicsState(Constants(PhysicsConfig(**changed), weights))
    worst = 0.0
    for latency, error, saturation, resistance, scar_tissue, mode in rows.tolist():
        state.advance(latency, error, saturation, dt)
        if state.mode_index != mode:
            return float("inf")
        worst = max(
            worst,
            abs(resistance - state.resistance) / max(state.resistance, 1.0),
            abs(scar_tissue - state.scar_tissue) / max(state.scar_tissue, 1.0),
        )
    return worst
