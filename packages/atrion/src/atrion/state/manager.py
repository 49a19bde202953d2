"""StateManager (RFC-0007 §3.2): reads are local and take microseconds, the store is spoken to behind them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Protocol

from atrion.physics.laws import MAX_RESISTANCE
from atrion.state.port import (
    ClusterScar,
    NodeScar,
    PhysicsVector,
    StateProvider,
    SupportsExchange,
)

__all__ = ["RouteView", "StateManager"]

logger: logging.Logger = logging.getLogger("atrion")

DEADBAND = 0.05
"""Ohms of scar that must have changed before a row is sent again."""
REFRESH = 50
"""Pulses after which an unchanged row is sent again, so that it does not expire."""


class RouteView(Protocol):
    """What the manager needs of a route."""

    @property
    def id(self) -> str:
        """Route id."""
        ...

    def row(self) -> NodeScar:
        """This node's own scar."""
        ...

    def vector(self) -> PhysicsVector:
        """This node's own vector."""
        ...

    def hear(self, scar: float, live: bool) -> None:
        """Take the cluster's scar."""
        ...


def _is_sane(answer: object) -> bool:
    """Whether a store's answer is a scar at all: finite, not negative, and no more than a resistance can be."""
    if not isinstance(answer, ClusterScar):
        return False
    scar: object = answer.scar
    nodes: object = answer.nodes
    return (
        isinstance(scar, (int, float))
        and 0.0 <= scar <= MAX_RESISTANCE
        and isinstance(nodes, int)
        and nodes >= 0
    )


class StateManager:
    """One node's view of the store.

    Args:
        provider: The store.
        node: This node's name among those that share it.
        deadline: Seconds one round trip may take.
    """

    def __init__(self, provider: StateProvider, node: str, deadline: float = 1.0) -> None:
        self.provider = provider
        self.node = node
        self.deadline = deadline
        self.healthy: bool = True
        self.failures: int = 0
        self.dropped_rows: int = 0
        self._cache: dict[str, PhysicsVector] = {}
        self._sent: dict[str, tuple[float, int]] = {}
        self._pulse = 0
        self._connected = False
        self._nonsense = False

    def get_local(self, route_id: str) -> PhysicsVector | None:
        """The vector last synchronised, from memory."""
        return self._cache.get(route_id)

    async def sync(self, route_id: str, vector: PhysicsVector) -> None:
        """Keep the vector locally and send it on; a failing store is noted, never raised."""
        self._cache[route_id] = vector
        if (await self._ask(lambda: self.provider.update_vector(route_id, vector)))[0]:
            self._recovered()

    async def connect(self) -> bool:
        """Connect to the store within the deadline; says whether it worked."""
        self._connected = (await self._ask(self.provider.connect))[0]
        return self._connected

    async def disconnect(self) -> None:
        """Leave the store within the deadline."""
        self._connected = False
        await self._ask(self.provider.disconnect)

    async def pulse(self, routes: Iterable[RouteView]) -> bool:
        """PUSH what changed and PULL what others believe, in one round trip where the store can.

        Says whether the store answered. Never raises but for cancellation.
        """
        if not self._connected and not await self.connect():
            return False
        self._pulse += 1
        views = list(routes)
        known = {view.id for view in views}
        for gone in [route for route in self._sent if route not in known]:
            del self._sent[gone]
            self._cache.pop(gone, None)
        rows = {view.id: row for view in views if self._changed(view.id, row := view.row())}
        if isinstance(self.provider, SupportsExchange):
            exchange = self.provider.exchange
            ids = [view.id for view in views]
            worked, believed = await self._ask(lambda: exchange(self.node, rows, ids))
            if worked:
                self._hear(views, believed)
        else:
            worked = True
        if worked:
            worked = await self._push_vectors([view for view in views if view.id in rows])
        if worked:
            self._recovered()
            for route, row in rows.items():
                self._sent[route] = (row.scar, self._pulse)
        else:
            self._connected = False
            for view in views:
                view.hear(0.0, False)
        return worked

    def _changed(self, route: str, row: NodeScar) -> bool:
        if row.scar == 0.0 and row.evidence <= 0.0:
            return False
        sent = self._sent.get(route)
        return sent is None or abs(sent[0] - row.scar) > DEADBAND or self._pulse - sent[1] >= REFRESH

    async def _push_vectors(self, views: list[RouteView]) -> bool:
        for view in views:
            vector = view.vector()
            self._cache[view.id] = vector
            worked, _ = await self._ask(partial(self.provider.update_vector, view.id, vector))
            if not worked:
                return False
        return True

    def _hear(self, views: list[RouteView], believed: Any) -> None:
        """Believe nothing unchecked: a store's answer is untrusted."""
        if not isinstance(believed, Mapping):
            self.dropped_rows += 1
            if not self._nonsense:
                self._nonsense = True
                logger.warning(
                    "state provider answers nonsense (%s); it is dropped and counted", type(believed)
                )
            return
        for view in views:
            answer = believed.get(view.id)
            if answer is None:
                view.hear(0.0, False)
            elif _is_sane(answer):
                view.hear(answer.scar, answer.nodes > 0)
            else:
                self.dropped_rows += 1

    async def _ask(self, call: Callable[[], Any]) -> tuple[bool, Any]:
        try:
            async with asyncio.timeout(self.deadline):
                answer = await call()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return self._failed("CancelledError")  # the provider's own, not meant for us
        except Exception as error:
            return self._failed(f"{type(error).__name__}: {error}")
        return True, answer

    def _failed(self, why: str) -> tuple[bool, Any]:
        self.failures += 1
        if self.healthy:
            self.healthy = False
            logger.warning("state provider fails (%s); decisions go on locally", why)
        return False, None

    def _recovered(self) -> None:
        if not self.healthy:
            self.healthy = True
            logger.warning("state provider answers again")
