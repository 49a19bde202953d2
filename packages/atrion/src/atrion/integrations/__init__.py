"""Integrations with frameworks and clients; import each module by its name."""

from __future__ import annotations

__all__: list[str] = []
