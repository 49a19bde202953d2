"""The clocks of an engine: those of the machine, or virtual ones in tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, runtime_checkable

__all__ = ["Clock", "SystemClock"]


@runtime_checkable
class Clock(Protocol):
    """Two readings: ``monotonic`` seconds for physics, ``wall`` seconds since 1970 for the hourly rotation."""

    def monotonic(self) -> float:
        """Seconds that never go back, from an arbitrary start."""
        ...

    def wall(self) -> float:
        """Seconds since 1970."""
        ...


class SystemClock:
    """The machine's clocks."""

    def __init__(self) -> None:
        # The functions themselves, so that the hot path pays for one call and not for two.
        self.monotonic: Callable[[], float] = time.monotonic
        self.wall: Callable[[], float] = time.time
