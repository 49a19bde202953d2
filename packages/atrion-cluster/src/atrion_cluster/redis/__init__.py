"""Scars shared over Redis or Valkey: one server, Sentinel, or Redis Cluster."""

from atrion_cluster.redis.provider import RedisClusterProvider

__all__ = ["RedisClusterProvider"]
