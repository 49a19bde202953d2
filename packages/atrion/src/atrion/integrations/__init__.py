"""Atrion inside other people's frameworks; each module is imported by its own name."""

from __future__ import annotations

__all__: list[str] = []
