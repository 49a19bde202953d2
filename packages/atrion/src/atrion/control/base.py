"""The compiled base of the engine: resolves routes, computes voltages, makes decisions and guarded calls."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import StrEnum
from typing import Final, final
from uuid import UUID

from atrion._native import mypyc_attr
from atrion.control.call import Call
from atrion.control.decision import Decision, bypassed
from atrion.control.route import Route
from atrion.control.snapshot import RouteSnapshot, snapshot_of
from atrion.physics.voltage import BAND_WIDTH, TierLike, band, level_of, unit_hash
from atrion.sensing.telemetry import Telemetry

__all__ = ["CallFactory", "EngineBase", "Key", "RouteId"]

# Unions with a class that is not compiled are not checked by compiled code, so that wrong values are refused in words.
RouteId = str | StrEnum
"""The id of a route, 1 to 256 characters."""
Key = str | int | UUID
"""What names a caller; its text is what counts."""

ROTATION: Final = 600.0
"""Seconds in which every key moves once through its band: the same callers are shed for minutes, and nobody more
than others."""
WALL_CLOCK_REFRESH: Final = 1.0
"""Seconds between readings of the wall clock for the rotation."""


@mypyc_attr(allow_interpreted_subclasses=True)
class EngineBase:
    """Routes by id, and the two clocks. Every call reads the time by ``now``, which a forked child replaces."""

    def __init__(self, now: Callable[[], float], wall: Callable[[], float]) -> None:
        self.routes: dict[str, Route] = {}
        self.now: Callable[[], float] = now
        self._wall: Callable[[], float] = wall
        self._phase: float = 0.0
        self._refreshed: float = -WALL_CLOCK_REFRESH
        self._bypass: Route | None = None

    @property
    def disabled(self) -> bool:
        """Whether the engine does nothing at all: every request flows, and nothing is measured."""
        return self._bypass is not None

    def create_route(self, route_id: RouteId) -> Route:
        """Make the route of an id that is not there yet.

        Raises:
            ConfigurationError: an unusable route id.
        """
        raise NotImplementedError

    def find(self, route_id: RouteId) -> Route:
        """The route of an id, made where it is not there yet.

        Raises:
            ConfigurationError: an unusable route id.
        """
        return _find(self, route_id)

    def decide(self, route_id: RouteId, tier: TierLike | None = None, *, key: Key | None = None) -> Decision:
        """May a request of ``tier`` flow now? It only asks: nothing counts as in flight.

        Without a tier, it is the route's own: normal, unless configured otherwise.

        Raises:
            ConfigurationError: an unusable route id or tier.
        """
        if self._bypass is not None:
            return bypassed(str(route_id))
        route = _find(self, route_id)
        start = route.settings.start if tier is None else band(level_of(tier))
        now = self.now()
        return route.decide(_voltage(self, start, route, key, now), now)

    def flow(self, route_id: RouteId, tier: TierLike | None = None, *, key: Key | None = None) -> Call:
        """A guard for ``with`` or ``async with``; entering raises :class:`FlowRejected` when shed.

        Without a tier, it is the route's own: normal, unless configured otherwise.

        Raises:
            ConfigurationError: an unusable route id or tier.
        """
        if self._bypass is not None:
            return Call(self._bypass, 0.0, self.now).bypass()
        route = _find(self, route_id)
        start = route.settings.start if tier is None else band(level_of(tier))
        now = 0.0 if key is None else self.now()
        return Call(route, _voltage(self, start, route, key, now), self.now)

    def update_physics(self, route_id: RouteId, telemetry: Telemetry) -> RouteSnapshot:
        """Take the caller's own telemetry; the law advances once a tick.

        Raises:
            ConfigurationError: an unusable route id.
        """
        route = _find(self, route_id)
        route.feed(telemetry, self.now())
        return snapshot_of(route)


# Functions, since compiled code looks the methods of a class up that Python code may inherit from.


def _find(engine: EngineBase, route_id: RouteId) -> Route:
    # What is no text is refused in words where routes are made.
    route = engine.routes.get(route_id) if isinstance(route_id, str) else None  # type: ignore[redundant-expr]
    return engine.create_route(route_id) if route is None else route


def _voltage(engine: EngineBase, start: float, route: Route, key: Key | None, now: float) -> float:
    """The voltage of a request: its tier's band, which begins at ``start``, and its key's place in it."""
    if key is None:
        return start + BAND_WIDTH * route.next_dither()
    if not 0.0 <= now - engine._refreshed < WALL_CLOCK_REFRESH:
        engine._refreshed = now
        turns = engine._wall() / ROTATION
        engine._phase = turns - math.floor(turns)
    return start + BAND_WIDTH * unit_hash(str(key), engine._phase)


@final
class CallFactory:
    """Begins the calls of one decorated function: of one route and one tier, whose band begins at ``start`` volts.

    A ``start`` below 0 is that of the route's own tier.
    """

    __slots__ = ("_engine", "_route", "_start")

    def __init__(self, route: Route, start: float, engine: EngineBase) -> None:
        self._route: Route = route
        self._start: float = start
        self._engine: EngineBase = engine

    def begin(self) -> Call:
        """A new call, begun where it may flow: ``call.active`` says whether."""
        route = self._route
        start = self._start
        if start < 0.0:
            start = route.settings.start
        call = Call(route, start + BAND_WIDTH * route.next_dither(), self._engine.now)
        call.begin()
        return call

    def begin_keyed(self, key: Key | None) -> Call:
        """Likewise, at the key's place in the band."""
        engine, route = self._engine, self._route
        now = 0.0 if key is None else engine.now()
        start = self._start if self._start >= 0.0 else route.settings.start
        call = Call(route, _voltage(engine, start, route, key, now), engine.now)
        call.begin()
        return call
