"""The default provider: this process's memory, which several engines may share as a hub."""

from __future__ import annotations

import logging
import math
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping
from threading import Lock

from atrion._platform import at_fork
from atrion.errors import ConfigurationError
from atrion.state.blending import EXPIRY, JUMP, cluster_scar
from atrion.state.port import ClusterScar, Finding, NodeRow, PhysicsVector, Remembered

__all__ = ["InMemoryProvider"]

logger: logging.Logger = logging.getLogger("atrion")


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
        self._vectors: OrderedDict[str, tuple[PhysicsVector, float]] = OrderedDict()
        self._rows: OrderedDict[str, dict[str, tuple[NodeRow, float]]] = OrderedDict()
        self._subscribers: dict[str, list[Callable[[PhysicsVector], None]]] = {}
        self._listeners: dict[Callable[[str, ClusterScar], None], str] = {}
        _providers.add(self)

    async def connect(self) -> None:
        """Nothing to open."""

    async def disconnect(self) -> None:
        """Nothing to release: an engine that leaves a hub must not take the others' state with it."""

    async def get_vector(self, route_id: str) -> PhysicsVector | None:
        """The vector of a route, or None."""
        with self._lock:
            kept = self._vectors.get(route_id)
            if kept is None:
                return None
            self._vectors.move_to_end(route_id)
            return kept[0]

    async def update_vector(self, route_id: str, vector: PhysicsVector) -> None:
        """Keep the vector and tell the route's subscribers."""
        with self._lock:
            self._keep(route_id, vector)
            callbacks = list(self._subscribers.get(route_id, ()))
        for callback in callbacks:
            try:
                callback(vector)
            except Exception:
                logger.exception("a subscriber of %r failed; the others go on", route_id)

    def _keep(self, route_id: str, vector: PhysicsVector) -> None:
        self._vectors[route_id] = (vector, self._clock())
        self._vectors.move_to_end(route_id)
        if len(self._vectors) > self.max_routes:
            self._vectors.popitem(last=False)

    def subscribe(self, route_id: str, callback: Callable[[PhysicsVector], None]) -> Callable[[], None]:
        """Call ``callback`` with every later vector of the route, until the returned function is called."""
        with self._lock:
            self._subscribers.setdefault(route_id, []).append(callback)

        def unsubscribe() -> None:
            with self._lock:
                callbacks = self._subscribers.get(route_id, [])
                if callback in callbacks:
                    callbacks.remove(callback)
                if not callbacks:
                    self._subscribers.pop(route_id, None)

        return unsubscribe

    async def exchange(
        self, node: str, rows: Mapping[str, NodeRow], routes: list[str]
    ) -> Mapping[str, ClusterScar]:
        """Keep this node's ``rows``; return what the other nodes believe of ``routes``, all of them."""
        now = self._clock()
        with self._lock:
            urgent = [route for route, row in rows.items() if self._put(node, route, row, now)]
            while len(self._rows) > self.max_routes:
                self._rows.popitem(last=False)
            believed = {route: self._others(node, route, now) for route in routes if route in self._rows}
            news = [
                (callback, route, self._others(name, route, now))
                for route in urgent
                for callback, name in self._listeners.items()
                if name != node
            ]
        for callback, route, answer in news:
            try:
                callback(route, answer)
            except Exception:
                logger.exception("a listener failed at the news of %r; the others go on", route)
        return believed

    def _put(self, node: str, route: str, row: NodeRow, now: float) -> bool:
        """Keep a row; says whether its scar jumped."""
        kept = self._rows.setdefault(route, {})
        self._rows.move_to_end(route)
        before = 0.0
        if node in kept:
            old, at = kept[node]
            before = old.vector.scar_tissue * math.exp(-old.decay_rate * max(now - at, 0.0))
        kept[node] = (row, now)
        for name in [name for name, (_, at) in kept.items() if now - at > EXPIRY]:
            del kept[name]
        self._keep(route, row.vector)
        return row.vector.scar_tissue - before > JUMP

    def _others(self, node: str, route: str, now: float) -> ClusterScar:
        rows = self._rows.get(route, {})
        return cluster_scar((row, now - at) for name, (row, at) in rows.items() if name != node)

    def listen(self, node: str, callback: Callable[[str, ClusterScar], None]) -> Callable[[], None]:
        """Call ``callback`` when another node's scar jumps, until the returned function is called."""
        with self._lock:
            self._listeners[callback] = node

        def end() -> None:
            with self._lock:
                self._listeners.pop(callback, None)

        return end

    async def recall(self, node: str, limit: int) -> Mapping[str, Remembered]:
        """This node's rows, else the last vector of anybody; the most scarred ``limit`` routes."""
        now = self._clock()
        with self._lock:
            found = {
                route: Remembered(vector, max(now - at, 0.0)) for route, (vector, at) in self._vectors.items()
            }
            for route, rows in self._rows.items():
                if node in rows:
                    row, at = rows[node]
                    found[route] = Remembered(row.vector, max(now - at, 0.0))
        most = sorted(found, key=lambda route: -found[route].vector.scar_tissue)[:limit]
        return {route: found[route] for route in most}

    async def list_routes(self, limit: int) -> list[str]:
        """At most ``limit`` of the routes that are kept."""
        with self._lock:
            return list(self._vectors)[:limit]

    async def list_nodes(self) -> list[str]:
        """The nodes that have rows."""
        now = self._clock()
        with self._lock:
            return sorted(
                {name for rows in self._rows.values() for name, (_, at) in rows.items() if now - at <= EXPIRY}
            )

    async def diagnose(self) -> list[Finding]:
        """How full the memory is."""
        kept, most = len(self._vectors), self.max_routes
        detail = f"{kept} of at most {most} routes, shared by the engines of this process that are given this provider"
        return [Finding("memory", "good", detail)]


_providers: weakref.WeakSet[InMemoryProvider] = weakref.WeakSet()


def _free_locks() -> None:
    # A thread that did not survive the fork may have held one.
    for provider in list(_providers):
        provider._lock = Lock()


at_fork(_free_locks)
