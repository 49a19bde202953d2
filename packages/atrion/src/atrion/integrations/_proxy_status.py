"""``Proxy-Status`` (RFC 9209): how a service says that it refuses requests because something further on is broken."""

from __future__ import annotations

from typing import Final

from atrion.control.decision import Decision
from atrion.physics.modes import Mode

__all__ = ["is_broken", "proxy_status"]

ERROR: Final = "error=destination_unavailable"


def proxy_status(decision: Decision) -> list[tuple[str, str]]:
    """The header for a request that an open breaker sheds; none where it is overload."""
    return [("proxy-status", f"atrion; {ERROR}")] if decision.mode is Mode.CIRCUIT_BREAKER else []


def is_broken(header: str | None) -> bool:
    """Whether the header says that something further on does not answer."""
    return header is not None and ERROR in header.replace(" ", "")
