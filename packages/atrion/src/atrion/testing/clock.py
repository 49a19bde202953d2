"""A clock that is advanced by hand."""

from __future__ import annotations

__all__ = ["VirtualClock"]


class VirtualClock:
    """A :class:`~atrion.state.Clock`, in seconds, that moves only by :meth:`advance`."""

    def __init__(self, start: float = 1000.0) -> None:
        self.now: float = start

    def monotonic(self) -> float:
        """The virtual time."""
        return self.now

    def wall(self) -> float:
        """The virtual time, since 1970."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Move the clock forward, or back by a negative number."""
        self.now += seconds
