"""A clock that stands still until it is told."""

from __future__ import annotations

__all__ = ["VirtualClock"]


class VirtualClock:
    """A :class:`~atrion.state.Clock` moved by hand; seconds."""

    def __init__(self, start: float = 1000.0) -> None:
        self.now: float = start

    def monotonic(self) -> float:
        """The virtual time."""
        return self.now

    def wall(self) -> float:
        """The virtual time, since 1970."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Move on; a negative number goes back."""
        self.now += seconds
