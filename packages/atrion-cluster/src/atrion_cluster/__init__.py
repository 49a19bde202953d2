"""Shared and lasting state for Atrion."""

from __future__ import annotations

from atrion_cluster.postgres import PostgresPersistenceAdapter
from atrion_cluster.redis import RedisClusterProvider

__all__ = ["PostgresPersistenceAdapter", "RedisClusterProvider"]
