"""The stability map of RFC-0003: which λ, μ and σ are stable, oscillate, lock up or are irregular.

Every setting of a 20 × 20 × 20 grid governs the same simulated service (:mod:`atrion_lab.plant`) for 1,000 ticks
of 0.1 s, under the same noise: calm, four times the capacity for 30 s, calm, an outage of 10 s, calm. Three
indices judge it:

* **swing**: reversals of R per second that exceed 12 Ω (one tier's band) in the last 20 s of the overload, after
  it had 10 s to settle, and the standard deviation of R there.
* **stuck**: the share of calm ticks spent in CIRCUIT_BREAKER, from 5 s after the overload and after the outage.
* **growth**: how the Lyapunov candidate ``L = ‖P‖² + αS²`` (α = 1/R_base²) moves under constant load: the natural
  logarithm of its mean in the last 10 s of the overload over its mean in the 10 s before.

The classes follow from them, the first that holds: *deadlock* (stuck above one half), *stable* (fewer than one
reversal in two seconds), *oscillating* (it swings, and L repeats: growth within ± log 1.25), *chaotic* (it swings
and L drifts: it neither rests nor repeats).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from atrion.errors import ConfigurationError
from atrion.physics import SLO, PhysicsConfig
from atrion_lab.arrays import CIRCUIT_BREAKER, PhysicsArrays, Recording, difference_from_engine
from atrion_lab.plant import TICK, Plant
from atrion_lab.region import Region, largest_box

__all__ = ["CLASSES", "PRESETS", "SWEPT", "StabilityMap", "stability_map"]

Floats = NDArray[np.float64]

CLASSES: Final = ("stable", "oscillating", "deadlock", "chaotic")
STABLE, OSCILLATING, DEADLOCK, CHAOTIC = range(4)

SWEPT: Final = {"decay_rate": (0.005, 5.0), "damping": (0.005, 5.0), "scar_factor": (1.0, 100.0)}
"""Ranges of λ (per second), μ (ohm-seconds) and σ (ohms); the grid is geometric in each."""
PRESETS: Final[dict[str, Callable[[], PhysicsConfig]]] = {
    "shipped": PhysicsConfig,
    "reference": PhysicsConfig.reference,
}

TICKS: Final = 1000
CALM: Final = 0.5
OVERLOAD: Final = 4.0
"""Offered load over capacity."""
NOISE: Final = 0.1
"""Standard deviation of the logarithm of each tick's load."""
OVERLOADED: Final = range(100, 400)
SETTLED: Final = range(200, 400)
LATER: Final = range(300, 400)
OUTAGE: Final = range(600, 700)
GRACE: Final = 50
"""Ticks after trouble before calm counts."""
QUIET: Final = frozenset(range(400 + GRACE, 600)) | frozenset(range(700 + GRACE, TICKS))
DEAD_BAND: Final = 12.0
"""Ohms that R must turn by for a reversal."""
REVERSALS: Final = 0.5
"""Reversals per second from which on R swings."""
DRIFT: Final = float(np.log(1.25))

GOODPUT: Final = 0.9
WASTE: Final = 0.05
RETURN: Final = 5.0
"""A setting is recommended when it is stable, serves GOODPUT of capacity in the overload, sends at most WASTE of the
calls of an outage into it after its first second, and serves 99% again within RETURN seconds of its end."""


@final
@dataclass(frozen=True)
class StabilityMap:
    """A map; every array is λ × μ × σ.

    Attributes:
        preset: What holds the constants that were not swept.
        axes: The values of ``decay_rate``, ``damping`` and ``scar_factor``.
        classes: Indices into :data:`CLASSES`.
        swing: Standard deviation of R in the settled overload, ohms.
        reversals: Per second.
        stuck: Share of calm ticks in CIRCUIT_BREAKER.
        growth: Of the Lyapunov candidate, a logarithm.
        goodput: In the overload, over capacity.
        waste: Share of an outage's calls sent into it after its first second.
        comeback: Seconds from its end until 99% flows again; 30 when it never did.
        region: The largest box of recommended settings, or None.
        engine_difference: Largest relative difference from the engine's own trajectory over 27 settings.
    """

    preset: str
    axes: dict[str, Floats]
    classes: NDArray[np.int8]
    swing: Floats
    reversals: Floats
    stuck: Floats
    growth: Floats
    goodput: Floats
    waste: Floats
    comeback: Floats
    region: Region | None
    engine_difference: float

    def shares(self) -> dict[str, float]:
        """The share of settings in each class."""
        return {name: float((self.classes == i).mean()) for i, name in enumerate(CLASSES)}

    def nearest(self, config: PhysicsConfig) -> tuple[int, int, int]:
        """The grid's setting next to a configuration's λ, μ and σ, on the logarithmic scale."""
        i, j, k = (
            int(np.abs(np.log(axis) - np.log(max(getattr(config, name), 1e-12))).argmin())
            for name, axis in self.axes.items()
        )
        return i, j, k

    def to_dict(self) -> dict[str, Any]:
        """The map as JSON takes it; the arrays are nested lists, λ × μ × σ."""
        plain: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            plain[field.name] = np.round(value, 4).tolist() if isinstance(value, np.ndarray) else value
        plain["axes"] = {name: axis.tolist() for name, axis in self.axes.items()}
        plain["class_names"] = list(CLASSES)
        plain["shares"] = self.shares()
        plain["region"] = None if self.region is None else self.region.to_dict()
        return plain


class _Reversals:
    """Counts the turns of R that exceed the dead band, for every element."""

    def __init__(self, count: int) -> None:
        self._extreme = np.full(count, np.nan)
        self._rising = np.zeros(count, dtype=bool)
        self.count: Floats = np.zeros(count)

    def see(self, resistance: Floats) -> None:
        """The next R, ohms."""
        if np.isnan(self._extreme[0]):
            self._extreme = resistance.copy()
            return
        beyond = np.where(self._rising, resistance > self._extreme, resistance < self._extreme)
        turned = ~beyond & (np.abs(resistance - self._extreme) >= DEAD_BAND)
        self.count += turned
        self._rising ^= turned
        self._extreme = np.where(beyond | turned, resistance, self._extreme)


class _Indices:
    """What a run is judged by, gathered tick by tick so that memory stays small."""

    def __init__(self, count: int, alpha: float) -> None:
        self._alpha = alpha
        self.turns = _Reversals(count)
        self.sum, self.squares, self.early, self.late, self.stuck, self.good, self.waste = np.zeros(
            (7, count)
        )
        self.comeback: Floats = np.full(count, (TICKS - OUTAGE.stop) * TICK)

    def see(self, tick: int, laws: PhysicsArrays, plant: Plant) -> None:
        """Take a tick."""
        if tick in SETTLED:
            resistance = plant.resistance()
            self.turns.see(resistance)
            self.sum += resistance
            self.squares += np.square(resistance)
            candidate = np.square(laws.pressure).sum(axis=0) + self._alpha * np.square(laws.scar_tissue)
            half = self.late if tick in LATER else self.early
            half += candidate
        if tick in QUIET:
            self.stuck += laws.mode == CIRCUIT_BREAKER
        if tick in OVERLOADED:
            self.good += plant.good
        if tick in OUTAGE and tick >= OUTAGE.start + 10:
            self.waste += plant.admitted
        if tick >= OUTAGE.stop:
            back = (plant.admitted >= 0.99) & (self.comeback > (tick - OUTAGE.stop) * TICK)
            self.comeback = np.where(back, (tick - OUTAGE.stop) * TICK, self.comeback)

    def swing(self) -> Floats:
        """Standard deviation of R."""
        n = len(SETTLED)
        variance: Floats = self.squares / n - np.square(self.sum / n)
        return np.sqrt(np.maximum(variance, 0.0))


def _classify(reversals: Floats, stuck: Floats, growth: Floats) -> NDArray[np.int8]:
    swinging = reversals >= REVERSALS
    drifting = np.abs(growth) > DRIFT
    moving = np.where(drifting, CHAOTIC, OSCILLATING)
    return np.where(stuck > 0.5, DEADLOCK, np.where(swinging, moving, STABLE)).astype(np.int8)


def stability_map(
    preset: str = "shipped",
    *,
    seed: int = 1,
    size: int = 20,
    progress: Callable[[float], None] | None = None,
) -> StabilityMap:
    """Compute the map.

    Args:
        preset: ``shipped`` or ``reference``: the constants that are not swept.
        seed: Of the load's noise.
        size: Settings along each axis, 3 to 40.
        progress: Told the share that is done, in [0, 1].

    Raises:
        ConfigurationError: an unknown preset or an unusable size.
    """
    if preset not in PRESETS:
        raise ConfigurationError("preset", preset, f"use one of {', '.join(PRESETS)}")
    if not 3 <= size <= 40:
        raise ConfigurationError("size", size, "give 3 to 40")
    config = PRESETS[preset]()
    weights = SLO().weights(config.gain)
    axes = {name: np.geomspace(low, high, size) for name, (low, high) in SWEPT.items()}
    grid = [mesh.ravel() for mesh in np.meshgrid(*axes.values(), indexing="ij")]
    laws = PhysicsArrays(config, weights, *grid)
    plant = Plant(laws, config, weights[2])
    indices = _Indices(size**3, config.base_resistance**-2.0)
    corners = np.array([0, size // 2, size - 1])
    sampled = np.ravel_multi_index(np.meshgrid(corners, corners, corners), (size, size, size)).ravel()
    recording = Recording(laws, sampled)
    noise = np.exp(NOISE * np.random.default_rng(seed).standard_normal(TICKS)).tolist()
    for tick in range(TICKS):
        load = OVERLOAD if tick in OVERLOADED else CALM
        recording.take(plant.advance(load * noise[tick], tick in OUTAGE))
        indices.see(tick, laws, plant)
        if progress is not None and tick % 50 == 49:
            progress((tick + 1) / TICKS)
    difference = max(
        difference_from_engine(
            config, weights, {name: float(grid[j][i]) for j, name in enumerate(axes)}, rows, TICK
        )
        for i, rows in zip(sampled, recording.rows(), strict=True)
    )
    return _judge(preset, axes, indices, difference)


def _judge(preset: str, axes: dict[str, Floats], seen: _Indices, difference: float) -> StabilityMap:
    shape = tuple(len(axis) for axis in axes.values())
    reversals = seen.turns.count / (len(SETTLED) * TICK)
    stuck = seen.stuck / len(QUIET)
    growth = np.log(np.maximum(seen.late, 1e-9) / np.maximum(seen.early, 1e-9))
    classes = _classify(reversals, stuck, growth)
    goodput = seen.good / len(OVERLOADED)
    waste = seen.waste / (len(OUTAGE) - 10)
    recommended = (
        (classes == STABLE) & (goodput >= GOODPUT) & (waste <= WASTE) & (seen.comeback <= RETURN)
    ).reshape(shape)
    return StabilityMap(
        preset=preset,
        axes=axes,
        classes=classes.reshape(shape),
        swing=seen.swing().reshape(shape),
        reversals=reversals.reshape(shape),
        stuck=stuck.reshape(shape),
        growth=growth.reshape(shape),
        goodput=goodput.reshape(shape),
        waste=waste.reshape(shape),
        comeback=seen.comeback.reshape(shape),
        region=largest_box(recommended, axes),
        engine_difference=difference,
    )
