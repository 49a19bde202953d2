"""Hearing of others through a provider that has vectors only: by subscription where it can, else by asking.

Such a store does not say who wrote a vector, nor when. What differs from what this node wrote and from what was
seen before is another node's news; what stays the same is old, and fades by the scar law.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from atrion.state.port import PhysicsVector, StateProvider
from atrion.state.store_client import StoreClient

__all__ = ["VectorPoller"]

ASKED = 64
"""Routes asked for in one pulse, in turn, where there is no subscription."""
EVIDENCE = 1.0
"""What another's vector counts for: as much as one observation just made."""


class _Listener(Protocol):
    def hear(self, scar: float, evidence: float) -> None: ...


class VectorPoller:
    """Watches the vectors of routes."""

    def __init__(self, client: StoreClient, provider: StateProvider) -> None:
        self._client = client
        self._provider = provider
        self._subscribe: Callable[..., Any] | None = getattr(provider, "subscribe", None)
        self._seen: dict[str, PhysicsVector] = {}
        self._changed: dict[str, PhysicsVector] = {}
        self._ends: dict[str, Callable[[], None]] = {}
        self._next = 0

    async def pull(self, views: Mapping[str, _Listener], own: Mapping[str, PhysicsVector]) -> bool:
        """Hear what others wrote of ``views``; ``own`` is what this node wrote. Says whether the store answered."""
        for gone in [route for route in self._seen if route not in views]:
            del self._seen[gone]
        if self._subscribe is not None:
            self._follow(views, self._subscribe)
        elif not await self._ask(views):
            return False
        news = dict(self._changed)
        self._changed.clear()
        for route, vector in news.items():
            if route not in views or vector in (own.get(route), self._seen.get(route)):
                continue
            self._seen[route] = vector
            if vector.is_sane():
                views[route].hear(vector.scar_tissue, EVIDENCE)
            else:
                self._client.reject(vector)
        return True

    def _follow(self, views: Mapping[str, _Listener], subscribe: Callable[..., Any]) -> None:
        for route in [route for route in self._ends if route not in views]:
            self._client.attempt(self._ends.pop(route))
        for route in views:
            if route not in self._ends:
                end = self._client.attempt(
                    partial(subscribe, route, partial(self._changed.__setitem__, route))
                )
                if end is None:
                    return
                self._ends[route] = end

    async def _ask(self, views: Mapping[str, _Listener]) -> bool:
        routes = list(views)
        start = self._next % len(routes) if routes else 0
        chosen = (routes[start:] + routes[:start])[:ASKED]
        self._next = start + len(chosen)
        calls = {route: partial(self._provider.get_vector, route) for route in chosen}
        return await self._client.ask_each(calls, self._take)

    def _take(self, route: str, vector: object) -> None:
        if isinstance(vector, PhysicsVector):
            self._changed[route] = vector
        elif vector is not None:
            self._client.reject(vector)

    def end(self) -> None:
        """End every subscription."""
        for end in self._ends.values():
            self._client.attempt(end)
        self._ends.clear()
