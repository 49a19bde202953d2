"""The state port (RFC-0007 §3.1): what a provider must do, and small abilities it may have besides."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

__all__ = [
    "ClusterScar",
    "NodeScar",
    "PhysicsVector",
    "StateProvider",
    "SupportsExchange",
    "SupportsSubscribe",
]


@dataclass(frozen=True, slots=True)
class PhysicsVector:
    """What a store keeps of a route.

    ``resistance`` and ``scar_tissue`` in ohms, ``momentum`` per second, ``timestamp`` in seconds of the clock
    of whoever wrote it.
    """

    resistance: float
    momentum: float
    scar_tissue: float
    timestamp: float

    def is_sane(self) -> bool:
        """Whether every number is finite and none is negative: what comes from a store is untrusted."""
        values: tuple[object, ...] = (self.resistance, self.momentum, self.scar_tissue, self.timestamp)
        return all(isinstance(v, (int, float)) and math.isfinite(v) and v >= 0.0 for v in values)


class StateProvider(Protocol):
    """Where state lives. Any method may fail or hang: the pulse survives both."""

    async def connect(self) -> None:
        """Open what is needed; calling it again changes nothing."""

    async def disconnect(self) -> None:
        """Release what :meth:`connect` opened; calling it again changes nothing."""

    async def get_vector(self, route_id: str) -> PhysicsVector | None:
        """The vector of a route, or None when nothing is known (cold start)."""

    async def update_vector(self, route_id: str, vector: PhysicsVector) -> None:
        """Keep the vector of a route."""


@runtime_checkable
class SupportsSubscribe(Protocol):
    """Optional: hear of changes without asking."""

    def subscribe(self, route_id: str, callback: Callable[[PhysicsVector], None]) -> Callable[[], None]:
        """Call ``callback`` with every later vector of the route; returns what ends that."""
        ...


@dataclass(frozen=True, slots=True)
class NodeScar:
    """One node's own scar tissue.

    ``scar`` in ohms, decaying at ``decay_rate`` per second, believed by ``evidence`` (recent observations, ≥ 0).
    """

    scar: float
    evidence: float
    decay_rate: float


@dataclass(frozen=True, slots=True)
class ClusterScar:
    """What the other nodes believe: ``scar`` in ohms, over ``nodes`` live rows that carry evidence."""

    scar: float
    nodes: int


@runtime_checkable
class SupportsExchange(Protocol):
    """Optional: share scars between nodes, one round trip per pulse."""

    async def exchange(
        self, node: str, rows: Mapping[str, NodeScar], routes: list[str]
    ) -> Mapping[str, ClusterScar]:
        """Keep this node's ``rows`` and return what the other nodes believe of ``routes``."""
        ...
