"""Callbacks for jumps of scars and for vectors of routes, and the channels that they need."""

from __future__ import annotations

import logging
from collections.abc import Callable

from atrion.state import ClusterScar, PhysicsVector
from atrion_cluster.redis.codec import to_bytes, to_name

__all__ = ["Callbacks"]

logger: logging.Logger = logging.getLogger("atrion")

Listener = Callable[[str, ClusterScar], None]
Subscriber = Callable[[PhysicsVector], None]


class Callbacks:
    """Listeners to jumps, and subscribers of routes; an exception of one is logged and does not affect the others.

    Args:
        channel: The channel of jumps; vectors of a route are published on ``channel/route``.
        changed: Called when the set of needed channels may have changed.
    """

    def __init__(self, channel: str, changed: Callable[[], None]) -> None:
        self.channel: bytes = channel.encode()
        self._changed = changed
        self._listeners: dict[Listener, str] = {}
        self._subscribers: dict[str, list[Subscriber]] = {}

    def listen(self, node: str, callback: Listener) -> Callable[[], None]:
        """Call ``callback`` on jumps of nodes other than ``node``; returns a function that ends this."""
        self._listeners[callback] = node

        def end() -> None:
            self._listeners.pop(callback, None)

        return end

    def subscribe(self, route_id: str, callback: Subscriber) -> Callable[[], None]:
        """Call ``callback`` with every later vector of the route; returns a function that ends this."""
        self._subscribers.setdefault(route_id, []).append(callback)
        self._changed()

        def end() -> None:
            callbacks = self._subscribers.get(route_id, [])
            if callback in callbacks:
                callbacks.remove(callback)
            if not callbacks:
                self._subscribers.pop(route_id, None)
            self._changed()

        return end

    def wanted(self) -> set[bytes]:
        """The channels to listen on; always with that of jumps, so that a new listener misses nothing."""
        return {self.channel, *(self.channel + b"/" + to_bytes(route) for route in list(self._subscribers))}

    def route_of(self, channel: bytes) -> str | None:
        """The route whose vectors come on ``channel``, or None."""
        return to_name(channel[len(self.channel) + 1 :])

    def tell(self, route_id: str, answer_for: Callable[[str], ClusterScar | None]) -> None:
        """Notify every listener of jumps that are new to its node; None means there are none."""
        for callback, node in list(self._listeners.items()):
            answer = answer_for(node)
            if answer is not None:
                try:
                    callback(route_id, answer)
                except Exception:
                    logger.exception("a listener failed at the news of %r; the others go on", route_id)

    def deliver(self, route_id: str, vector: PhysicsVector) -> None:
        """Notify the route's subscribers of a vector."""
        for callback in list(self._subscribers.get(route_id, ())):
            try:
                callback(vector)
            except Exception:
                logger.exception("a subscriber of %r failed; the others go on", route_id)
