"""What the calls of one route cost, for routes whose calls differ: tokens, rows, seconds.

A pool counts calls. A call of known cost counts there as its cost over the route's usual cost, its ``unit``: a prompt
of 32,000 tokens counts as many short ones. So everything that is learned about calls holds for calls of usual cost,
and the calls of several routes of one pool add up, whatever units their costs are in.

The usual cost is the mean cost of the work, ``E[c²] / E[c]``, in which each call counts by its cost. So measured, loads
vary by the square root of their mean, as the number of equal calls does, and n busy slots are n calls in flight,
whatever the mix.
"""

from __future__ import annotations

from typing import Final, final

from atrion._native import mypyc_attr
from atrion.physics.config import check_number

__all__ = ["Costs", "check_cost"]

SMALLEST: Final = 1e-9
"""Least cost of a call."""
LARGEST: Final = 1e15
"""Largest cost of a call."""
MOST: Final = 4.0
"""Largest unit, in mean costs: where costs vary more, they may say little about the work."""
MEMORY: Final = 500.0
"""Calls over which costs are averaged: a mix with few costly calls needs many."""


def check_cost(cost: float) -> float:
    """The cost as a float.

    Raises:
        ConfigurationError: it is not a number from 1e-9 to 1e15.
    """
    check_number("cost", cost, SMALLEST, LARGEST)
    return float(cost)


@mypyc_attr(acyclic=True)
@final
class Costs:
    """Costs of the calls in flight, and the usual cost, in a unit of the caller's choice.

    Attributes:
        unit: The usual cost, which counts as one call; 0 before the first.
        calls: Calls in flight whose cost is known.
        in_flight: What they cost.
        surplus: What they count as beyond one each; negative if they cost less than the unit.
    """

    __slots__ = (
        "_estimates",
        "_mean",
        "_reals",
        "_reported",
        "_seen",
        "_square",
        "_told",
        "calls",
        "in_flight",
        "surplus",
        "unit",
    )

    def __init__(self) -> None:
        self.unit: float = 0.0
        self.calls: int = 0
        self.in_flight: float = 0.0
        self.surplus: float = 0.0
        self._square: float = 0.0
        self._mean: float = 0.0
        self._seen: float = 0.0
        self._told: float = 0.0
        self._reported: float = 0.0
        self._estimates: float = 0.0
        self._reals: float = 0.0

    def forget(self) -> None:
        """Let the next calls replace the usual cost; what is in flight stays counted."""
        self._seen = self._reported = 0.0

    def drop(self) -> None:
        """Count nothing as in flight."""
        self.calls = 0
        self.in_flight = self.surplus = 0.0

    def begin(self, cost: float) -> float:
        """Count a call as begun; returns the change of ``surplus``."""
        self._seen = min(self._seen + 1.0, MEMORY)
        share = 1.0 / self._seen
        self._mean = max(self._mean + share * (cost - self._mean), SMALLEST)
        self._square = max(self._square + share * (cost * cost - self._square), SMALLEST * SMALLEST)
        self.unit = min(self._square / self._mean, MOST * self._mean)
        self.calls += 1
        self.in_flight += cost
        return self._weigh()

    def comparable(self, estimate: float, real: float) -> float:
        """The estimate of which the ``real`` cost of a call is the usual outcome; learns how far estimates are off."""
        self._reported = min(self._reported + 1.0, MEMORY)
        share = 1.0 / self._reported
        self._estimates += share * (estimate - self._estimates)
        self._reals += share * (real - self._reals)
        return min(max(real * self._estimates / self._reals, SMALLEST), LARGEST)

    def change(self, before: float, cost: float) -> float:
        """Count a call in flight as of another ``cost`` than ``before``; returns the change of ``surplus``."""
        self.in_flight += cost - before
        return self._weigh()

    def shrunk(self) -> float:
        """What the calls before count as now, over what they counted as at the last time: the unit may have grown."""
        share = self._told / self.unit if self._told > 0.0 else 1.0
        self._told = self.unit
        return share

    def weight(self, cost: float) -> float:
        """How many calls one of ``cost`` counts as."""
        return cost / self.unit

    def end(self, cost: float) -> float:
        """Count a call as ended; returns the change of ``surplus``."""
        self.calls -= 1
        self.in_flight -= cost
        if self.calls == 0:
            self.in_flight = 0.0  # without the rounding errors of the sum
        return self._weigh()

    def _weigh(self) -> float:
        before = self.surplus
        self.surplus = self.in_flight / self.unit - self.calls
        return self.surplus - before
