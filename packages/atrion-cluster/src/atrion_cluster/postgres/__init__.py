"""Persistence in PostgreSQL."""

from __future__ import annotations

from atrion_cluster.postgres.adapter import PostgresPersistenceAdapter

__all__ = ["PostgresPersistenceAdapter"]
