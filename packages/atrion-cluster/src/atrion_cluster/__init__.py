"""Redis and PostgreSQL providers for Atrion."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atrion_cluster.postgres import PostgresPersistenceAdapter
    from atrion_cluster.redis import RedisClusterProvider

__all__ = ["PostgresPersistenceAdapter", "RedisClusterProvider"]

_HOMES = {
    "PostgresPersistenceAdapter": "atrion_cluster.postgres",
    "RedisClusterProvider": "atrion_cluster.redis",
}


def __getattr__(name: str) -> Any:
    # Each driver takes a good part of a second to import, so only the one in use is imported.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
