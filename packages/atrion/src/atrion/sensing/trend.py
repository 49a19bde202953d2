"""How the latency of calls grows with the calls that they meet."""

from __future__ import annotations

from typing import final

from atrion._native import mypyc_attr

__all__ = ["Trend"]


@mypyc_attr(acyclic=True)
@final
class Trend:
    """The relative ``growth`` of latency over that of the calls met, in the last complete block of calls.

    It is 1 if calls only wait for each other, and 0 if each has a worker of its own. A block covers a short time, so
    that a service that becomes slower, and has more calls in flight because of it, does not count as growth.
    """

    __slots__ = ("_latency", "_met", "_n", "_product", "_square", "growth")

    def __init__(self) -> None:
        self.growth: float = 0.0
        self._clear()

    def _clear(self) -> None:
        self._n: float = 0.0
        self._met: float = 0.0
        self._latency: float = 0.0
        self._square: float = 0.0
        self._product: float = 0.0

    def add(self, log_met: float, log_latency: float, block: float) -> None:
        """Add a call, by the logarithms of the calls it met and of its latency; ``block`` calls make one block."""
        self._n += 1.0
        self._met += log_met
        self._latency += log_latency
        self._square += log_met * log_met
        self._product += log_met * log_latency
        if self._n >= block:
            variance = self._square - self._met * self._met / self._n
            covariance = self._product - self._met * self._latency / self._n
            self.growth = covariance / variance if variance > 1e-9 else 0.0
            self._clear()
