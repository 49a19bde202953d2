"""How the latency of calls grows with the calls that they meet."""

from __future__ import annotations

from typing import final

from atrion._native import mypyc_attr

__all__ = ["Trend"]


@mypyc_attr(acyclic=True)
@final
class Trend:
    """The ``growth`` of latency, relative, over that of the calls met, in the last whole block of calls.

    It is 1 where calls only wait for each other and 0 where each has a worker of its own. A block is of one time: a
    service which becomes slower, and is met by more calls for it, is no growth.
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
        """Take a call, by the logarithms of what it met and of its latency; ``block`` is how many make one."""
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
