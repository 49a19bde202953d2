"""Outcomes of calls, and telemetry samples that callers give."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final, SupportsFloat, final

from atrion.errors import ConfigurationError

__all__ = ["Outcome", "Telemetry"]


class Outcome(IntEnum):
    """How a call ended.

    SUCCESS and FAILURE count for and against the dependency; IGNORED, such as a client's fault, does not count. DROPPED
    calls were abandoned before their answer, so that their age is a lower bound of the latency.
    """

    SUCCESS = 0
    FAILURE = 1
    IGNORED = 2
    DROPPED = 3


MOST_ERRORS: Final = 1.001
"""Highest error rate, with a margin for rounding."""


@final
class Telemetry:
    """One sample of a route. A component left out is unknown, and changes nothing.

    Args:
        latency: Seconds until the answer, ≥ 0; ∞ is the worst.
        error_rate: Share of calls that fail, in [0, 1].
        saturation: Share of capacity in use, ≥ 0; 1 is full.

    Values that are NaN, negative or not numbers, which measurements may yield, are dropped and counted when the sample
    reaches a route, and raise nothing.

    Raises:
        ConfigurationError: an error rate above 1, such as a percentage or a count of errors.
    """

    __slots__ = ("_error_rate", "_latency", "_saturation")

    # Typed loosely, so that the compiled build lets unusable values pass to where they are counted.
    def __init__(
        self,
        latency: SupportsFloat | None = None,
        error_rate: SupportsFloat | None = None,
        saturation: SupportsFloat | None = None,
    ) -> None:
        if isinstance(error_rate, (int, float)) and error_rate > MOST_ERRORS:
            raise ConfigurationError(
                "Telemetry.error_rate", error_rate, "give a share from 0 to 1, not percent"
            )
        self._latency: Any = latency
        self._error_rate: Any = error_rate
        self._saturation: Any = saturation

    @property
    def latency(self) -> Any:
        """Seconds."""
        return self._latency

    @property
    def error_rate(self) -> Any:
        """Share of failing calls."""
        return self._error_rate

    @property
    def saturation(self) -> Any:
        """Share of capacity in use."""
        return self._saturation

    def as_dict(self) -> dict[str, Any]:
        """The fields as given; None for one left out."""
        return {
            "latency": self._latency,
            "error_rate": self._error_rate,
            "saturation": self._saturation,
        }

    def __reduce__(self) -> tuple[Any, ...]:
        return Telemetry, (self._latency, self._error_rate, self._saturation)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Telemetry) and self.as_dict() == other.as_dict()

    def __hash__(self) -> int:
        return hash((self._latency, self._error_rate, self._saturation))

    def __repr__(self) -> str:
        return f"Telemetry(latency={self._latency}, error_rate={self._error_rate}, saturation={self._saturation})"
