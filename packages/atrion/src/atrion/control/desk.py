"""The desk where requests ask: finds the route, weighs the caller, lets the route decide. Compiled."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, final

from atrion.control.decision import Decision
from atrion.control.flow import Flow
from atrion.control.route import Route
from atrion.control.snapshot import RouteState, snapshot_of
from atrion.physics.voltage import BAND_WIDTH, Tier, band, level_of, unit_hash
from atrion.sensing.telemetry import Telemetry

__all__ = ["Desk"]

ROTATION = 600.0
"""Seconds in which every key moves once through its band: the same callers are shed for minutes, and nobody more
than others."""
GLANCE = 1.0
"""Seconds between looks at the wall clock for the rotation."""
NORMAL = Tier.NORMAL


@final
class Desk:
    """Routes by id, and the two clocks; ``create`` makes the route of an id that is not there yet."""

    __slots__ = ("_create", "_glanced", "_now", "_phase", "_wall", "routes")

    def __init__(
        self, create: Callable[[str], Route], now: Callable[[], float], wall: Callable[[], float]
    ) -> None:
        self.routes: dict[str, Route] = {}
        self._create: Callable[[str], Route] = create
        self._now: Callable[[], float] = now
        self._wall: Callable[[], float] = wall
        self._phase: float = 0.0
        self._glanced: float = -GLANCE

    def find(self, route_id: Any) -> Route:
        """The route of an id."""
        if not isinstance(route_id, str):
            return self._create(route_id)  # which says what is wrong with it
        route = self.routes.get(route_id)
        return self._create(route_id) if route is None else route

    def _volts(self, route: Route, tier: Any, key: Any, now: float) -> float:
        """The voltage of a request: its tier's band, and its key's place in it (or the route's next)."""
        level = level_of(tier)
        if key is None:
            return band(level) + BAND_WIDTH * route.unit()
        if not 0.0 <= now - self._glanced < GLANCE:
            self._glanced = now
            turns = self._wall() / ROTATION
            self._phase = turns - math.floor(turns)
        return band(level) + BAND_WIDTH * unit_hash(str(key), self._phase)

    def decide(self, route_id: Any, tier: Any = NORMAL, *, key: Any = None) -> Decision:
        """One decision."""
        route = self.find(route_id)
        now = self._now()
        return route.decide(self._volts(route, tier, key, now), now)

    def flow(self, route_id: Any, tier: Any = NORMAL, *, key: Any = None) -> Flow:
        """A guard for one call."""
        route = self.find(route_id)
        volts = self._volts(route, tier, key, 0.0 if key is None else self._now())
        return Flow(route, volts, self._now)

    def update_physics(self, route_id: Any, telemetry: Telemetry) -> RouteState:
        """Take a caller's sample; the route as it then is."""
        route = self.find(route_id)
        route.feed(telemetry, self._now())
        return snapshot_of(route)
