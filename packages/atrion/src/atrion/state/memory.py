"""The default provider: this process's memory, which several engines may share as a hub."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from threading import Lock

from atrion.errors import ConfigurationError
from atrion.state.blending import EXPIRY, cluster_scar
from atrion.state.port import ClusterScar, NodeScar, PhysicsVector

logger: logging.Logger = logging.getLogger("atrion")

__all__ = ["InMemoryProvider"]


class InMemoryProvider:
    """Vectors and node rows in bounded dictionaries, least recently used out first (RFC-0007 §6).

    Args:
        max_routes: Most routes kept, ≥ 1.
        clock: Seconds that age the rows; the monotonic clock by default.

    Raises:
        ConfigurationError: ``max_routes`` is below 1.
    """

    def __init__(self, max_routes: int = 100_000, clock: Callable[[], float] = time.monotonic) -> None:
        if max_routes < 1:
            raise ConfigurationError("max_routes", max_routes, "give at least 1")
        self.max_routes = max_routes
        self._clock = clock
        self._lock = Lock()
        self._vectors: OrderedDict[str, PhysicsVector] = OrderedDict()
        self._rows: OrderedDict[str, dict[str, tuple[NodeScar, float]]] = OrderedDict()
        self._callbacks: dict[str, list[Callable[[PhysicsVector], None]]] = {}

    async def connect(self) -> None:
        """Nothing to open."""

    async def disconnect(self) -> None:
        """Nothing to release: an engine that leaves a hub must not take the others' state with it."""

    async def get_vector(self, route_id: str) -> PhysicsVector | None:
        """The vector of a route, or None."""
        with self._lock:
            vector = self._vectors.get(route_id)
            if vector is not None:
                self._vectors.move_to_end(route_id)
            return vector

    async def update_vector(self, route_id: str, vector: PhysicsVector) -> None:
        """Keep the vector and tell the route's subscribers."""
        with self._lock:
            self._vectors[route_id] = vector
            self._vectors.move_to_end(route_id)
            if len(self._vectors) > self.max_routes:
                self._vectors.popitem(last=False)
            callbacks = list(self._callbacks.get(route_id, ()))
        for callback in callbacks:
            try:
                callback(vector)
            except Exception:
                logger.exception("a subscriber of %r failed; the others go on", route_id)

    def subscribe(self, route_id: str, callback: Callable[[PhysicsVector], None]) -> Callable[[], None]:
        """Call ``callback`` with every later vector of the route, until the returned function is called."""
        with self._lock:
            self._callbacks.setdefault(route_id, []).append(callback)

        def unsubscribe() -> None:
            with self._lock:
                callbacks = self._callbacks.get(route_id, [])
                if callback in callbacks:
                    callbacks.remove(callback)
                if not callbacks:
                    self._callbacks.pop(route_id, None)

        return unsubscribe

    async def exchange(
        self, node: str, rows: Mapping[str, NodeScar], routes: list[str]
    ) -> Mapping[str, ClusterScar]:
        """Keep this node's ``rows``; return what the other nodes believe of ``routes``."""
        now = self._clock()
        with self._lock:
            for route, row in rows.items():
                kept = self._rows.setdefault(route, {})
                kept[node] = (row, now)
                self._rows.move_to_end(route)
                for name in [name for name, (_, at) in kept.items() if now - at > EXPIRY]:
                    del kept[name]
            while len(self._rows) > self.max_routes:
                self._rows.popitem(last=False)
            believed = {}
            for route in routes:
                others = self._rows.get(route)
                if others:
                    believed[route] = cluster_scar(
                        (row, now - at) for name, (row, at) in others.items() if name != node
                    )
            return believed
