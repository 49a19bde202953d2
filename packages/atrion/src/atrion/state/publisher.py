"""Publishes to one store what has changed since the last time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

from atrion.state.active_routes import RouteView
from atrion.state.port import Batch, NodeRow, PhysicsVector
from atrion.state.published_state import PublishedState
from atrion.state.store_client import StoreClient

__all__ = ["Publisher"]

_NOTHING = PublishedState(0.0, 0.0, 0.0, 0.0)
_NEVER = PublishedState(0.0, 0.0, 0.0, -math.inf)


class Publisher:
    """The state of this node's routes as published to a store, and what has changed since."""

    def __init__(self, client: StoreClient) -> None:
        self.client = client
        self.vectors: dict[str, PhysicsVector] = {}
        """The vectors published last."""
        self._published: dict[str, PublishedState] = {}

    def forget(self) -> None:
        """Publish everything anew, because the store may have nothing."""
        self._published.clear()

    def keep_only(self, routes: list[str]) -> None:
        """Forget all routes but ``routes``."""
        known = set(routes)
        for gone in self.vectors.keys() - known:
            self.vectors.pop(gone, None)
            self._published.pop(gone, None)

    def is_published(self, view: RouteView) -> bool:
        """Whether the route differs from its published state by no more than decay."""
        return not view.needs_publish(self._published.get(view.id, _NOTHING))

    def changed(self, active: Mapping[str, RouteView]) -> dict[str, NodeRow]:
        """The rows of ``active`` routes that have to be published."""
        return {route: view.to_row() for route, view in active.items() if not self.is_published(view)}

    def mark_published(self, rows: Mapping[str, NodeRow], now: float) -> None:
        """Note that the store has ``rows``."""
        for route, row in rows.items():
            self._published[route] = PublishedState(row.vector.scar_tissue, row.evidence, row.decay_rate, now)
            self.vectors[route] = row.vector

    async def push(self, rows: Mapping[str, NodeRow], now: float) -> bool:
        """Write the vectors of ``rows``, in one round trip if the store can; returns whether all were written."""
        provider = self.client.provider
        if not rows:
            return True
        if isinstance(provider, Batch):
            vectors = {route: row.vector for route, row in rows.items()}
            worked, _ = await self.client.ask(lambda: provider.update_vectors(vectors))
            if worked:
                self.mark_published(rows, now)
            return worked
        longest_first = sorted(rows, key=lambda route: self._published.get(route, _NEVER).at)
        calls = {route: partial(provider.update_vector, route, rows[route].vector) for route in longest_first}
        return await self.client.ask_each(
            calls, lambda route, _: self.mark_published({route: rows[route]}, now)
        )
