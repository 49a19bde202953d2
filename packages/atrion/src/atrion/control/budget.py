"""Budgets of leases: limits of seconds, memory or anything that is counted, and what was used of them. Compiled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, final

from atrion._native import mypyc_attr
from atrion.errors import ConfigurationError
from atrion.physics.config import check_number

__all__ = ["MEMBERS", "SECONDS", "Budget", "limits_from"]

SECONDS: Final = "seconds"
"""The resource that is measured here, and not reported by the holder."""
MEMBERS: Final = "members"
"""The resource that a swarm counts."""
LEVELS: Final = ("memory",)
"""Resources that are given back at the end; all others are consumed."""
STEPS: Final = 8.0
"""Steps in which the strain follows the seconds between the soft and the hard budget."""
MOST: Final = 16
"""Most resources of one budget."""


def limits_from(budget: Mapping[str, Any] | None, field: str = "budget") -> dict[str, float]:
    """The limits of a budget by resource, as floats above 0.

    Raises:
        ConfigurationError: it is no mapping of names to numbers above 0, or has more than 16 resources.
    """
    given: Any = {} if budget is None else budget
    if not isinstance(given, Mapping) or len(given) > MOST:
        raise ConfigurationError(field, given, f"give a mapping of at most {MOST} resources to their limits")
    limits: dict[str, float] = {}
    for name, limit in given.items():
        if not isinstance(name, str) or not name:
            raise ConfigurationError(field, name, "give resources by name")
        check_number(f"{field}[{name!r}]", limit, 0.0, above=True)
        limits[name] = float(limit)
    return limits


@mypyc_attr(acyclic=True)
@final
class Budget:
    """Limits and use of one lease or swarm. Time in seconds; a clock that is set back loses no time already seen.

    Attributes:
        limits: Hard limits by resource.
        used: What was used so far, by resource; seconds are not among them.
        soft: Share of a limit, in (0, 1], from which the strain rises.
    """

    __slots__ = ("_elapsed", "_last", "limits", "soft", "used")

    def __init__(self, limits: dict[str, float], soft: float, now: float) -> None:
        self.limits: dict[str, float] = limits
        self.used: dict[str, float] = {}
        self.soft: float = soft
        self._elapsed: float = 0.0
        self._last: float = now

    def elapsed(self, now: float) -> float:
        """Seconds since the beginning."""
        passed = now - self._last
        if passed != 0.0:
            self._last = now
            if passed > 0.0:
                self._elapsed += passed
        return self._elapsed

    def set(self, name: str, value: float) -> float:
        """What was used of a resource is ``value`` now; returns the change."""
        change = value - self.used.get(name, 0.0)
        self.used[name] = value
        return change

    def add(self, name: str, change: float) -> None:
        """Add to what was used of a resource."""
        self.used[name] = max(self.used.get(name, 0.0) + change, 0.0)

    def give_back(self, others: dict[str, float]) -> None:
        """Take back what another budget, a part of this one, still has of resources that are not consumed."""
        for name in LEVELS:
            if name in others:
                self.add(name, -others[name])

    def of(self, name: str, now: float) -> float:
        """What was used of a resource, or the seconds since the beginning."""
        return self.elapsed(now) if name == SECONDS else self.used.get(name, 0.0)

    def worst(self, now: float) -> str:
        """The resource of which the largest share was used; empty without limits."""
        found = ""
        most = -1.0
        for name, limit in self.limits.items():
            share = self.of(name, now) / limit
            if share > most:
                most = share
                found = name
        return found

    def load(self, now: float) -> float:
        """The largest share that was used of a resource; 0 without limits."""
        name = self.worst(now)
        return self.of(name, now) / self.limits[name] if name else 0.0

    def strain(self, now: float) -> float:
        """0 up to the soft budget, 1 from the hard one on, and linear between them."""
        load = self.load(now)
        if load >= 1.0:
            return 1.0
        return max((load - self.soft) / (1.0 - self.soft), 0.0) if load > self.soft else 0.0

    def wait(self, now: float) -> float:
        """Seconds until the seconds used may change the strain; ∞ if they never do."""
        limit = self.limits.get(SECONDS, 0.0)
        if limit <= 0.0:
            return math.inf
        elapsed = self.elapsed(now)
        if elapsed < self.soft * limit:
            return self.soft * limit - elapsed
        left = limit - elapsed
        return max(min((1.0 - self.soft) * limit / STEPS, left), 0.0) if left > 0.0 else math.inf
