"""Shared and lasting state for Atrion."""

from __future__ import annotations

__all__: list[str] = []
