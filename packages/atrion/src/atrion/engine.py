"""Atrion: the one composition root."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import uuid
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeVar, overload

from atrion._platform import at_fork
from atrion._weakly import weakly
from atrion.config import Config, ConfigSource, Switches
from atrion.control.base import CallFactory, EngineBase, Key, RouteId
from atrion.control.decision import Decision
from atrion.control.guard import options_from, protect, qualified_name
from atrion.control.observer import AnyObserver, Observers
from atrion.control.pools import Pools
from atrion.control.route import DITHER, Route
from atrion.control.route_log import log_event
from atrion.control.rules import RouteRules
from atrion.control.settings import Settings
from atrion.control.snapshot import RouteSnapshot, snapshot_of
from atrion.errors import ConfigurationError, FlowRejected
from atrion.physics.config import SLO, PhysicsConfig, check_number
from atrion.physics.laws import route_probabilities
from atrion.physics.modes import Mode
from atrion.physics.voltage import TierLike, band, level_of
from atrion.providers.provider_urls import provider_from
from atrion.sensing.telemetry import Telemetry
from atrion.state.clock import Clock, SystemClock
from atrion.state.manager import StateManager
from atrion.state.port import ClusterSync, PhysicsVector, StateProvider
from atrion.state.pulse import Pulse, to_the_end

__all__ = ["Atrion", "RouteSnapshot", "check_name", "engines"]

logger: logging.Logger = logging.getLogger("atrion")

F = TypeVar("F", bound=Callable[..., Any])

MAX_ROUTE_ID: Final = 256
STARVED: Final = 0.02
"""Share of the traffic below which ``select`` sends a route probes."""
_BY_NAME: Final = object()
"""Stands for the name of the function that is decorated."""
OWN_TIER: Final = -1.0
"""Stands for the beginning of the band of a route's own tier."""
UNUSED_AFTER: Final = 300.0
"""Seconds after which ids and patterns that never matched are logged."""
_engines: weakref.WeakSet[Atrion] = weakref.WeakSet()


def engines() -> list[Atrion]:
    """The engines of this process."""
    return list(_engines)


def check_name(field: str, name: object) -> None:
    """Refuse what is no id of a route or pool.

    Raises:
        ConfigurationError: it is no text of 1 to 256 characters.
    """
    if not isinstance(name, str) or not 0 < len(name) <= MAX_ROUTE_ID:
        shown = name
        if isinstance(name, str) and name:
            shown = f"{name[:40]}… ({len(name)} characters)"
        raise ConfigurationError(field, shown, f"give 1 to {MAX_ROUTE_ID} characters")


def _unchanged(function: F) -> F:
    """The decorator of an engine that is disabled."""
    return function


class Atrion(EngineBase):
    """Adaptive admission control over any number of routes.

    Args:
        provider: Where state lives and is shared: None (this process), a URL, or a provider.
        persistence: Where state is kept besides, a URL or a provider; None keeps it nowhere else.
        config: Constants of the laws.
        slo: What a route promises unless configured otherwise.
        gamma: γ in [0, 1], how much the cluster's scar counts; None takes the provider's own, else 0.3.
        node: This process's name among those sharing the provider; unique by default.
        max_routes: Most routes kept, ≥ 1; the idlest goes first.
        interval: Seconds between pulses, > 0; None takes the provider's own, else 0.1.
        clock: The clocks; the machine's by default.
        enforce: False for shadow mode: everything is decided, counted and reported, and nothing is shed.

    Two variables of the environment are for operators: ``ATRION_ENFORCE=0`` is shadow mode for every route, whatever
    the code says, and ``ATRION_DISABLED=1`` lets the engine do nothing at all.

    Raises:
        ConfigurationError: a value is unusable.
    """

    now: Callable[[], float]

    def __init__(
        self,
        provider: StateProvider | str | None = None,
        *,
        persistence: StateProvider | str | None = None,
        config: PhysicsConfig | None = None,
        slo: SLO | None = None,
        gamma: float | None = None,
        node: str | None = None,
        max_routes: int = 10_000,
        interval: float | None = None,
        clock: Clock | None = None,
        enforce: bool = True,
    ) -> None:
        switches = Switches()
        check_number("max_routes", max_routes, 1)
        store = provider_from(None if switches.disabled else provider)
        if interval is None:
            interval = getattr(store, "interval", 0.1)
        if gamma is None:
            gamma = getattr(store, "gamma", 0.3)
        check_number("interval", interval, 0.0, 3600.0, above=True)
        if node is not None:
            check_name("node", node)
        self._clock: Clock = SystemClock() if clock is None else clock
        super().__init__(self._clock.monotonic, self._clock.wall)
        self._max_routes = max_routes
        given: dict[str, Any] = {
            "config": config or PhysicsConfig(),
            "slo": slo or SLO(),
            "gamma": gamma,
            "enforce": enforce,
        }
        Settings(**given)
        if switches.enforce is not None:
            given["enforce"] = switches.enforce
        self._rules = RouteRules(given, enforced=not switches.disabled and switches.enforce is not False)
        self._pools = Pools()
        self._observers = Observers()
        self._place = 0.5
        self._named = node is None
        self._pulsed = False  # whether the parent, of which this process is a child, had a pulse
        self.node: str = node or uuid.uuid4().hex[:12]
        keeper = None
        if persistence is not None and not switches.disabled:
            keeper = provider_from(persistence, "persistence")
        self.state: StateManager = StateManager(
            store, self.node, self._clock.monotonic, keeper, max_routes, routes=self.routes
        )
        self._pulse = Pulse(self._turn, interval, self._enter, self._leave, self.node)
        self._wake = weakly(self._pulse.wake) if isinstance(store, ClusterSync) else None
        self._ticked = weakly(self._observers.ticked)
        self._decided = weakly(self._observers.decided)
        self._unused_due = self.now() + UNUSED_AFTER
        if switches.disabled:
            self._bypass = Route("", self._rules.settings(""), self._pools, self.now())
            logger.warning("ATRION_DISABLED is set: nothing is guarded")
        elif switches.enforce is False:
            logger.warning("ATRION_ENFORCE is 0: nothing is shed")
        _engines.add(self)

    @classmethod
    def from_config(cls, source: ConfigSource | None = None, **arguments: Any) -> Self:
        """An engine from TOML and the environment.

        Args:
            source: A TOML file, whose settings are in its table ``[tool.atrion]`` if it has one, or a mapping of the
                same settings, or None for the environment alone.
            arguments: What code gives to :class:`Atrion`, which counts most.

        Variables such as ``ATRION_GAMMA`` and ``ATRION_SLO_LATENCY`` count more than ``source``.

        Raises:
            ConfigurationError: the file cannot be read, or a key or value is unusable; the message names its place.
        """
        config = Config(source, os.environ)
        engine: Self = config.engine.make(cls, **arguments)
        for pattern, settings in config.routes.items():
            settings.make(partial(engine.configure, pattern))
        return engine

    # --- routes --------------------------------------------------------------------------------------------

    def configure(
        self,
        route_id: RouteId,
        *,
        slo: SLO | None = None,
        config: PhysicsConfig | None = None,
        gamma: float | None = None,
        shared: bool | None = None,
        pool: str | None = None,
        tier: TierLike | None = None,
        enforce: bool | None = None,
    ) -> None:
        """Set what is given for one route, or for all whose ids a pattern such as ``"GET /reports/*"`` matches.

        ``*`` stands for any characters. A route takes each setting from the most specific rule that gives it: its id,
        else the matching pattern with the most other characters, else the engine. Routes that exist follow at once;
        they start anew unless only ``tier`` or ``enforce`` changes.

        Args:
            route_id: The route, or a pattern.
            slo: What is promised.
            config: Constants of the laws.
            gamma: γ in [0, 1].
            shared: False keeps its scars from other nodes, and theirs from it.
            pool: The bottleneck, such as a database, that routes of one pool share, and so its saturation: what is
                important on one of them then goes before what is not on the others.
            tier: The tier of calls that name none.
            enforce: False for shadow mode.

        Raises:
            ConfigurationError: a value is unusable.
        """
        check_name("route_id", route_id)
        if pool is not None:
            check_name("pool", pool)
        options = {
            "slo": slo,
            "config": config,
            "gamma": gamma,
            "shared": shared,
            "pool": pool,
            "tier": tier,
            "enforce": enforce,
        }
        self._rules.add(route_id, {name: value for name, value in options.items() if value is not None})
        self._follow_rules()

    def force(self, route_id: RouteId, floor: float) -> Callable[[], None]:
        """Shed up to ``floor`` volts on a route, or on those that a pattern matches; returns what ends that.

        Nothing that was learnt is changed by it, and no probe passes. From 1000 V on, breakers are open. For tests
        and drills, as :func:`atrion.testing.force_open` and :func:`atrion.testing.force_shed` use it.

        Raises:
            ConfigurationError: an unusable route id or floor.
        """
        check_name("route_id", route_id)
        check_number("floor", floor, 0.0, 1e6)
        release = self._rules.force(route_id, float(floor))
        self._follow_rules()

        def end() -> None:
            release()
            self._follow_rules()

        return end

    def _follow_rules(self) -> None:
        for route in list(self.routes.values()):
            settings = self._rules.settings(route.id, route.settings.pool)
            if settings is not route.settings:
                route.configure(settings, self.now())
        self.state.routes.changed()

    def default_pool(self, route_id: str, pool: str) -> None:
        """Put a route that is new into ``pool``, unless it was configured with another.

        Raises:
            ConfigurationError: an unusable route id.
        """
        if route_id not in self.routes:
            route = self.find(route_id)
            route.configure(self._rules.settings(route_id, pool), self.now())

    def unused(self) -> tuple[str, ...]:
        """Ids and patterns that were configured and have matched no route until now, such as misspelt ones.

        They are also logged once, five minutes after the engine was made.
        """
        return self._rules.unused()

    def _report_unused(self, now: float) -> None:
        if now >= self._unused_due:
            self._unused_due = math.inf
            unused = list(self.unused())
            if unused:
                logger.warning(
                    "configured, but no route has matched yet: %s",
                    ", ".join(unused),
                    extra={"unused": unused},
                )

    def create_route(self, route_id: RouteId) -> Route:
        """Make the route of an id that is not there yet; if there are too many, evict the least recently used."""
        check_name("route_id", route_id)
        if len(self.routes) >= self._max_routes:
            self._evict()
        now = self.now()
        route = Route(route_id, self._rules.settings(route_id), self._pools, now)
        if self.disabled:
            route.leave()
            return route  # and forgotten at once
        self._report_unused(now)
        route.on_jump = self._wake
        route.on_event = log_event
        self._connect_observers(route)
        remembered = self.state.recollect(route_id)
        if remembered is not None:
            route.restore(*remembered)
        # Two threads may both get here; the first one's route is everybody's.
        kept = self.routes.setdefault(route_id, route)
        if kept is route:
            self.state.routes.add(route)
        else:
            route.leave()
        return kept

    def _connect_observers(self, route: Route) -> None:
        route.on_tick = self._ticked if self._observers.wants_ticks else None
        route.on_decision = self._decided if self._observers.wants_decisions else None

    def observe(self, observer: AnyObserver) -> Callable[[], None]:
        """Let an observer hear ticks, decisions and transitions, as it has methods for them; returns what ends that.

        The methods are those of :class:`~atrion.Observer`. What they raise is counted and never reaches a caller.

        Raises:
            ConfigurationError: it has none of them.
        """
        remove = self._observers.add(observer)

        def end() -> None:
            remove()
            self._reconnect_observers()

        self._reconnect_observers()
        return end

    def _reconnect_observers(self) -> None:
        for route in list(self.routes.values()):
            self._connect_observers(route)

    def _evict(self) -> None:
        """Let the idlest of the oldest few go; busy and decorated routes stay, the others move to the back."""
        oldest = self._first(32)
        idle = [route for route in oldest if route.window.in_flight == 0 and not route.pinned]
        victim = min(idle, key=lambda route: route.used) if idle else None
        for route in oldest:
            self.routes.pop(route.id, None)
            if route is victim:
                route.leave()
            else:
                self.routes[route.id] = route

    def _first(self, count: int) -> list[Route]:
        found: list[Route] = []
        try:
            for route in self.routes.values():
                found.append(route)
                if len(found) == count:
                    break
        except RuntimeError:  # another thread added a route meanwhile
            pass
        return found

    # --- asking --------------------------------------------------------------------------------------------

    def route(self, route_id: str, telemetry: Telemetry, voltage: float = 60.0) -> Decision:
        """:meth:`update_physics` and a decision for ``voltage`` (volts) in one.

        Raises:
            ConfigurationError: an unusable route id or voltage.
        """
        check_number("voltage", voltage, 0.0, 1e6)
        route = self.find(route_id)
        now = self.now()
        route.feed(telemetry, now)
        return route.decide(float(voltage), now)

    @overload
    def protect(self, function: F, /) -> F: ...

    @overload
    def protect(
        self,
        route_id: RouteId = ...,
        *,
        tier: TierLike | None = ...,
        key: Callable[..., Key | None] | None = ...,
        ignore: type[BaseException] | tuple[type[BaseException], ...] = ...,
        failure: Callable[[Any], object] | None = ...,
        fallback: Callable[..., Any] | None = ...,
    ) -> Callable[[F], F]: ...

    def protect(
        self,
        route_id: Any = _BY_NAME,
        *,
        tier: TierLike | None = None,
        key: Callable[..., Key | None] | None = None,
        ignore: type[BaseException] | tuple[type[BaseException], ...] = (),
        failure: Callable[[Any], object] | None = None,
        fallback: Callable[..., Any] | None = None,
    ) -> Any:
        """A decorator for functions of any kind that admits and measures every call.

        Without a route id, also as a bare ``@atrion.protect``, the route is the function's qualified name. Coroutines
        are in flight until they are done and generators until they are exhausted, closed or fail, and so are
        awaitables, generators and futures that a function returns.

        Args:
            route_id: The route.
            tier: The tier of its calls; None takes the route's own: normal, unless configured otherwise.
            key: Called with the arguments of a call, gives the caller's stable name, or None.
            ignore: Classes of exceptions that are the caller's fault and say nothing of the dependency.
            failure: Called with a result, says whether it is a failure although nothing was raised.
            fallback: Called with the same arguments in place of a call that is shed; without it, ``FlowRejected`` is
                raised. An async function's fallback may be async or plain.

        What ``key`` or ``failure`` raise is logged once and harms no call.

        Raises:
            ConfigurationError: an unusable route id, tier or option; when decorating, something that cannot be guarded.
        """
        start = OWN_TIER if tier is None else band(level_of(tier))
        options = options_from(key, ignore, failure, fallback)
        if self.disabled:
            return _unchanged if isinstance(route_id, str) or route_id is _BY_NAME else route_id
        if isinstance(route_id, str):
            calls = self._calls(route_id, start)
            return lambda function: protect(function, calls, options)
        if route_id is _BY_NAME:
            return lambda function: protect(function, self._calls(qualified_name(function), start), options)
        if not (callable(route_id) or hasattr(route_id, "__get__")):
            check_name("route_id", route_id)
        return protect(
            route_id, self._calls(qualified_name(route_id), start), options
        )  # bare: it is the function

    def _calls(self, route_id: str, start: float) -> CallFactory:
        route = self.find(route_id)
        route.pinned = True
        return CallFactory(route, start, self)

    def select(self, routes: Sequence[str], *, beta: float = 0.1, u: float | None = None) -> str:
        """Choose one of ``routes`` by softmax over their resistances; β per ohm; broken routes are left out.

        Raises:
            ConfigurationError: no route given, or an unusable β.
            FlowRejected: every route is in CIRCUIT_BREAKER.
        """
        check_number("beta", beta, 0.0)
        if not routes:
            raise ConfigurationError("routes", routes, "give at least one route id")
        now = self.now()
        found = [self.find(route_id) for route_id in routes]
        for route in found:
            route.advance(now)
        for route in found:
            if route.broken and route.offer_probe(now):
                return route.id  # a probe, so that a broken route is measured and can come back
        open_routes = [route for route in found if not route.broken]
        if not open_routes:
            open_routes = [route for route in found if not route.settings.enforce]
        if not open_routes:
            soonest = min(
                (route.rejection(0.0) for route in found), key=lambda decision: decision.retry_after
            )
            raise FlowRejected(soonest)
        if u is None:
            # A dither of its own: a route's is also drawn from by its requests, and would correlate with them.
            self._place = place = (self._place + DITHER) % 1.0
        else:
            place = u
        shares = route_probabilities([route.resistance() for route in open_routes], beta)
        for route, share in zip(open_routes, shares, strict=True):
            if share < STARVED and route.offer_probe(now):
                return route.id  # likewise for one that chance alone would hardly ever try again
        for route, share in zip(open_routes, shares, strict=True):
            place -= share
            if place < 0.0:
                return route.id
        return open_routes[-1].id

    # --- looking -------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, RouteSnapshot]:
        """Every route as data."""
        now = self.now()  # in a child process, its own life begins here
        routes = list(self.routes.values())
        for route in routes:
            route.advance(now)  # one that rests decays when it is looked at
        return {route.id: snapshot_of(route) for route in routes}

    def reset(self, route_id: str | None = None) -> None:
        """Forget what one route, or every route, has learnt."""
        routes = list(self.routes.values()) if route_id is None else [self.find(route_id)]
        for route in routes:
            route.reset(route.settings, self.now())

    def restore(self, route_id: str, vector: PhysicsVector, age: float = 0.0) -> None:
        """Let a route begin with a persisted scar, ``age`` seconds old; what is not finite and ≥ 0 is passed over."""
        self.find(route_id).restore(vector, age)

    # --- the pulse -----------------------------------------------------------------------------------------

    async def _turn(self) -> bool:
        self._report_unused(self.now())  # the time is asked for as in snapshot()
        return await self.state.pulse()

    async def pulse_once(self) -> bool:
        """One pulse, now: push, pull, blend. Says whether the store answered; never raises."""
        return await self._pulse.once()

    async def connect(self) -> None:
        """Connect, recall what is known, and start the pulse as a task; a store that is down is no error.

        Entering counts: the pulse goes on until :meth:`disconnect` was called as often, ``with`` and ``async with``
        included.
        """
        self._pulsed = False  # the child of a process that pulsed does so by its own will now
        if not self.disabled:
            await self._pulse.join()

    async def disconnect(self) -> None:
        """Leave; the last one to do so stops the pulse, flushes once and leaves the store, all within a second.

        Being cancelled meanwhile changes nothing of that, and is raised at its end.
        """
        if not self.disabled:
            await self._pulse.part()

    async def _leave(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                if self.state.healthy:
                    await self._pulse.once()
        await self._disconnect()

    async def _disconnect(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.4):
                await self.state.disconnect()

    async def _enter(self) -> None:
        try:
            await self.state.connect()
        except BaseException:  # cancelled
            await to_the_end(self._disconnect())
            raise
        for route in list(self.routes.values()):
            remembered = self.state.recollect(route.id)
            if remembered is not None and route.state.mode is Mode.BOOTSTRAP:
                route.restore(*remembered)

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.disconnect()

    def __enter__(self) -> Self:
        self._pulsed = False
        if not self.disabled:
            self._pulse.join_thread()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.disabled:
            self._pulse.part_thread()

    # --- forks ---------------------------------------------------------------------------------------------

    def _after_fork(self) -> None:
        """In a child, which may never use the engine and so must not wait: its own life begins when it does."""
        if self._named:
            self.node = self.state.node = self._pulse.node = uuid.uuid4().hex[:12]
        self._pulsed = self._pulse.abandon() or self._pulsed
        self.now = self._first_now

    def _first_now(self) -> float:
        """The time, for the first call in a child: the parent's calls are not ours, and its pulse is gone."""
        now = self._clock.monotonic
        if self.now != now:
            self.now = now
            for route in list(self.routes.values()):
                route.window.in_flight = route.pool.window.in_flight = route.streaming = 0
            if self._pulsed:
                self._pulsed = False
                self._pulse.join_thread(wait=False)
        return now()


def _after_fork_in_child() -> None:
    for engine in list(_engines):
        engine._after_fork()


at_fork(_after_fork_in_child)
