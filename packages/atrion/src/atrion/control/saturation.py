"""What the calls in flight add to resistance: a quick answer to what is far off, and a level that settles.

The live saturation pressure is a controller of its own. Its quick part follows the law of pressure,
``w·tanh(k·x)``, on the overload x of the calls in flight over the route's limit, bent so that it is gentle where random
arrivals make x wander and steep where they do not. Its level integrates the quick part, so that in a lasting
overload resistance stands still at the voltage where arrivals and capacity meet: the same callers flow, the queue
stays at its limit, and a caller far above that voltage is not shed by chance.
"""

from __future__ import annotations

import math
from typing import Final, final

from atrion._native import mypyc_attr
from atrion.physics.state import Constants
from atrion.sensing.capacity import Capacity

__all__ = ["Saturation"]

INTEGRAL_TIME: Final = 2.0
"""Least seconds in which the level takes over what the quick part answers."""
SERVICES: Final = 4.0
"""Service times in which it does where calls are slow: what was changed must be seen before it is changed again."""
GENTLE: Final = 0.02
"""Slope of the bent overload where there is none."""
STEEP: Final = 1.0
"""Growth with the cube of a positive overload: a flash crowd is met at once."""
IDLE: Final = 8.0
"""The same for a negative one: a worker without work is waste, so anybody may have it."""


@mypyc_attr(acyclic=True)
@final
class Saturation:
    """Saturation of one route. ``weight`` in ohms and ``steepness`` are those of the pressure law."""

    __slots__ = ("integral",)

    def __init__(self) -> None:
        self.integral: float = 0.0

    @staticmethod
    def _proportional(overload: float, weight: float, steepness: float) -> float:
        bent = overload * (GENTLE + (STEEP if overload > 0.0 else IDLE) * overload * overload)
        return weight * math.tanh(steepness * bent)

    def ohms(self, overload: float, weight: float, steepness: float) -> float:
        """Ohms for ``overload`` (see :meth:`~atrion.sensing.Capacity.overload`), ≥ 0."""
        if self.integral == 0.0 and overload <= 0.0:
            return 0.0
        return max(self.integral + self._proportional(overload, weight, steepness), 0.0)

    def follow(self, capacity: Capacity, in_flight: int, constants: Constants, dt: float) -> None:
        """Settle for ``dt`` seconds with so many calls ``in_flight``, unless a dip of the capacity makes them few."""
        if not capacity.holding:
            overload = capacity.overload_ratio(in_flight)
            self.integrate(overload, constants.weight_saturation, constants.steepness, dt, capacity.pace())

    def integrate(self, overload: float, weight: float, steepness: float, dt: float, service: float) -> None:
        """Let the level follow for ``dt`` seconds, at the pace of a ``service`` in seconds; it stays in [0, weight]."""
        step = (1.0 - math.exp(-dt / max(INTEGRAL_TIME, SERVICES * service))) * self._proportional(
            overload, weight, steepness
        )
        self.integral = min(max(self.integral + step, 0.0), weight)
