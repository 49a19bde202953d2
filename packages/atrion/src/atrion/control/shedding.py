"""A period in which a route sheds requests, from the first one until none has been shed for a while. Compiled."""

from __future__ import annotations

from typing import Final, final

from atrion._native import mypyc_attr
from atrion.physics.voltage import Tier, level_at

__all__ = ["Shedding"]

QUIET: Final = 10.0
"""Seconds without a shed request after which the period is over."""


@mypyc_attr(acyclic=True)
@final
class Shedding:
    """Counts the requests shed since ``now``, when ``admitted`` calls had been admitted. Times in seconds."""

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
        """Count a shed request of ``volts``."""
        self.shed += 1
        self.last = now
        self._levels |= 1 << level_at(volts)

    def is_over(self, now: float) -> bool:
        """Whether no request was shed for a while."""
        return not 0.0 <= now - self.last < QUIET

    def tiers(self) -> list[str]:
        """Names of the tiers of the shed requests, the lowest first."""
        return [tier.name.lower() for tier in Tier if self._levels >> int(tier) & 1]

    def share(self, admitted: int) -> float:
        """Share of the requests that was shed; ``admitted`` calls have been admitted by now."""
        return self.shed / (self.shed + max(admitted - self._admitted, 0))
