"""The compiled base of the engine: finds or creates routes, computes voltages, and decides or begins calls."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final, final
from uuid import UUID

from atrion._native import mypyc_attr
from atrion.control.call import Call
from atrion.control.decision import Decision, bypassed
from atrion.control.listener import RouteListener
from atrion.control.pools import Pools
from atrion.control.reasons import decide
from atrion.control.route import Route
from atrion.control.rules import RouteRules
from atrion.control.settings import check_name
from atrion.control.snapshot import RouteSnapshot, snapshot_of
from atrion.physics.voltage import BAND_WIDTH, TierLike, band, level_of, unit_hash
from atrion.propagation import current, on_use
from atrion.sensing.costs import check_cost
from atrion.sensing.telemetry import Telemetry

__all__ = ["CallFactory", "EngineBase", "Key", "RouteId", "start_of"]

# Compiled code does not check unions with a class that is not compiled, so wrong values reach our own error messages.
RouteId = str | StrEnum
"""The id of a route, 1 to 256 characters."""
Key = str | int | UUID
"""The stable name of a caller, such as a user id; keys with the same text are one caller."""

ROTATION: Final = 600.0
"""Seconds in which every key moves once through its band: callers are shed for minutes at a time, and all equally."""
EVICTION_CANDIDATES: Final = 32
"""Oldest routes among which the one to evict is chosen."""
WALL_CLOCK_REFRESH: Final = 1.0
"""Seconds between readings of the wall clock for the rotation."""


@mypyc_attr(allow_interpreted_subclasses=True)
class EngineBase:
    """An engine without a store: routes, decisions, guarded calls and snapshots.

    Args:
        now: Monotonic clock, in seconds. Every call reads the time from ``self.now``, which a forked child replaces.
        wall: Wall clock, in seconds.
        rules: Settings by route.
        max_routes: Most routes kept, at least 1.
        listener: Receives the events of every route.
    """

    def __init__(
        self,
        now: Callable[[], float],
        wall: Callable[[], float],
        rules: RouteRules,
        max_routes: int,
        listener: RouteListener,
    ) -> None:
        self.routes: dict[str, Route] = {}
        self.now: Callable[[], float] = now
        self._wall: Callable[[], float] = wall
        self._phase: float = 0.0
        self._refreshed: float = -WALL_CLOCK_REFRESH
        self._bypass: Route | None = None
        self._rules: RouteRules = rules
        self._pools: Pools = Pools()
        self._max_routes: int = max_routes
        self._listener: RouteListener = listener

    @property
    def disabled(self) -> bool:
        """Whether the engine does nothing at all: every request flows, and nothing is measured."""
        return self._bypass is not None

    # --- routes --------------------------------------------------------------------------------------------

    def find(self, route_id: RouteId) -> Route:
        """The route of an id, created if it does not exist yet.

        Raises:
            ConfigurationError: an unusable route id.
        """
        return _find(self, route_id)

    def create_route(self, route_id: RouteId) -> Route:
        """Create the route of an id that has none; where there are too many, the least recently used is evicted.

        Raises:
            ConfigurationError: an unusable route id.
        """
        check_name("route_id", route_id)
        if len(self.routes) >= self._max_routes:
            self._evict()
        route = Route(route_id, self._rules.settings(route_id), self._pools, self.now(), self._listener)
        if self._bypass is not None:
            route.detach()
            return route
        # Two threads may create the route of one id at the same time; the first one's is kept.
        kept = self.routes.setdefault(route_id, route)
        if kept is route:
            self._listener.on_created(route)
        else:
            route.detach()
        return kept

    def _evict(self) -> None:
        """Drop the least recently used of the oldest routes. Busy and decorated ones stay and move to the back."""
        oldest = self._oldest(EVICTION_CANDIDATES)
        idle = [route for route in oldest if route.in_flight() == 0 and not route.pinned]
        victim = min(idle, key=lambda route: route.used) if idle else None
        for route in oldest:
            self.routes.pop(route.id, None)
            if route is victim:
                route.detach()
            else:
                self.routes[route.id] = route

    def _oldest(self, count: int) -> list[Route]:
        found: list[Route] = []
        try:
            for route in self.routes.values():
                found.append(route)
                if len(found) == count:
                    break
        except RuntimeError:  # another thread has added a route meanwhile
            pass
        return found

    def snapshot(self) -> dict[str, RouteSnapshot]:
        """A read-only view of every route, by id."""
        now = self.now()
        routes = list(self.routes.values())
        for route in routes:
            route.advance(now)  # an idle route decays only when it is read
        return {route.id: snapshot_of(route) for route in routes}

    def reset(self, route_id: RouteId | None = None) -> None:
        """Forget what one route, or every route, has learned."""
        named: Any = route_id  # compiled code would refuse anything but text itself, without our message
        routes = list(self.routes.values()) if named is None else [_find(self, named)]
        for route in routes:
            route.reset(route.settings, self.now())

    # --- requests ------------------------------------------------------------------------------------------

    def decide(
        self,
        route_id: RouteId,
        tier: TierLike | None = None,
        *,
        key: Key | None = None,
        cost: float | None = None,
    ) -> Decision:
        """Whether a request of ``tier`` may flow now. This admits no call: nothing counts as in flight.

        Tier and place are found as by :meth:`flow`. The same ``key`` gets the same answer for minutes, so that a caller
        does not see random errors. A ``cost`` asks for a request that costs as much, on a route whose calls have costs.

        Raises:
            ConfigurationError: an unusable route id or tier, or a cost that is not a number from 1e-9 to 1e15.
        """
        costs = 0.0 if cost is None else check_cost(cost)
        if self._bypass is not None:
            return bypassed(str(route_id))
        route = _find(self, route_id)
        start = start_of(route) if tier is None else band(level_of(tier))
        now = self.now()
        return decide(route, _voltage(self, start, route, key, now), now, costs)

    def flow(
        self,
        route_id: RouteId,
        tier: TierLike | None = None,
        *,
        key: Key | None = None,
        place: float | None = None,
        cost: float | None = None,
    ) -> Call:
        """One call, for ``with`` or ``async with``; entering raises :class:`FlowRejected` if it is shed.

        Without a tier, that of the request being served counts (:func:`atrion.propagation.current`), else the route's
        own: normal, unless configured otherwise. A ``place`` in the tier's band, in [0, 1), counts more than a ``key``:
        services that take it from each other shed the same requests. Without both, the request's place counts.

        A ``cost``, in any unit such as tokens, makes capacity and calls in flight of the route count what calls cost:
        a call of twice the usual cost counts as two, and one without a cost as one. Where the cost at the beginning is
        an estimate, or unknown, :meth:`Call.report` takes the real one.

        Raises:
            ConfigurationError: an unusable route id or tier, or a cost that is not a number from 1e-9 to 1e15.
        """
        if cost is not None:
            return self.flow(route_id, tier, key=key, place=place).priced(cost)
        if self._bypass is not None:
            return Call(self._bypass, 0.0, self.now).bypass()
        route = _find(self, route_id)
        start = start_of(route) if tier is None else band(level_of(tier))
        if place is not None:
            return Call(route, start + BAND_WIDTH * place, self.now)
        now = 0.0 if key is None else self.now()
        return Call(route, _voltage(self, start, route, key, now), self.now)

    def place(self, route_id: RouteId, key: Key | None = None) -> float:
        """The place in a tier's band, in [0, 1), of a call with ``key`` now.

        Without a key, it is the place of the request being served, else the next one of an even spread.

        Raises:
            ConfigurationError: an unusable route id.
        """
        return _voltage(self, 0.0, _find(self, route_id), key, self.now()) / BAND_WIDTH

    def update_physics(self, route_id: RouteId, telemetry: Telemetry) -> RouteSnapshot:
        """Take the caller's own telemetry. The law advances once a tick, with the mean of what came since.

        Raises:
            ConfigurationError: an unusable route id.
        """
        route = _find(self, route_id)
        route.feed(telemetry, self.now())
        return snapshot_of(route)


# Functions, because Python subclasses may override methods, and compiled code would have to look them up.


def _find(engine: EngineBase, route_id: RouteId) -> Route:
    # Anything but text is refused by create_route, with a message.
    route = engine.routes.get(route_id) if isinstance(route_id, str) else None  # type: ignore[redundant-expr]
    return engine.create_route(route_id) if route is None else route


def _voltage(engine: EngineBase, start: float, route: Route, key: Key | None, now: float) -> float:
    """The voltage of a call: the start of its tier's band, and the place in it of its key, else of the request."""
    if key is None:
        place = current().place if _contexts.used else None
        return start + BAND_WIDTH * (route.next_dither() if place is None else place)
    if not 0.0 <= now - engine._refreshed < WALL_CLOCK_REFRESH:
        engine._refreshed = now
        turns = engine._wall() / ROTATION
        engine._phase = turns - math.floor(turns)
    return start + BAND_WIDTH * unit_hash(str(key), engine._phase)


@final
class _Contexts:
    """Whether any request of this process has had a context: looking for one takes a tenth of a guarded call."""

    __slots__ = ("used",)

    def __init__(self) -> None:
        self.used: bool = False

    def note(self) -> None:
        self.used = True


_contexts: Final = _Contexts()
on_use(_contexts.note)


def start_of(route: Route) -> float:
    """The volts at which the band begins of a call that is given no tier: the request's counts, else the route's."""
    if _contexts.used:
        tier = current().tier
        if tier is not None:
            return band(int(tier))
    return route.settings.start


@final
class CallFactory:
    """Creates the calls of one decorated function, with a route and a tier whose band begins at ``start`` volts.

    A ``start`` below 0 stands for the tier of the request being served, else the route's own.
    """

    __slots__ = ("_engine", "_route", "_start")

    def __init__(self, route: Route, start: float, engine: EngineBase) -> None:
        self._route: Route = route
        self._start: float = start
        self._engine: EngineBase = engine

    def begin(self) -> Call:
        """A new call, which has begun if it may flow: see ``call.active``."""
        route = self._route
        if _contexts.used:
            return self.begin_keyed(None)
        start = self._start
        if start < 0.0:
            start = route.settings.start
        call = Call(route, start + BAND_WIDTH * route.next_dither(), self._engine.now)
        call.begin()
        return call

    def begin_costed(self, given: tuple[Key | None, float | None]) -> Call:
        """The same with a key and a cost, each of which may be None."""
        key, cost = given
        call = self._call(key)
        if cost is not None:
            call.priced(cost)
        call.begin()
        return call

    def begin_keyed(self, key: Key | None) -> Call:
        """The same, with the key's place in the band."""
        call = self._call(key)
        call.begin()
        return call

    def _call(self, key: Key | None) -> Call:
        engine, route = self._engine, self._route
        now = 0.0 if key is None else engine.now()
        start = self._start if self._start >= 0.0 else start_of(route)
        return Call(route, _voltage(engine, start, route, key, now), engine.now)
