"""StateManager (RFC-0007 §3.2): reads are local; the pulse talks to the store in the background."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping

from atrion.state.active_routes import ActiveRoutes, RouteView
from atrion.state.port import ClusterScar, ClusterSync, PhysicsVector, Recall, Remembered, StateProvider
from atrion.state.publisher import Publisher
from atrion.state.store_client import StoreClient
from atrion.state.vector_poller import VectorPoller

__all__ = ["StateManager"]

PERSIST_SECONDS = 1.0
"""Least seconds between two writes to the persistence."""


class StateManager:
    """One node's view of the store.

    Args:
        provider: The shared store.
        node: This node's name.
        now: Monotonic seconds.
        persistence: An optional second store, for persistence only.
        limit: Most routes recalled.
        deadline: Seconds one round trip may take.
        routes: The routes by id, which the manager reads.
    """

    def __init__(
        self,
        provider: StateProvider,
        node: str,
        now: Callable[[], float],
        persistence: StateProvider | None = None,
        limit: int = 10_000,
        deadline: float = 1.0,
        routes: Mapping[str, RouteView] | None = None,
    ) -> None:
        self.node = node
        self.store: StoreClient = StoreClient(provider, "state provider", deadline)
        self.persistence: StoreClient | None = None
        if persistence is not None:
            self.persistence = StoreClient(persistence, "persistence", deadline)
        self._now = now
        self._limit = limit
        self._sharing = Publisher(self.store)
        self._persisting: Publisher | None = None if self.persistence is None else Publisher(self.persistence)
        self._persisted_at = -math.inf
        self._remembered: dict[str, tuple[Remembered, float]] = {}
        self.routes: ActiveRoutes = ActiveRoutes({} if routes is None else routes)
        self._names: list[str] = []
        self._unlisten: Callable[[], None] | None = None
        self._poller = VectorPoller(self.store)

    @property
    def provider(self) -> StateProvider:
        """The shared store."""
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
        """Invalid answers that were ignored, of both stores."""
        return self.store.dropped + (0 if self.persistence is None else self.persistence.dropped)

    def get_local(self, route_id: str) -> PhysicsVector | None:
        """The vector last synchronised, from memory."""
        return self._sharing.vectors.get(route_id)

    async def sync(self, route_id: str, vector: PhysicsVector) -> None:
        """Keep the vector locally and write it to the store; a failure is counted, never raised."""
        self._sharing.vectors[route_id] = vector
        if (await self.store.ask(lambda: self.provider.update_vector(route_id, vector)))[0]:
            self.store.recovered()

    # --- joining and leaving ---------------------------------------------------------------------------------

    async def connect(self) -> bool:
        """Connect to the stores within the deadline and recall their vectors; returns whether the shared one did."""
        await asyncio.gather(*(self._join(publisher) for publisher in self._publishers()))
        return self.store.connected

    def _publishers(self) -> list[Publisher]:
        return [publisher for publisher in (self._persisting, self._sharing) if publisher is not None]

    async def _join(self, publisher: Publisher) -> bool:
        client = publisher.client
        if not await client.connect():
            return False
        publisher.forget()
        self.routes.activate_all()
        provider = client.provider
        if client is self.store and self._unlisten is None and isinstance(provider, ClusterSync):
            self._unlisten = client.attempt(lambda: provider.listen(self.node, self._on_jump))
        await self._recall(client)
        return True

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
        """The recalled vector of a route, which is returned only once, and its age in seconds."""
        found = self._remembered.pop(route_id, None)
        if found is None:
            return None
        remembered, at = found
        return remembered.vector, remembered.age + max(self._now() - at, 0.0)

    async def disconnect(self) -> None:
        """Disconnect from the stores within the deadline."""
        if self._unlisten is not None:
            self.store.attempt(self._unlisten)
            self._unlisten = None
        self._poller.end()
        await asyncio.gather(*(publisher.client.disconnect() for publisher in self._publishers()))

    # --- the pulse -------------------------------------------------------------------------------------------

    async def pulse(self) -> bool:
        """Push what changed and pull the other nodes' opinion, in one round trip if the store can.

        Returns whether the shared store answered. The whole exchange has one deadline; what a slow store leaves undone
        comes first in the next pulse. Idle routes cost nothing. Raises nothing but cancellation.
        """
        names = self.routes.names()
        if names is not self._names:
            self._names = names
            for publisher in self._publishers():
                publisher.keep_only(names)
        active = self._advance()
        if self._persisting is None:
            return await self._share(active)
        worked, _ = await asyncio.gather(self._share(active), self._persist(self._persisting, active))
        return worked

    def _advance(self) -> dict[str, RouteView]:
        publishers = self._publishers()
        return self.routes.advance(
            self._now(), lambda view: all(publisher.is_published(view) for publisher in publishers)
        )

    async def _share(self, active: Mapping[str, RouteView]) -> bool:
        was_connected = self.store.connected
        worked = await self.store.within(self._exchange(active))
        if worked:
            self.store.recovered()
            return True
        self.store.connected = False
        for route in self._names if was_connected else ():
            view = self.routes.find(route)
            if view is not None:
                view.apply_cluster_scar(0.0, 0.0)
        return False

    async def _exchange(self, active: Mapping[str, RouteView]) -> bool:
        if not self.store.connected:
            if not await self._join(self._sharing):
                return False
            active = self._advance()  # all of them, since the store may have none
        now = self._now()
        rows = self._sharing.changed(active)
        provider = self.provider
        opinions: object = None
        if isinstance(provider, ClusterSync):
            worked, opinions = await self.store.ask(lambda: provider.exchange(self.node, rows, self._names))
            if worked:
                self._sharing.mark_published(rows, now)
        else:
            worked = await self._sharing.push(rows, now)
            if worked:
                opinions = await self._poller.pull(self._names, self._sharing.vectors)
                worked = opinions is not None
        if worked:
            self._apply(opinions)
        return worked

    async def _persist(self, publisher: Publisher, active: Mapping[str, RouteView]) -> None:
        now = self._now()
        if now - self._persisted_at < PERSIST_SECONDS:
            return
        self._persisted_at = now
        client = publisher.client
        if await client.within(self._write(publisher, active, now)):
            client.recovered()
        else:
            client.connected = False

    async def _write(self, publisher: Publisher, active: Mapping[str, RouteView], now: float) -> bool:
        if not publisher.client.connected:
            if not await self._join(publisher):
                return False
            active = self._advance()
        return await publisher.push(publisher.changed(active), now)

    def _apply(self, opinions: object) -> None:
        """Apply a store's answer, which is untrusted and checked first."""
        if not isinstance(opinions, Mapping):
            self.store.reject(opinions)
            return
        now = self._now()
        for route, answer in opinions.items():
            view = self.routes.find(route)
            if view is None:
                continue
            if isinstance(answer, ClusterScar) and answer.is_sane():
                view.advance(now)
                view.apply_cluster_scar(answer.scar, answer.evidence)
            else:
                self.store.reject(answer)

    def _on_jump(self, route: str, answer: ClusterScar) -> None:
        self._apply({route: answer})
