"""The protocol between one node and one shard, without I/O: the next request, and the meaning of an answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from atrion.state import ClusterScar, NodeRow
from atrion_cluster.redis.codec import (
    INVALID,
    News,
    Own,
    decayed,
    pack_row,
    read_answer,
    to_bytes,
)

__all__ = ["CHANGES", "ShardSession"]

ROWS = 500
"""Maximum rows of one exchange, so that one node does not keep the server busy; the rest follow in the next."""
ASKS = 500
"""Maximum routes requested in one exchange."""
CHANGES = 1000
"""Maximum changes returned in one exchange."""
HEARTBEAT = 10.0
"""Seconds between heartbeats."""


class ShardSession:
    """The state of this node in a shard and of the shard in this node; seconds are those of a local monotonic clock."""

    def __init__(self, node: str, tag: str, channel: str) -> None:
        self.node = node
        self.tag = tag
        self.channel = channel
        self.dropped: int = 0
        self.epoch: bytes = b""
        self._version = 0
        self._at = 0.0  # time of the last answer by the server's clock: older messages are ignored
        self._own: dict[str, Own] = {}
        self._known: set[str] = set()
        self._asks: dict[str, None] = {}
        self._rows: dict[str, tuple[NodeRow, float]] = {}
        self._quiet: set[str] = set()
        self._alive_at = -HEARTBEAT
        self._sent: tuple[list[str], list[str], bool, float] = ([], [], False, 0.0)
        self._waiting: list[News] | None = None

    # --- asking ------------------------------------------------------------------------------------------------

    def follow(self, routes: Iterable[str]) -> None:
        """Set the routes to be read."""
        wanted = set(routes)
        for route in self._known - wanted:
            self._own.pop(route, None)
            self._asks.pop(route, None)
            self._rows.pop(route, None)
            self._quiet.discard(route)
        self._asks.update(dict.fromkeys(wanted - self._known))
        self._known = wanted

    def take(self, rows: Mapping[str, NodeRow], now: float) -> None:
        """Rows to send: the newest of each route."""
        for route, row in rows.items():
            self._rows[route] = (row, now)

    def due(self, now: float) -> bool:
        """Whether there is anything to ask."""
        return bool(self._known or self._rows) or now - self._alive_at >= HEARTBEAT

    def request(self, now: float) -> list[bytes | str | int]:
        """The arguments of the next exchange; see the Lua functions."""
        routes = [route for route, _ in zip(self._rows, range(ROWS), strict=False)]
        asks = [route for route, _ in zip(self._asks, range(ASKS), strict=False)]
        heartbeat = now - self._alive_at >= HEARTBEAT
        quiet = not self.epoch or any(route in self._quiet for route in routes)
        self._sent = (routes, asks, heartbeat, now)
        self._waiting = []
        flags = ("b" if heartbeat else "") + ("q" if quiet else "")
        arguments: list[bytes | str | int] = [
            to_bytes(self.node), self.epoch, self._version, flags, CHANGES, self.channel, self.tag, len(routes),
        ]  # fmt: skip
        for route in routes:
            row, at = self._rows[route]
            arguments += (to_bytes(route), pack_row(decayed(row, now - at)))
        arguments += map(to_bytes, asks)
        return arguments

    # --- hearing -----------------------------------------------------------------------------------------------

    def reply(self, answer: object, now: float) -> dict[str, ClusterScar] | None:
        """The mean of the other nodes, from the answer to the last request; None if it is invalid."""
        found = read_answer(answer, now)
        waiting, self._waiting = self._waiting or [], None
        if found is None:
            self.dropped += 1
            return None
        self.dropped += found.dropped
        routes, asks, heartbeat, at = self._sent
        lost = bool(self.epoch) and found.epoch != self.epoch
        self.epoch, self._version, self._at = found.epoch, found.version, found.now
        for route in routes:
            row, since = self._rows.pop(route)
            self._quiet.discard(route)
            if route in self._known:
                self._own[route] = Own(decayed(row, at - since), found.now, at)
        for route in asks:
            self._asks.pop(route, None)
        if heartbeat:
            self._alive_at = at
        self._own.update({route: own for route, own in found.owns.items() if route not in self._own})
        believed: dict[str, ClusterScar] = {}
        for sums in (found.sums, found.told):
            for route, total in sums.items():
                if total is None:
                    self.dropped += 1
                    believed[route] = INVALID
                elif self._may_hear(route):
                    believed[route] = total.without(self._own.get(route))
        if lost:
            self._again(sent=routes, asked=asks)
        for news in waiting:
            heard = self.hear(news)
            if heard is not None:
                believed[news.route] = heard
        return believed

    def _again(self, sent: list[str], asked: list[str]) -> None:
        """The shard has lost its data: send and read everything again, without publishing a change."""
        for route, own in self._own.items():
            if route not in sent and route not in self._rows:
                self._rows[route] = (own.row, own.here)
                self._quiet.add(route)
        self._asks.update(dict.fromkeys(self._known.difference(asked)))
        for route in self._rows:
            self._own.pop(route, None)
        self._alive_at = -HEARTBEAT

    def failed(self) -> None:
        """The outcome of the last request is unknown, so everything is read again."""
        self._waiting = None
        rows = self._rows
        self._rows = {}
        self._again(sent=[], asked=[])
        self._rows.update(rows)
        self._own.clear()
        self._at = 0.0
        self.epoch = b""

    def hear(self, news: News) -> ClusterScar | None:
        """The mean of the other nodes, from a message; None if it is this node's own, or an answer is pending."""
        if news.node == self.node or not self._may_hear(news.route) or news.sums.at <= self._at:
            return None
        if self._waiting is not None:
            if len(self._waiting) < CHANGES:
                self._waiting.append(news)
            return None
        return news.sums.without(self._own.get(news.route))

    def _may_hear(self, route: str) -> bool:
        """Only for requested routes, after the shard's row of this node is known."""
        return route in self._known and route not in self._asks
