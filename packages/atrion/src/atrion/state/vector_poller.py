"""Reads other nodes' vectors from a provider of plain vectors, by subscription if it has one, else by polling.

Such a store does not tell who wrote a vector, nor when. A vector that differs from what this node wrote, and from what
was read before, is another node's change; an unchanged one is old, and decays by the scar law.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from atrion.state.port import ClusterScar, PhysicsVector
from atrion.state.store_client import StoreClient

__all__ = ["VectorPoller"]

ASKED = 64
"""Routes polled in one pulse, in turn, without a subscription."""
EVIDENCE = 1.0
"""Evidence of another node's vector: as much as one observation made just now."""


class VectorPoller:
    """Reads the vectors of routes through a store's client."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client
        self._subscribe: Callable[..., Any] | None = getattr(client.provider, "subscribe", None)
        self._routes: list[str] = []
        self._seen: dict[str, PhysicsVector] = {}
        self._changed: dict[str, object] = {}
        self._ends: dict[str, Callable[[], None]] = {}
        self._next = 0

    async def pull(
        self, routes: list[str], own: Mapping[str, PhysicsVector]
    ) -> Mapping[str, ClusterScar] | None:
        """The other nodes' vectors of ``routes``, given this node's ``own``; None if the store fails."""
        if routes is not self._routes:
            self._follow(routes)
        if self._subscribe is None and not await self._ask(routes):
            return None
        changed = dict(self._changed)
        self._changed.clear()
        opinions = {}
        for route, vector in changed.items():
            if not isinstance(vector, PhysicsVector) or not vector.is_sane():
                self._client.reject(vector)
            elif vector not in (own.get(route), self._seen.get(route)):
                self._seen[route] = vector
                opinions[route] = ClusterScar(vector.scar_tissue, EVIDENCE)
        return opinions

    def _follow(self, routes: list[str]) -> None:
        """Read only these routes from now on."""
        wanted = set(routes)
        for route in self._seen.keys() - wanted:
            del self._seen[route]
        for route in self._ends.keys() - wanted:
            self._client.attempt(self._ends.pop(route))
        if self._subscribe is not None:
            for route in wanted - self._ends.keys():
                callback = partial(self._changed.__setitem__, route)
                end = self._client.attempt(partial(self._subscribe, route, callback))
                if end is None:
                    return  # the next pulse tries again
                self._ends[route] = end
        self._routes = routes

    async def _ask(self, routes: list[str]) -> bool:
        start = self._next if self._next < len(routes) else 0
        chosen = routes[start : start + ASKED]
        self._next = start + len(chosen)
        calls = {route: partial(self._client.provider.get_vector, route) for route in chosen}
        return await self._client.ask_each(calls, self._take)

    def _take(self, route: str, vector: object) -> None:
        if vector is not None:
            self._changed[route] = vector

    def end(self) -> None:
        """End all subscriptions; the next :meth:`pull` starts anew."""
        for end in self._ends.values():
            self._client.attempt(end)
        self._ends.clear()
        self._routes = []
