"""The modes of a route and the only transitions between them (RFC-0001, RFC-0003)."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Mode", "mode_of"]


class Mode(IntEnum):
    """BOOTSTRAP → OPERATIONAL ⇄ CIRCUIT_BREAKER; BOOTSTRAP is never re-entered."""

    BOOTSTRAP = 0
    OPERATIONAL = 1
    CIRCUIT_BREAKER = 2


_MODES = (Mode.BOOTSTRAP, Mode.OPERATIONAL, Mode.CIRCUIT_BREAKER)


def mode_of(index: int) -> Mode:
    """The mode of an index. Hot code uses the index, which compiles to a machine integer."""
    return _MODES[index]
