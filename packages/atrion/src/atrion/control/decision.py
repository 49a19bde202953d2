"""The answer to "may this request flow?"."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, final

from atrion._native import mypyc_attr
from atrion.physics.modes import Mode, mode_of

__all__ = ["Decision", "Reason"]


class Reason(StrEnum):
    """Why a request flowed, or what adds most to the resistance that shed it; the mode tells of an open breaker.

    A standing queue (``SATURATED``, ``PROCESS_SATURATED``), worthless answers (``FAILING``, ``LATE``) or none
    (``STALLED``), seen here or by other nodes (``CLUSTER``). A scar keeps the name of what made it; ``RESISTANCE`` is
    one that was restored, or too low a voltage.
    """

    FLOWS = "flows"
    PROBE = "probe"
    SATURATED = "saturated"
    PROCESS_SATURATED = "process_saturated"
    FAILING = "failing"
    LATE = "late"
    STALLED = "stalled"
    CLUSTER = "cluster"
    RESISTANCE = "resistance"


@mypyc_attr(acyclic=True)
@final
class Decision:
    """One admission decision.

    ``resistance`` in ohms, ``voltage`` in volts, ``retry_after`` in seconds (0 when allowed): when the
    route is expected to let a like request through, from the decay law.
    """

    __slots__ = ("allowed", "mode_index", "reason", "resistance", "retry_after", "route", "voltage")

    def __init__(
        self,
        allowed: bool,
        route: str,
        resistance: float,
        voltage: float,
        mode_index: int,
        reason: Reason,
        retry_after: float,
    ) -> None:
        self.allowed: Final[bool] = allowed
        self.route: Final[str] = route
        self.resistance: Final[float] = resistance
        self.voltage: Final[float] = voltage
        self.mode_index: Final[int] = mode_index
        self.reason: Final[Reason] = reason
        self.retry_after: Final[float] = retry_after

    @property
    def mode(self) -> Mode:
        """The mode the route was in."""
        return mode_of(self.mode_index)

    def __bool__(self) -> bool:
        return self.allowed

    def __str__(self) -> str:
        verb = "flows" if self.allowed else "shed"
        text = f"{self.route}: {verb} ({self.reason}), {self.resistance:.1f} Ω against {self.voltage:.1f} V"
        return text if self.allowed else f"{text}, retry after {self.retry_after:.1f} s"

    def __repr__(self) -> str:
        return f"<Decision {self}>"
