"""Where a Studio's data comes from: an engine of this process, or anything else that can be read."""

from __future__ import annotations

import math
from typing import Any, Protocol

from atrion import Atrion
from atrion.vitals import route_vitals

__all__ = ["EngineSource", "Row", "Source", "licence_of", "stores_of"]

Row = dict[str, Any]
"""One route, as :func:`atrion.vitals.route_vitals` describes it."""


class Source(Protocol):
    """What a Studio watches. It is read in a thread of the Studio's own."""

    @property
    def title(self) -> str:
        """What is watched, in a few words."""

    @property
    def engine(self) -> Atrion | None:
        """The engine, where it is in this process and may be changed."""

    def attach(self) -> None:
        """Somebody begins to look."""

    def detach(self) -> None:
        """Nobody looks any more."""

    async def read(self) -> tuple[dict[str, Row], dict[str, Any]]:
        """The routes by their ids, and what there is to say of the cluster.

        A row that is the same object as in the reading before has not changed, but for what the reader added to it.
        """
        ...

    async def close(self) -> None:
        """Let go of what reading opened."""


def licence_of(*providers: object) -> dict[str, Any]:
    """What the first of the providers that needs a licence says of it, or one that is read-only; of others, nothing."""
    told: list[dict[str, Any]] = []
    for provider in providers:
        status = getattr(provider, "license_status", None)
        if status is None:
            continue
        try:
            found = status()
            state, detail, read_only = found.state.value, found.sentence, bool(found.read_only)
        except Exception:  # anybody may write a provider
            continue
        told.append({"state": state, "detail": detail, "read_only": read_only})
    told.sort(key=lambda licence: not licence["read_only"])
    return {"licence": told[0]} if told else {}


def stores_of(engine: Atrion) -> list[object]:
    """The provider of an engine, and its persistence if there is one."""
    state = engine.state
    return [state.provider, *([] if state.persistence is None else [state.persistence.provider])]


class EngineSource:
    """An engine of this process."""

    def __init__(self, engine: Atrion) -> None:
        self.engine: Atrion = engine
        self.title: str = f"node {engine.node}"
        self._rows: dict[str, tuple[tuple[Any, ...], Row]] = {}

    def attach(self) -> None:
        """Let the engine count decisions by tier from now on."""
        self.engine.count()

    def detach(self) -> None:
        """Counts that have begun go on: others may read them too."""

    async def read(self) -> tuple[dict[str, Row], dict[str, Any]]:
        """Every route, and what the state manager knows of the store."""
        engine = self.engine
        before, self._rows = self._rows, {}
        for route_id, seen in engine.snapshot().items():
            route = engine.routes.get(route_id)
            if route is None:  # evicted meanwhile
                continue
            pool = route.pool
            # The limit in steps of 2%: it drifts also while the routes of a pool rest.
            limit = round(35.0 * math.log2(1.0 + pool.capacity.limit))
            key = (seen, route.settings, pool.load(), limit)
            known = before.get(route_id)
            if known is None or known[0] != key:
                known = key, route_vitals(route, seen)
            self._rows[route_id] = known
        rows = {route_id: row for route_id, (_, row) in self._rows.items()}
        state = engine.state
        cluster = {
            "node": engine.node,
            "provider": type(state.provider).__name__,
            "healthy": state.healthy,
            "failures": state.failures,
            "dropped_rows": state.dropped_rows,
            **licence_of(*stores_of(engine)),
            "nodes": [{"node": engine.node, "age": 0.0, "routes": len(rows)}],
        }
        return rows, cluster

    async def close(self) -> None:
        """Nothing was opened."""
