"""What a store does with the rows of one route, whatever it keeps them in: replace, expire, weigh, recall.

Rows are held by node, each with the second at which it came by the store's clock, the newest last.
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
"""Stands for the node of a plain vector, which is kept but counts for nothing among the cluster's."""
MAX_NODES = 256
"""Most rows of one route; the longest silent goes first."""
MAX_FOLLOWERS = 16
"""Nodes that share one provider object and are told only what changed; the one that came first is told all again."""


def put(rows: Rows, node: str, row: NodeRow, now: float) -> bool:
    """Keep ``row`` in place of the node's last one and let the long silent go; says whether its scar jumped."""
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
    """What was said last, by whatever node."""
    return next(reversed(rows.values()))[0].vector


def others(rows: Rows, node: str, now: float) -> ClusterScar:
    """What the nodes other than ``node`` believe."""
    return cluster_scar((row, now - at) for name, (row, at) in rows.items() if name != node)


def recalled(rows: Rows, node: str, now: float) -> Remembered:
    """The node's own vector, else that of whoever has seen the most: what was seen long ago is worth less."""

    def worth(kept: tuple[NodeRow, float]) -> tuple[float, float]:
        row, at = kept
        return min(row.evidence, EVIDENCE_CAP) * math.exp(-(now - at) / EVIDENCE_SECONDS), at

    row, at = rows[node] if node in rows else max(rows.values(), key=worth)
    return Remembered(row.vector, max(now - at, 0.0))


def most_scarred(found: Mapping[str, Remembered], limit: int) -> dict[str, Remembered]:
    """At most ``limit`` of what was ``found``, the most scarred first."""
    most = sorted(found, key=lambda route: -found[route].vector.scar_tissue)[: max(limit, 0)]
    return {route: found[route] for route in most}


def live_nodes(kept: Iterable[Rows], now: float) -> list[str]:
    """The nodes that said something of late."""
    names = {name for rows in kept for name, (_, at) in rows.items() if now - at <= EXPIRY}
    return sorted(names - {NO_NODE})


class Followers(Generic[K]):
    """The routes that each node asked for last and the version it has heard, so that it is told only what changed.

    Args:
        key: What the store knows a route by.
    """

    def __init__(self, key: Callable[[str], K]) -> None:
        self._key = key
        self._told: dict[str, tuple[int, list[str], dict[K, str]]] = {}

    def clear(self) -> None:
        """Nobody has heard anything."""
        self._told.clear()

    def _followed(self, node: str, routes: list[str]) -> tuple[int, dict[K, str], dict[K, str]]:
        """The version heard, the routes asked for until now, and those asked for now."""
        version, asked, before = self._told.get(node, (0, [], {}))
        return version, before, before if routes == asked else {self._key(route): route for route in routes}

    def news(
        self, node: str, routes: list[str], version: int, changed_since: Callable[[int], Iterable[K]]
    ) -> dict[K, str]:
        """Which of ``routes`` to tell a node: those that it had not asked for, and those that changed since.

        ``version`` is the store's; where a node has heard a later one, the store was replaced.
        """
        heard, before, wanted = self._followed(node, routes)
        if heard > version:
            return wanted
        news = {} if wanted is before else {key: name for key, name in wanted.items() if key not in before}
        if before:
            news |= {key: wanted[key] for key in changed_since(heard) if key in wanted}
        return news

    def told(self, node: str, routes: list[str], version: int) -> None:
        """A node was told of ``routes`` up to ``version``."""
        _, _, wanted = self._followed(node, routes)
        if node not in self._told and len(self._told) >= MAX_FOLLOWERS:
            del self._told[next(iter(self._told))]
        self._told[node] = (version, routes, wanted)
