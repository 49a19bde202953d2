"""What a route is told about itself: by its own measured calls, or by callers who bring their own."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, SupportsFloat, final

__all__ = ["Outcome", "Telemetry"]


class Outcome(IntEnum):
    """How a call ended.

    SUCCESS and FAILURE speak of the dependency; IGNORED (a client's fault) does not; DROPPED calls were
    abandoned before their answer, so their age is a lower bound of the latency.
    """

    SUCCESS = 0
    FAILURE = 1
    IGNORED = 2
    DROPPED = 3


@final
class Telemetry:
    """One sample of a route. A component left out is unknown, which is neutral and not good.

    Args:
        latency: Seconds an answer takes, ≥ 0; ∞ is the worst there is.
        error_rate: Share of calls that fail, in [0, 1].
        saturation: Share of capacity in use, ≥ 0; 1 is full.

    What is no number, NaN or negative is dropped and counted when the sample reaches a route; nothing is raised.
    """

    __slots__ = ("error_rate", "latency", "saturation")

    # Typed as what has a float in it, so that the compiled build lets rubbish pass to where it is counted.
    def __init__(
        self,
        latency: SupportsFloat | None = None,
        error_rate: SupportsFloat | None = None,
        saturation: SupportsFloat | None = None,
    ) -> None:
        self.latency: Any = latency
        self.error_rate: Any = error_rate
        self.saturation: Any = saturation

    def __repr__(self) -> str:
        return (
            f"Telemetry(latency={self.latency}, error_rate={self.error_rate}, saturation={self.saturation})"
        )
