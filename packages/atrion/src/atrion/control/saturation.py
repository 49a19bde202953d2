"""The ohms that the calls in flight add to resistance: a PI controller of the overload.

The proportional part follows the law of pressure, ``w·tanh(k·x)``, on the overload ratio x, bent so that it is flat
where random arrivals make x vary and steep elsewhere. In a lasting overload, the integral holds resistance at the
voltage where arrivals and capacity meet: the same callers pass, the queue stays at its limit, and a caller far above
that voltage is never shed by chance.
"""

from __future__ import annotations

import math
from typing import Final, final

from atrion._native import mypyc_attr
from atrion.physics.state import Constants
from atrion.sensing.capacity import Capacity

__all__ = ["Saturation"]

INTEGRAL_TIME: Final = 2.0
"""Least seconds in which the integral takes over the proportional part."""
SERVICES: Final = 4.0
"""The same in service times, for slow calls: a change must be measured before the next one."""
GENTLE: Final = 0.02
"""Slope of the bent overload ratio at 0."""
STEEP: Final = 1.0
"""Growth with the cube of a positive overload ratio: a sudden crowd meets resistance at once."""
IDLE: Final = 8.0
"""The same for a negative one: no worker should be idle, so resistance falls fast."""


@mypyc_attr(acyclic=True)
@final
class Saturation:
    """The controller of one pool. ``weight`` in ohms and ``steepness`` are those of the pressure law."""

    __slots__ = ("integral",)

    def __init__(self) -> None:
        self.integral: float = 0.0

    @staticmethod
    def _proportional(overload: float, weight: float, steepness: float) -> float:
        bent = overload * (GENTLE + (STEEP if overload > 0.0 else IDLE) * overload * overload)
        return weight * math.tanh(steepness * bent)

    def ohms(self, overload: float, weight: float, steepness: float) -> float:
        """Ohms for ``overload`` (see :meth:`~atrion.sensing.Capacity.overload_ratio`), ≥ 0."""
        if self.integral == 0.0 and overload <= 0.0:
            return 0.0
        return max(self.integral + self._proportional(overload, weight, steepness), 0.0)

    def follow(self, capacity: Capacity, in_flight: float, constants: Constants, dt: float) -> None:
        """Integrate for ``dt`` seconds with so many calls ``in_flight``, unless a dip of the limit reduces them."""
        if not capacity.holding:
            overload = capacity.overload_ratio(in_flight)
            self.integrate(overload, constants.weight_saturation, constants.steepness, dt, capacity.pace())

    def integrate(self, overload: float, weight: float, steepness: float, dt: float, service: float) -> None:
        """Integrate for ``dt`` seconds; one ``service`` takes so many seconds. The integral stays in [0, weight]."""
        step = (1.0 - math.exp(-dt / max(INTEGRAL_TIME, SERVICES * service))) * self._proportional(
            overload, weight, steepness
        )
        self.integral = min(max(self.integral + step, 0.0), weight)
