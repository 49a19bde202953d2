"""Telemetry given by callers, collected until the next tick."""

from __future__ import annotations

from typing import Any, final

from atrion._native import mypyc_attr
from atrion.sensing.telemetry import Telemetry

__all__ = ["Samples"]


def _number(value: Any) -> float:
    """``value`` as a float, or −1 if it is not a number, NaN or negative."""
    if isinstance(value, float):
        number = value
    else:
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            return -1.0
    return number if number >= 0.0 else -1.0


@mypyc_attr(acyclic=True)
@final
class Samples:
    """Sums and counts of each component, and of values ``rejected``; latency in seconds, the others as shares.

    ``usual`` is the latency in calm, averaged by the reader of the samples; 0 before the first one.
    """

    __slots__ = (
        "_error",
        "_latency",
        "_saturation",
        "errors",
        "latencies",
        "rejected",
        "saturations",
        "usual",
    )

    def __init__(self) -> None:
        self.usual: float = 0.0
        self._latency: float = 0.0
        self._error: float = 0.0
        self._saturation: float = 0.0
        self.latencies: int = 0
        self.errors: int = 0
        self.saturations: int = 0
        self.rejected: int = 0

    def add(self, telemetry: Telemetry) -> None:
        """Add one sample."""
        if telemetry.latency is not None:
            latency = _number(telemetry.latency)
            if latency >= 0.0:
                self._latency += latency
                self.latencies += 1
            else:
                self.rejected += 1
        if telemetry.error_rate is not None:
            error = _number(telemetry.error_rate)
            if error >= 0.0:
                self._error += min(error, 1.0)
                self.errors += 1
            else:
                self.rejected += 1
        if telemetry.saturation is not None:
            saturation = _number(telemetry.saturation)
            if saturation >= 0.0:
                self._saturation += saturation
                self.saturations += 1
            else:
                self.rejected += 1

    def count(self) -> int:
        """Samples since the last tick."""
        return max(self.latencies, self.errors, self.saturations)

    def latency(self) -> float:
        """Mean latency in seconds; only if ``latencies`` > 0."""
        return self._latency / self.latencies

    def error_rate(self) -> float:
        """Mean error rate; only if ``errors`` > 0."""
        return self._error / self.errors

    def saturation(self) -> float:
        """Mean saturation; only if ``saturations`` > 0."""
        return self._saturation / self.saturations

    def clear(self) -> None:
        """Begin the next tick."""
        self._latency = self._error = self._saturation = 0.0
        self.latencies = self.errors = self.saturations = 0

    def forget(self) -> None:
        """Begin anew, without the usual latency; rejected values stay counted."""
        self.clear()
        self.usual = 0.0
