"""A fluid model of one guarded service, over arrays: what the stability map's laws have to govern.

Sixteen workers of 50 ms, a deadline of half a second, five tiers in equal parts. Calls are a fluid: it flows in
as far as resistance lets it, and out as fast as the workers go; what waited past its deadline counts as failed
and has cost its work all the same.
"""

from __future__ import annotations

import math
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from atrion.physics import BAND_WIDTH, PhysicsConfig, Tier, band
from atrion.sensing.capacity import SLACK, SPREAD
from atrion_lab.arrays import CIRCUIT_BREAKER, PhysicsArrays, SaturationArrays, normalized

__all__ = ["CAPACITY", "TICK", "Plant", "admitted_share"]

Floats = NDArray[np.float64]

WORKERS: Final = 16.0
SERVICE: Final = 0.05
"""Seconds of work in a call."""
CAPACITY: Final = WORKERS / SERVICE
"""Calls per second."""
DEADLINE: Final = 0.5
"""Seconds after which a call has failed."""
TICK: Final = 0.1
"""Seconds between ticks of the law."""
STEPS: Final = 10
"""Steps of the fluid in a tick."""
LEAK: Final = 0.02
"""Share of refused calls that flow as probes."""
ERROR_RATE: Final = 0.6
"""Error rate at which error pressure is zero, as in :class:`~atrion.SLO`."""
LATENCY: Final = 8.0 * SERVICE
"""Seconds at which latency pressure is zero, as the engine learns it."""


def _above(ohms: float) -> float:
    """Share of calls whose voltage is above ``ohms``."""
    parts = (min(max((band(int(tier)) + BAND_WIDTH - ohms) / BAND_WIDTH, 0.0), 1.0) for tier in Tier)
    return sum(parts) / len(Tier)


EDGES: Final = sorted({band(int(tier)) + end for tier in Tier for end in (0.0, BAND_WIDTH)})
SHARES: Final = [_above(edge) for edge in EDGES]
"""The share at each edge of a band, in ohms; it is straight between them."""


def admitted_share(resistance: Floats) -> Floats:
    """Share of calls whose voltage is above ``resistance`` (ohms), the five tiers being equally many."""
    return np.interp(resistance, EDGES, SHARES)


@final
class Plant:
    """The service behind each element of ``laws``.

    Args:
        laws: What governs it; advanced once a tick.
        config: The constants the laws have. ``config.tick`` > 0 drives them as the engine does, with
            saturation at decision time; 0 feeds them bare, with saturation as a third pressure per tick.
        weight_saturation: Ohms of full saturation.
    """

    def __init__(self, laws: PhysicsArrays, config: PhysicsConfig, weight_saturation: float) -> None:
        self._laws = laws
        self._steepness = config.steepness
        self._as_engine = config.tick > 0.0
        self._saturation = SaturationArrays(len(laws.resistance), weight_saturation, config.steepness)
        self._limit = WORKERS + SLACK * math.sqrt(WORKERS)
        self._span = WORKERS + (SLACK + SPREAD) * math.sqrt(WORKERS)
        self._in_flight = np.zeros_like(laws.resistance)
        self.admitted: Floats = np.zeros_like(laws.resistance)
        self.good: Floats = np.zeros_like(laws.resistance)

    def advance(self, demand: float, failing: bool) -> Floats:
        """One tick; returns the pressures felt.

        ``demand`` is offered load over capacity; ``failing``: every call fails at once. Afterwards ``admitted``
        holds the share of calls let in, and ``good`` what succeeded in time over capacity.
        """
        step = TICK / STEPS
        broken = self._laws.mode == CIRCUIT_BREAKER
        admitted = np.zeros_like(self.admitted)
        done = np.zeros_like(self.admitted)
        for _ in range(STEPS):
            share = np.where(broken, 0.0, admitted_share(self.resistance()))
            share += (1.0 - share) * LEAK
            admitted += share
            if failing:
                continue
            inflow = share * (demand * CAPACITY * step)
            outflow = np.minimum(self._in_flight, WORKERS) * (step / SERVICE)
            self._in_flight += inflow - outflow
            done += outflow
        if failing:
            self._in_flight[:] = 0.0
        latency = SERVICE * np.maximum(self._in_flight / WORKERS, 1.0)
        late = np.clip((latency - 0.8 * DEADLINE) / (0.4 * DEADLINE), 0.0, 1.0)
        errors = np.ones_like(late) if failing else late
        self.admitted = admitted / STEPS
        self.good = (1.0 - errors) * done / (CAPACITY * TICK)
        pressure = self._pressure(latency, errors)
        self._laws.advance(pressure, TICK)
        self._saturation.integrate(self._overload(), TICK)
        return pressure

    def resistance(self) -> Floats:
        """What a call meets now, in ohms: the law's resistance and, in the engine, that of the calls in flight."""
        steady = self._laws.resistance
        return steady + self._saturation.ohms(self._overload()) if self._as_engine else steady

    def _overload(self) -> Floats:
        """As :meth:`atrion.sensing.Capacity.overload_ratio`, of a capacity that is known."""
        return (self._in_flight - self._limit) / self._span

    def _pressure(self, latency: Floats, errors: Floats) -> Floats:
        k = self._steepness
        if self._as_engine:
            # What the queue explains is saturation already, as in atrion.control.route.
            latency = latency * np.minimum(1.0, WORKERS / np.maximum(self._in_flight, 1.0))
            saturation = np.zeros_like(latency)
        else:
            saturation = normalized(self._in_flight / WORKERS, 1.0, k)
        return np.stack([normalized(latency, LATENCY, k), normalized(errors, ERROR_RATE, k), saturation])
