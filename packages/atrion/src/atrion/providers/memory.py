"""The default provider: this process's memory, which several engines can share."""

from __future__ import annotations

import logging
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from threading import Lock

from atrion._platform import at_fork
from atrion.errors import ConfigurationError
from atrion.state.port import ClusterScar, Finding, NodeRow, PhysicsVector, Remembered
from atrion.state.rows import (
    Followers,
    Rows,
    live_nodes,
    most_scarred,
    newest,
    others,
    put,
    put_vector,
    recalled,
)

__all__ = ["InMemoryProvider"]

logger: logging.Logger = logging.getLogger("atrion")


class InMemoryProvider:
    """Vectors and node rows in bounded dictionaries; the least recently used are evicted first (RFC-0007 §6).

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
        self._rows: OrderedDict[str, Rows] = OrderedDict()
        self._changed: dict[str, int] = {}  # by route the version of its last change, the latest last
        self._version = 0
        self._followers: Followers[str] = Followers(lambda route: route)
        self._subscribers: dict[str, list[Callable[[PhysicsVector], None]]] = {}
        self._listeners: dict[Callable[[str, ClusterScar], None], str] = {}
        _providers.add(self)

    async def connect(self) -> None:
        """Nothing to open; the next exchange returns everything."""
        with self._lock:
            self._followers.clear()

    async def disconnect(self) -> None:
        """Nothing to release: the state stays for other engines of this provider."""

    async def get_vector(self, route_id: str) -> PhysicsVector | None:
        """The vector of a route, or None."""
        with self._lock:
            rows = self._rows.get(route_id)
            if rows is None:
                return None
            self._rows.move_to_end(route_id)
            return newest(rows)

    async def update_vector(self, route_id: str, vector: PhysicsVector) -> None:
        """Store the vector and notify the route's subscribers."""
        with self._lock:
            put_vector(self._rows_of(route_id), vector, self._clock())
            self._trim()
            callbacks = list(self._subscribers.get(route_id, ()))
        for callback in callbacks:
            try:
                callback(vector)
            except Exception:
                logger.exception("a subscriber of %r failed; the others go on", route_id)

    def _rows_of(self, route_id: str) -> Rows:
        rows = self._rows.setdefault(route_id, {})
        self._rows.move_to_end(route_id)
        return rows

    def _trim(self) -> None:
        while len(self._rows) > self.max_routes:
            route_id, _ = self._rows.popitem(last=False)
            self._changed.pop(route_id, None)

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
        """Store this node's ``rows``; return the other nodes' mean for each of ``routes`` that has changed."""
        now = self._clock()
        with self._lock:
            changed = self._followers.to_send(node, routes, self._version, self._changed_since)
            believed = {
                route: others(self._rows[route], node, now) for route in changed if route in self._rows
            }
            jumped = [route for route, row in rows.items() if self._put(node, route, row, now)]
            self._followers.mark_sent(node, routes, self._version)
            self._trim()
            news = [
                (callback, route, others(self._rows[route], name, now))
                for route in jumped
                for callback, name in self._listeners.items()
                if name != node and route in self._rows
            ]
        for callback, route, answer in news:
            try:
                callback(route, answer)
            except Exception:
                logger.exception("a listener failed at the news of %r; the others go on", route)
        return believed

    def _put(self, node: str, route: str, row: NodeRow, now: float) -> bool:
        """Store a row; returns whether its scar jumped."""
        self._version += 1
        self._changed.pop(route, None)
        self._changed[route] = self._version
        return put(self._rows_of(route), node, row, now)

    def _changed_since(self, version: int) -> Iterator[str]:
        for route, changed in reversed(self._changed.items()):
            if changed <= version:
                return
            yield route

    def listen(self, node: str, callback: Callable[[str, ClusterScar], None]) -> Callable[[], None]:
        """Call ``callback`` when another node's scar jumps, until the returned function is called."""
        with self._lock:
            self._listeners[callback] = node

        def end() -> None:
            with self._lock:
                self._listeners.pop(callback, None)

        return end

    async def recall(self, node: str, limit: int) -> Mapping[str, Remembered]:
        """Vectors of the ``limit`` routes with most scar: this node's own, else of the node with most evidence."""
        now = self._clock()
        with self._lock:
            found = {route: recalled(rows, node, now) for route, rows in self._rows.items()}
        return most_scarred(found, limit)

    async def list_routes(self, limit: int) -> list[str]:
        """At most ``limit`` of the stored routes."""
        with self._lock:
            return list(self._rows)[:limit]

    async def list_nodes(self) -> list[str]:
        """The nodes with a recent update."""
        with self._lock:
            return live_nodes(self._rows.values(), self._clock())

    async def diagnose(self) -> list[Finding]:
        """A finding about how full the memory is."""
        kept, most = len(self._rows), self.max_routes
        detail = f"{kept} of at most {most} routes, shared by the engines of this process that are given this provider"
        return [Finding("memory", "good", detail)]


_providers: weakref.WeakSet[InMemoryProvider] = weakref.WeakSet()


def _free_locks() -> None:
    # A thread that does not exist in the child may have held one.
    for provider in list(_providers):
        provider._lock = Lock()


at_fork(_free_locks)
