"""Operations on the rows of one route that all stores share: replace, expire, weigh, recall.

Rows are kept by node, each with the time of its arrival by the store's clock, the newest last.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

from atrion.state.blending import EVIDENCE_CAP, EVIDENCE_SECONDS, EXPIRY, JUMP, cluster_scar
from atrion.state.port import ClusterScar, NodeRow, PhysicsVector, Remembered

__all__ = [
    "MAX_NODES",
    "NO_NODE",
    "Followers",
    "Rows",
    "live_nodes",
    "most_scarred",
    "newest",
    "others",
    "put",
    "put_vector",
    "recalled",
]

K = TypeVar("K")

Rows = dict[str, tuple[NodeRow, float]]

NO_NODE = ""
"""The node of a plain vector, which is kept but has no weight in the cluster's opinion."""
MAX_NODES = 256
"""Most rows of one route; the one updated least recently is dropped first."""
MAX_FOLLOWERS = 16
"""Most nodes of one provider object that receive only changes; beyond that, the oldest one starts anew."""


def put(rows: Rows, node: str, row: NodeRow, now: float) -> bool:
    """Replace the node's row and drop expired ones; returns whether the node's scar jumped."""
    last = rows.pop(node, None)
    for name in [name for name, (_, at) in rows.items() if now - at > EXPIRY]:
        del rows[name]
    while len(rows) >= MAX_NODES:
        del rows[next(iter(rows))]
    rows[node] = (row, now)
    left = 0.0
    if last is not None:
        old, at = last
        left = old.vector.scar_tissue * math.exp(-old.decay_rate * max(now - at, 0.0))
    return node != NO_NODE and row.vector.scar_tissue - left > JUMP


def put_vector(rows: Rows, vector: PhysicsVector, now: float) -> None:
    """Keep a plain vector."""
    put(rows, NO_NODE, NodeRow(vector, 0.0, 0.0), now)


def newest(rows: Rows) -> PhysicsVector:
    """The vector of the row updated last."""
    return next(reversed(rows.values()))[0].vector


def others(rows: Rows, node: str, now: float) -> ClusterScar:
    """The opinion of the nodes other than ``node``."""
    return cluster_scar((row, now - at) for name, (row, at) in rows.items() if name != node)


def recalled(rows: Rows, node: str, now: float) -> Remembered:
    """The node's own vector, else the one with the most evidence, decayed for its age."""

    def worth(kept: tuple[NodeRow, float]) -> tuple[float, float]:
        row, at = kept
        return min(row.evidence, EVIDENCE_CAP) * math.exp(-(now - at) / EVIDENCE_SECONDS), at

    row, at = rows[node] if node in rows else max(rows.values(), key=worth)
    return Remembered(row.vector, max(now - at, 0.0))


def most_scarred(found: Mapping[str, Remembered], limit: int) -> dict[str, Remembered]:
    """At most ``limit`` of the routes ``found``, the most scarred first."""
    most = sorted(found, key=lambda route: -found[route].vector.scar_tissue)[: max(limit, 0)]
    return {route: found[route] for route in most}


def live_nodes(kept: Iterable[Rows], now: float) -> list[str]:
    """The nodes whose rows have not expired."""
    names = {name for rows in kept for name, (_, at) in rows.items() if now - at <= EXPIRY}
    return sorted(names - {NO_NODE})


class Followers(Generic[K]):
    """The routes that each node last asked for, and the version it has, so that it receives only changes.

    Args:
        key: Gives the store's key of a route.
    """

    def __init__(self, key: Callable[[str], K]) -> None:
        self._key = key
        self._sent: dict[str, tuple[int, list[str], dict[K, str]]] = {}

    def clear(self) -> None:
        """Forget all nodes."""
        self._sent.clear()

    def _followed(self, node: str, routes: list[str]) -> tuple[int, dict[K, str], dict[K, str]]:
        """The node's version, the routes it asked for until now, and those it asks for now."""
        version, asked, before = self._sent.get(node, (0, [], {}))
        return version, before, before if routes == asked else {self._key(route): route for route in routes}

    def to_send(
        self, node: str, routes: list[str], version: int, changed_since: Callable[[int], Iterable[K]]
    ) -> dict[K, str]:
        """The routes to send to a node: those that it has not asked for before, and those that have changed.

        ``version`` is the store's; if a node has a later one, the store was replaced.
        """
        known, before, wanted = self._followed(node, routes)
        if known > version:
            return wanted
        due = {} if wanted is before else {key: name for key, name in wanted.items() if key not in before}
        if before:
            due |= {key: wanted[key] for key in changed_since(known) if key in wanted}
        return due

    def mark_sent(self, node: str, routes: list[str], version: int) -> None:
        """Note that a node has received ``routes`` up to ``version``."""
        _, _, wanted = self._followed(node, routes)
        if node not in self._sent and len(self._sent) >= MAX_FOLLOWERS:
            del self._sent[next(iter(self._sent))]
        self._sent[node] = (version, routes, wanted)
