"""Shared and lasting state for Atrion."""

from __future__ import annotations

from atrion_cluster.redis import RedisClusterProvider

__all__ = ["RedisClusterProvider"]
