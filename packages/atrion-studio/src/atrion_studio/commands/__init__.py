"""The commands ``atrion studio`` and ``atrion top``."""

from __future__ import annotations

__all__ = ["PORT"]

PORT = 8766
"""Where a Studio listens unless told otherwise; any free port where that one is taken."""
