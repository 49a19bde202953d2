"""The leases of one route: how many are held, what they usually take, and the ohms of their budgets. Compiled."""

from __future__ import annotations

from typing import Final, final

from atrion._native import mypyc_attr

__all__ = ["Held"]

FULL: Final = 40.0
"""Ohms while every lease of a route is at its hard budget: low tiers are shed, and half of the normal one."""
MEMORY: Final = 16.0
"""Ended leases over which their usual duration is averaged."""


@mypyc_attr(acyclic=True)
@final
class Held:
    """Counts of a route's leases. They take the place of calls in the route's pool up to half of its capacity.

    Attributes:
        held: Leases held now.
        places: Those of them that take a call's place in the pool.
        begun: Leases begun so far.
        strain: Sum of the strains of the held leases, each in [0, 1].
        usual: Mean duration of ended leases in seconds; 0 until one has ended.
        overruns: Leases that ended beyond a budget.
        stopped: Leases that were asked to stop, or cancelled.
        expired: Leases that have expired.
    """

    __slots__ = ("begun", "expired", "held", "overruns", "places", "stopped", "strain", "usual")

    def __init__(self) -> None:
        self.held: int = 0
        self.places: int = 0
        self.begun: int = 0
        self.strain: float = 0.0
        self.usual: float = 0.0
        self.overruns: int = 0
        self.stopped: int = 0
        self.expired: int = 0

    def ohms(self) -> float:
        """Ohms that the leases near the end of their budgets add to the route's resistance."""
        if self.held <= 0 or self.strain <= 0.0:
            return 0.0
        return FULL * min(self.strain / self.held, 1.0)

    def learn(self, seconds: float) -> None:
        """A lease was completed after so many seconds."""
        share = 1.0 / MEMORY if self.usual > 0.0 else 1.0
        self.usual += share * (seconds - self.usual)

    def forget(self) -> None:
        """The leases are those of another process; what has been counted stays."""
        self.held = self.places = 0
        self.strain = 0.0
