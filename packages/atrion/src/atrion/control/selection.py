"""The choice among several routes that can serve the same request (RFC-0002). Compiled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, final

from atrion.control.reasons import rejection
from atrion.control.route import DITHER, Route
from atrion.errors import FlowRejected
from atrion.physics.laws import route_probabilities

__all__ = ["Selector"]

STARVED: Final = 0.02
"""Share of the traffic below which a route is sent probes."""


@final
class Selector:
    """Chooses by softmax over resistances. Its own dither decides: a route's would correlate with its requests."""

    __slots__ = ("_place",)

    def __init__(self) -> None:
        self._place: float = 0.5

    def select(self, routes: Sequence[Route], beta: float, place: float | None, now: float) -> Route:
        """One of ``routes``; β per ohm; ``place`` in [0, 1) replaces the dither.

        A broken route, or one that would hardly ever be chosen, is chosen when it should be probed, so that its
        recovery is noticed. A route that asked to be left alone is only chosen if all others are broken.

        Raises:
            FlowRejected: every route is broken.
        """
        for route in routes:
            route.set_apart()  # routes that waited in one queue would be no alternatives
            route.advance(now)
        free = [route for route in routes if _left_alone_until(route) <= now]
        for route in free:
            if route.broken and route.offer_probe(now):
                return route
        usable = [route for route in free if not route.broken]
        if not usable:
            held = [route for route in routes if not route.broken]
            if held:
                return min(held, key=_left_alone_until)
            usable = [route for route in routes if not route.settings.enforce]
        if not usable:
            rejections = [rejection(route, 0.0) for route in routes]
            raise FlowRejected(min(rejections, key=lambda decision: decision.retry_after))
        if place is None:
            self._place = place = (self._place + DITHER) % 1.0
        shares = route_probabilities([route.resistance() for route in usable], beta)
        for route, share in zip(usable, shares, strict=True):
            if share < STARVED and route.offer_probe(now):
                return route
        for route, share in zip(usable, shares, strict=True):
            place -= share
            if place < 0.0:
                return route
        return usable[-1]


def _left_alone_until(route: Route) -> float:
    """Until when the dependency asked to be left alone; −∞ if it did not."""
    process = route.process
    return -math.inf if process is None else process.until
