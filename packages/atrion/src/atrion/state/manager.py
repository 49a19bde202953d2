"""StateManager (RFC-0007 §3.2): reads are local and take microseconds, the store is spoken to behind them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Protocol

from atrion.state.port import (
    Batch,
    ClusterScar,
    ClusterSync,
    NodeRow,
    PhysicsVector,
    Recall,
    Remembered,
    StateProvider,
)
from atrion.state.published_state import PublishedState
from atrion.state.store_client import StoreClient
from atrion.state.vector_poller import VectorPoller

__all__ = ["RouteView", "StateManager"]

PERSIST_SECONDS = 1.0
"""Least seconds between two writes to the persistence."""


class RouteView(Protocol):
    """What the manager needs of a route."""

    @property
    def id(self) -> str:
        """Route id."""
        ...

    def row(self) -> NodeRow:
        """What this node says of it."""
        ...

    def differs(self, sent: PublishedState, now: float) -> bool:
        """Whether this node has more to say than decay has made of what it said last."""
        ...

    def hear(self, scar: float, evidence: float) -> None:
        """Take what the cluster says of it."""
        ...


_NOTHING = PublishedState(0.0, 0.0, 0.0, 0.0)
_NEVER = PublishedState(0.0, 0.0, 0.0, -math.inf)


class StateManager:
    """One node's view of the store.

    Args:
        provider: The store that is shared.
        node: This node's name among those that share it.
        now: Monotonic seconds.
        persistence: A store that only keeps, beside the one that is shared.
        limit: Most routes remembered from before.
        deadline: Seconds one round trip may take.
    """

    def __init__(
        self,
        provider: StateProvider,
        node: str,
        now: Callable[[], float],
        persistence: StateProvider | None = None,
        limit: int = 10_000,
        deadline: float = 1.0,
    ) -> None:
        self.node = node
        self.store: StoreClient = StoreClient(provider, "state provider", deadline)
        self.persistence: StoreClient | None = None
        if persistence is not None:
            self.persistence = StoreClient(persistence, "persistence", deadline)
        self._now = now
        self._limit = limit
        self._cache: dict[str, PhysicsVector] = {}
        self._published: dict[str, PublishedState] = {}
        self._persisted: dict[str, PublishedState] = {}
        self._persisted_at = -math.inf
        self._remembered: dict[str, tuple[Remembered, float]] = {}
        self._views: dict[str, RouteView] = {}
        self._unlisten: Callable[[], None] | None = None
        self._poller: VectorPoller | None = None
        if not isinstance(provider, ClusterSync):
            self._poller = VectorPoller(self.store, provider)

    @property
    def provider(self) -> StateProvider:
        """The store that is shared."""
        return self.store.provider

    @property
    def healthy(self) -> bool:
        """Whether the shared store answered when last asked."""
        return self.store.healthy

    @property
    def failures(self) -> int:
        """Round trips that failed, of both stores."""
        return self.store.failures + (0 if self.persistence is None else self.persistence.failures)

    @property
    def dropped_rows(self) -> int:
        """Answers that made no sense and were passed over, of both stores."""
        return self.store.dropped + (0 if self.persistence is None else self.persistence.dropped)

    def get_local(self, route_id: str) -> PhysicsVector | None:
        """The vector last synchronised, from memory."""
        return self._cache.get(route_id)

    async def sync(self, route_id: str, vector: PhysicsVector) -> None:
        """Keep the vector locally and send it on; a failing store is noted, never raised."""
        self._cache[route_id] = vector
        if (await self.store.ask(lambda: self.provider.update_vector(route_id, vector)))[0]:
            self.store.recovered()

    # --- joining and leaving ---------------------------------------------------------------------------------

    async def connect(self) -> bool:
        """Connect to the stores within the deadline and recall what they know; says whether the shared one did."""
        clients = [client for client in (self.persistence, self.store) if client is not None]
        await asyncio.gather(*(self._join(client) for client in clients))
        return self.store.connected

    async def _join(self, client: StoreClient) -> None:
        if not await client.connect():
            return
        if client is self.store:
            self._published.clear()  # whatever it knew of this node, it hears everything anew
            provider = self.provider
            if self._unlisten is None and isinstance(provider, ClusterSync):
                self._unlisten = client.attempt(lambda: provider.listen(self.node, self._on_jump))
        else:
            self._persisted.clear()
        await self._recall(client)

    async def _recall(self, client: StoreClient) -> None:
        provider = client.provider
        if not isinstance(provider, Recall):
            return
        worked, answer = await client.ask(lambda: provider.recall(self.node, self._limit))
        if not worked:
            return
        if not isinstance(answer, Mapping):
            client.reject(answer)
            return
        at = self._now()
        for route, remembered in list(answer.items())[: self._limit]:
            if (
                not isinstance(route, str)
                or not isinstance(remembered, Remembered)
                or not remembered.is_sane()
            ):
                client.reject(remembered)
            elif client is self.store or route not in self._remembered:
                self._remembered[route] = (remembered, at)

    def recollect(self, route_id: str) -> tuple[PhysicsVector, float] | None:
        """What was remembered of a route, once, with its age in seconds by now."""
        found = self._remembered.pop(route_id, None)
        if found is None:
            return None
        remembered, at = found
        return remembered.vector, remembered.age + max(self._now() - at, 0.0)

    async def disconnect(self) -> None:
        """Leave the stores within the deadline."""
        if self._unlisten is not None:
            self.store.attempt(self._unlisten)
            self._unlisten = None
        if self._poller is not None:
            self._poller.end()
        clients = [client for client in (self.persistence, self.store) if client is not None]
        await asyncio.gather(*(client.disconnect() for client in clients))

    # --- the pulse -------------------------------------------------------------------------------------------

    async def pulse(self, routes: Iterable[RouteView]) -> bool:
        """PUSH what changed and PULL what others believe, in one round trip where the store can.

        Says whether the shared store answered. A store has one deadline for all of it; what a slow one leaves undone
        comes first in the next pulse. Never raises but for cancellation.
        """
        views = {view.id: view for view in routes}
        self._views = views
        self._forget(views)
        if self.persistence is None:
            return await self._share(views)
        worked, _ = await asyncio.gather(self._share(views), self._persist(views))
        return worked

    def _forget(self, views: Mapping[str, RouteView]) -> None:
        for memory in (self._published, self._persisted, self._cache):
            for gone in memory.keys() - views.keys():
                memory.pop(gone, None)

    async def _share(self, views: Mapping[str, RouteView]) -> bool:
        worked = await self.store.within(self._exchange(views))
        if worked:
            self.store.recovered()
        else:
            self.store.connected = False
            for view in views.values():
                view.hear(0.0, 0.0)
        return worked

    async def _exchange(self, views: Mapping[str, RouteView]) -> bool:
        if not self.store.connected:
            await self._join(self.store)
            if not self.store.connected:
                return False
        now = self._now()
        rows = self._changed(views, self._published, now)
        if self._poller is not None:
            return await self._push(self.store, rows, self._published, now) and await self._poller.pull(
                views, self._cache
            )
        exchange: Any = self.provider
        worked, believed = await self.store.ask(lambda: exchange.exchange(self.node, rows, list(views)))
        if worked:
            self._mark_published(rows, self._published, now)
            self._hear(views, believed)
        return worked

    async def _persist(self, views: Mapping[str, RouteView]) -> None:
        persistence = self.persistence
        now = self._now()
        if persistence is None or now - self._persisted_at < PERSIST_SECONDS:
            return
        self._persisted_at = now
        if await persistence.within(self._write(persistence, views, now)):
            persistence.recovered()
        else:
            persistence.connected = False

    async def _write(self, persistence: StoreClient, views: Mapping[str, RouteView], now: float) -> bool:
        if not persistence.connected:
            await self._join(persistence)
            if not persistence.connected:
                return False
        return await self._push(persistence, self._changed(views, self._persisted, now), self._persisted, now)

    def _changed(
        self, views: Mapping[str, RouteView], sent: Mapping[str, PublishedState], now: float
    ) -> dict[str, NodeRow]:
        """Rows that differ from what decay alone has made of the copy that was sent."""
        rows = {}
        for route, view in views.items():
            if view.differs(sent.get(route, _NOTHING), now):
                rows[route] = view.row()
        return rows

    def _mark_published(
        self, rows: Mapping[str, NodeRow], sent: dict[str, PublishedState], now: float
    ) -> None:
        for route, row in rows.items():
            sent[route] = PublishedState(row.vector.scar_tissue, row.evidence, row.decay_rate, now)
            self._cache[route] = row.vector

    async def _push(
        self, client: StoreClient, rows: Mapping[str, NodeRow], sent: dict[str, PublishedState], now: float
    ) -> bool:
        """Write ``rows`` to a store, and note in ``sent`` what it has taken."""
        provider = client.provider
        if not rows:
            return True
        if isinstance(provider, Batch):
            vectors = {route: row.vector for route, row in rows.items()}
            worked, _ = await client.ask(lambda: provider.update_vectors(vectors))
            if worked:
                self._mark_published(rows, sent, now)
            return worked
        longest_first = sorted(rows, key=lambda route: sent.get(route, _NEVER).at)
        calls = {route: partial(provider.update_vector, route, rows[route].vector) for route in longest_first}
        return await client.ask_each(
            calls, lambda route, _: self._mark_published({route: rows[route]}, sent, now)
        )

    def _hear(self, views: Mapping[str, RouteView], believed: object) -> None:
        """Believe nothing unchecked: a store's answer is untrusted."""
        if not isinstance(believed, Mapping):
            self.store.reject(believed)
            return
        for route, answer in believed.items():
            view = views.get(route)
            if view is None:
                continue
            if isinstance(answer, ClusterScar) and answer.is_sane():
                view.hear(answer.scar, answer.evidence)
            else:
                self.store.reject(answer)

    def _on_jump(self, route: str, answer: ClusterScar) -> None:
        self._hear(self._views, {route: answer})
