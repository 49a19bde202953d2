"""The modes of a route and the only transitions between them (RFC-0001, RFC-0003)."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Mode"]


class Mode(IntEnum):
    """BOOTSTRAP → OPERATIONAL ⇄ CIRCUIT_BREAKER; BOOTSTRAP is never re-entered."""

    BOOTSTRAP = 0
    OPERATIONAL = 1
    CIRCUIT_BREAKER = 2
