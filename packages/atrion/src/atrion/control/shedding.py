"""A time in which a route sheds load, from the first request shed until none has been for a while. Compiled."""

from __future__ import annotations

from typing import Final, final

from atrion._native import mypyc_attr
from atrion.physics.voltage import Tier, level_at

__all__ = ["Shedding"]

QUIET: Final = 10.0
"""Seconds without a shed request after which it is over."""


@mypyc_attr(acyclic=True)
@final
class Shedding:
    """Counts what is shed since ``now``, when ``admitted`` calls had been let in. Times in seconds."""

    __slots__ = ("_admitted", "_levels", "began", "last", "reported", "shed")

    def __init__(self, now: float, admitted: int) -> None:
        self._admitted: int = admitted
        self._levels: int = 0
        self.began: float = now
        self.last: float = now
        self.shed: int = 0
        self.reported: bool = False
        """Whether its beginning has been reported."""

    def count(self, volts: float, now: float) -> None:
        """A request of ``volts`` is shed."""
        self.shed += 1
        self.last = now
        self._levels |= 1 << level_at(volts)

    def is_over(self, now: float) -> bool:
        """Whether none was shed for a while."""
        return not 0.0 <= now - self.last < QUIET

    def tiers(self) -> list[str]:
        """Names of the tiers of which requests were shed, the lowest first."""
        return [tier.name.lower() for tier in Tier if self._levels >> int(tier) & 1]

    def share(self, admitted: int) -> float:
        """Share of the requests that was shed, where ``admitted`` calls have been let in by now."""
        return self.shed / (self.shed + max(admitted - self._admitted, 0))
