"""The engine: the one place where routes, stores, the pulse and observers are put together."""

from __future__ import annotations

import logging
import math
import os
import uuid
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeVar, overload

from atrion._platform import at_fork
from atrion.config import Config, ConfigSource, Switches
from atrion.control.base import EngineBase, Key, RouteId, start_of
from atrion.control.budget import limits_from
from atrion.control.counters import Counters
from atrion.control.decision import Decision, Reason
from atrion.control.decorators import BY_NAME, decorator, options_from
from atrion.control.listener import RouteListener
from atrion.control.observer import AnyObserver, Observers
from atrion.control.profiles import ProfileLike, profile_of
from atrion.control.reasons import decide, decision_of
from atrion.control.route import Route
from atrion.control.route_log import log_breaker, log_shedding
from atrion.control.rules import RouteRules
from atrion.control.selection import Selector
from atrion.control.settings import MAX_ROUTE_ID, Settings, check_name
from atrion.control.shedding import Shedding
from atrion.control.snapshot import RouteSnapshot
from atrion.control.totals import Totals
from atrion.errors import ConfigurationError
from atrion.physics.config import SLO, PhysicsConfig, check_number
from atrion.physics.modes import Mode
from atrion.physics.voltage import BAND_WIDTH, TierLike, band, level_of
from atrion.providers.licences import use_license
from atrion.providers.provider_urls import provider_from
from atrion.sensing.telemetry import Telemetry
from atrion.state.clock import Clock, SystemClock
from atrion.state.lifecycle import Lifecycle
from atrion.state.manager import StateManager
from atrion.state.port import ClusterSync, PhysicsVector, StateProvider
from atrion.vitals import VitalsPublisher, route_vitals
from atrion.workload.lease import Lease
from atrion.workload.manager import LeaseManager
from atrion.workload.swarm import Swarm
from atrion.workload.view import LeaseSnapshot

__all__ = ["MAX_ROUTE_ID", "Atrion", "RouteSnapshot", "check_name", "engines", "on_engine"]

logger: logging.Logger = logging.getLogger("atrion")

F = TypeVar("F", bound=Callable[..., Any])

UNUSED_AFTER: Final = 300.0
"""Seconds after which ids and patterns that never matched a route are logged."""
_engines: weakref.WeakSet[Atrion] = weakref.WeakSet()
_begins: list[Callable[[Atrion], None]] = []


def engines() -> list[Atrion]:
    """The engines of this process."""
    return list(_engines)


def on_engine(begin: Callable[[Atrion], None]) -> Callable[[], None]:
    """Call ``begin`` with every engine that is made from now on; returns a function that ends this."""
    _begins.append(begin)
    return lambda: _begins.remove(begin) if begin in _begins else None


class _Events(RouteListener):
    """Passes the events of routes on to their engine, as long as the engine is alive."""

    def __init__(self) -> None:
        super().__init__()
        self.engine: Callable[[], Atrion | None] = lambda: None
        """A weak reference to the engine."""

    def on_created(self, route: Route) -> None:
        engine = self.engine()
        if engine is not None:
            if engine.evicted is not None:
                route.counters = Counters(route.window)
            engine._recall(route)
            engine.state.routes.add(route)
            engine._report_unused(route.used)

    def on_active(self, route: Route) -> None:
        engine = self.engine()
        if engine is not None:
            engine.state.routes.activate(route)

    def on_jump(self, route: Route) -> None:
        engine = self.engine()
        if engine is not None and engine._wakes:
            engine._pulse.wake()

    def on_tick(self, route: Route, mode_before: int) -> None:
        engine = self.engine()
        if engine is not None:
            engine._observers.ticked(route, mode_before)

    def on_decision(self, route: Route, volts: float, verdict: int, cost: float) -> None:
        engine = self.engine()
        if engine is not None:
            engine._observers.decided(decision_of(route, volts, verdict, cost))

    def on_shed(self, route: Route, volts: float, reason: Reason | None) -> None:
        engine = self.engine()
        if engine is not None:
            engine._observers.shed(route, volts, reason)

    def on_evicted(self, route: Route) -> None:
        engine = self.engine()
        if engine is not None and engine.evicted is not None:
            engine.evicted.add(route)

    def on_breaker(self, route: Route, opened: bool) -> None:
        log_breaker(route, opened)

    def on_shedding(self, route: Route, shedding: Shedding, ended: bool) -> None:
        log_shedding(route, shedding, ended)


class Atrion(EngineBase):
    """Adaptive admission control over any number of routes.

    Args:
        provider: Where state lives and is shared: None (this process), a URL, or a provider.
        persistence: An optional second store, a URL or a provider, for persistence only.
        config: Constants of the laws.
        slo: The promise of every route that has no other.
        gamma: γ in [0, 1], the weight of the cluster's scar tissue; None takes the provider's own, else 0.3.
        node: The name of this process among those that share the provider; unique by default.
        max_routes: Most routes kept, ≥ 1; the least recently used route is evicted first.
        interval: Seconds between pulses, in (0, 3600]; None takes the provider's own, else 0.1.
        clock: The clocks; the machine's by default.
        enforce: False for shadow mode: everything is decided, counted and reported, and nothing is shed.
        license: The licence key, for providers that take one; None leaves it to ``ATRION_LICENSE_KEY``.

    Operators have two environment variables: ``ATRION_ENFORCE=0`` turns shadow mode on for every route, whatever the
    code says, and ``ATRION_DISABLED=1`` turns the engine off altogether.

    Raises:
        ConfigurationError: a value is unusable, or the licence key is malformed, wrongly signed or not yet valid.
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
        license: str | None = None,
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
        given: dict[str, Any] = {
            "config": config or PhysicsConfig(),
            "slo": slo or SLO(),
            "gamma": gamma,
            "enforce": enforce,
        }
        Settings(**given)  # refuses unusable values before the environment replaces them
        if switches.enforce is not None:
            given["enforce"] = switches.enforce
        rules = RouteRules(given, enforced=not switches.disabled and switches.enforce is not False)
        self._clock: Clock = SystemClock() if clock is None else clock
        events = _Events()
        super().__init__(self._clock.monotonic, self._clock.wall, rules, max_routes, events)
        self._observers = Observers(events)
        self._leases = LeaseManager(self.now(), watched=isinstance(self._clock, SystemClock))
        self.evicted: Totals | None = None
        """What evicted routes have counted; None while nobody counts."""
        self._selector = Selector()
        self._auto_named = node is None
        self.node: str = node or _new_node()
        persistent = None
        if persistence is not None and not switches.disabled:
            persistent = provider_from(persistence, "persistence")
        refused, license = use_license(license, store, persistent), None  # no traceback shows the key
        if refused is not None:
            raise refused
        self.state: StateManager = StateManager(
            store, self.node, self._clock.monotonic, persistent, max_routes, routes=self.routes
        )
        self._vitals_publisher = VitalsPublisher(store, self._clock.monotonic)
        self._lifecycle = Lifecycle(self.state, interval, self._turn, self._recall_all)
        self._pulse = self._lifecycle.pulse
        self.pulse_seconds: float = 0.0
        """Duration of the last pulse."""
        self.answered: float | None = None
        """When the store last answered a pulse, by ``self.now``."""
        self._looks: list[Callable[[], None]] = []
        self._wakes = isinstance(store, ClusterSync)
        self._unused_due = self.now() + UNUSED_AFTER
        if switches.disabled:
            self._bypass = Route("", rules.settings(""), self._pools, self.now(), events)
            logger.warning("ATRION_DISABLED is set: nothing is guarded")
        elif switches.enforce is False:
            logger.warning("ATRION_ENFORCE is 0: nothing is shed")
        events.engine = weakref.ref(self)
        _engines.add(self)
        for begin in tuple(_begins):
            try:
                begin(self)
            except Exception:
                logger.exception("an engine goes on without its instruments")

    @classmethod
    def from_config(cls, source: ConfigSource | None = None, **arguments: Any) -> Self:
        """An engine configured by TOML and the environment.

        Args:
            source: A TOML file, whose settings are in its table ``[tool.atrion]`` if it has one, or a mapping of the
                same settings, or None for the environment alone.
            arguments: Arguments of :class:`Atrion`, which override everything else.

        Environment variables such as ``ATRION_GAMMA`` and ``ATRION_SLO_LATENCY`` override ``source``.

        Raises:
            ConfigurationError: the file cannot be read, or a key or value is unusable; the message names its place.
        """
        config = Config(source, os.environ)
        engine: Self = config.engine.make(cls, **arguments)
        for pattern, settings in config.routes.items():
            settings.make(partial(engine.configure, pattern))
        return engine

    # --- settings ------------------------------------------------------------------------------------------

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
        profile: ProfileLike | None = None,
    ) -> None:
        """Set options of one route, or of all routes whose ids match a pattern such as ``"GET /reports/*"``.

        ``*`` matches any characters. Each option of a route comes from the most specific rule that sets it: the route's
        id, else the matching pattern with the most other characters, else the engine. Existing routes follow at once;
        they start anew unless only ``tier``, ``enforce`` or ``profile`` changes.

        Args:
            route_id: The route, or a pattern.
            slo: What the route promises.
            config: Constants of the laws.
            gamma: γ in [0, 1].
            shared: False if the route's scars are not shared with other nodes.
            pool: A bottleneck, such as a database. The routes of one pool share its saturation, so that important
                requests on one of them pass before unimportant ones on the others.
            tier: The tier of requests that name none.
            enforce: False for shadow mode.
            profile: What is expected of the work: light, standard, heavy, extreme, or a :class:`~atrion.Profile`.

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
            "profile": profile,
        }
        self._rules.add(route_id, {name: value for name, value in options.items() if value is not None})
        self._apply_rules()

    def force(self, route_id: RouteId, floor: float) -> Callable[[], None]:
        """Shed every request up to ``floor`` volts on a route or pattern; returns a function that ends this.

        Breakers are open from 1000 V on. No probe passes, and what was learned does not change. For tests and drills;
        see :func:`atrion.testing.force_open` and :func:`atrion.testing.force_shed`.

        Raises:
            ConfigurationError: an unusable route id or floor.
        """
        check_name("route_id", route_id)
        check_number("floor", floor, 0.0, 1e6)
        release = self._rules.force(route_id, float(floor))
        self._apply_rules()

        def end() -> None:
            release()
            self._apply_rules()

        return end

    def _apply_rules(self) -> None:
        for route in list(self.routes.values()):
            settings = self._rules.settings(route.id, route.settings.pool)
            if settings is not route.settings:
                route.configure(settings, self.now())
        self.state.routes.changed()

    def default_pool(self, route_id: str, pool: str) -> None:
        """Put a new route into ``pool``, unless another one is configured for it; existing routes stay where they are.

        Raises:
            ConfigurationError: an unusable route id.
        """
        if route_id not in self.routes:
            route = self.find(route_id)
            route.configure(self._rules.settings(route_id, pool), self.now())

    def unused(self) -> tuple[str, ...]:
        """Configured ids and patterns that no route has matched so far, such as misspelt ones.

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

    def observe(self, observer: AnyObserver) -> Callable[[], None]:
        """Call an observer's methods on ticks, decisions, sheds and transitions; returns a function that ends this.

        The methods are those of :class:`~atrion.Observer`; any may be missing. What they raise is counted and never
        reaches a caller.

        Raises:
            ConfigurationError: the observer has none of them.
        """
        end = self._observers.add(observer)
        if self._observers.wants_sheds:
            self.count()  # routes tell of what they shed where they count it
        return end

    def count(self) -> None:
        """Count decisions by tier and reason, and calls by duration, from now on: see ``tiers`` in :meth:`snapshot`.

        Exporters of metrics call this. It cannot be undone, and calling it again changes nothing.
        """
        if self.evicted is None:
            self.evicted = Totals()  # new routes have counters from here on
            for route in list(self.routes.values()):
                if route.counters is None:
                    route.counters = Counters(route.window)

    def each_pulse(self, look: Callable[[], None]) -> None:
        """Call ``look`` after every pulse, in its thread. What it raises is counted and never reaches the pulse."""
        self._looks.append(look)

    # --- requests ------------------------------------------------------------------------------------------

    def route(self, route_id: str, telemetry: Telemetry, voltage: float = 60.0) -> Decision:
        """:meth:`update_physics`, and a decision for ``voltage`` (volts), in one call.

        Raises:
            ConfigurationError: an unusable route id or voltage.
        """
        check_number("voltage", voltage, 0.0, 1e6)
        route = self.find(route_id)
        now = self.now()
        route.feed(telemetry, now)
        return decide(route, float(voltage), now)

    @overload
    def protect(self, function: F, /) -> F: ...

    @overload
    def protect(
        self,
        route_id: RouteId = ...,
        *,
        tier: TierLike | None = ...,
        key: Callable[..., Key | None] | None = ...,
        cost: Callable[..., float | None] | None = ...,
        ignore: type[BaseException] | tuple[type[BaseException], ...] = ...,
        failure: Callable[[Any], object] | None = ...,
        fallback: Callable[..., Any] | None = ...,
    ) -> Callable[[F], F]: ...

    def protect(
        self,
        route_id: Any = BY_NAME,
        *,
        tier: TierLike | None = None,
        key: Callable[..., Key | None] | None = None,
        cost: Callable[..., float | None] | None = None,
        ignore: type[BaseException] | tuple[type[BaseException], ...] = (),
        failure: Callable[[Any], object] | None = None,
        fallback: Callable[..., Any] | None = None,
    ) -> Any:
        """A decorator that admits and measures every call of a function of any kind.

        Without a route id, also as a bare ``@atrion.protect``, the route is the function's qualified name. A call is in
        flight until its coroutine is done, its generator is exhausted, closed or failed, or the awaitable, generator or
        future that it returned is done.

        Args:
            route_id: The route.
            tier: The tier of the calls; None takes the route's own: normal, unless configured otherwise.
            key: A function of the call's arguments that returns the caller's stable name, or None.
            cost: A function of the call's arguments that returns what the call costs, from 1e-9 to 1e15 in a unit such
                as tokens, or None for the usual cost: see :meth:`flow`.
            ignore: Exception classes that are the caller's fault and do not count against the dependency.
            failure: A function of the result that returns whether it is a failure although nothing was raised.
            fallback: Called with the same arguments instead of a call that is shed; without it, ``FlowRejected`` is
                raised. An async function's fallback may be async or plain.

        Exceptions raised by ``key``, ``cost`` or ``failure`` are logged once and do not affect the call; a cost that is
        unusable is no cost.

        Raises:
            ConfigurationError: an unusable route id, tier or option; when decorating, an object that cannot be guarded.
        """
        return decorator(self, route_id, tier, options_from(key, cost, ignore, failure, fallback))

    def select(self, routes: Sequence[str], *, beta: float = 0.1, u: float | None = None) -> str:
        """Choose one of ``routes`` by softmax over their resistances; broken routes are only probed.

        A route whose dependency asked to be left alone, as by ``Retry-After``, is not chosen before that time is over,
        unless all others are broken. The routes are taken for alternatives: they share no bottleneck unless a ``pool``
        is configured for them.

        Args:
            routes: Route ids, at least one.
            beta: β per ohm, ≥ 0; the higher, the more the least resistance is preferred.
            u: A number in [0, 1) that decides, for reproducible choices.

        Raises:
            ConfigurationError: no route given, or an unusable β.
            FlowRejected: every route is in CIRCUIT_BREAKER.
        """
        check_number("beta", beta, 0.0)
        if not routes:
            raise ConfigurationError("routes", routes, "give at least one route id")
        now = self.now()
        return self._selector.select([self.find(route_id) for route_id in routes], beta, u, now).id

    # --- long work -----------------------------------------------------------------------------------------

    def lease(
        self,
        route_id: RouteId,
        tier: TierLike | None = None,
        *,
        key: Key | None = None,
        place: float | None = None,
        profile: ProfileLike | None = None,
        budget: Mapping[str, float] | None = None,
        soft: float = 0.8,
        interruptible: bool = False,
    ) -> Lease:
        """Long work, for ``with`` or ``async with``; entering raises :class:`FlowRejected` if it is shed.

        It is admitted like a :meth:`flow`. Its holder calls :meth:`~atrion.Lease.heartbeat` from time to time, with its
        progress and use; a lease without heartbeats expires, and is counted again from the next one on. A lease near
        the end of its budget raises the route's resistance, and one that has used it up is cancelled: in asyncio, the
        ``async with`` block is, and raises :class:`~atrion.LeaseCancelled`; elsewhere, ``lease.cancelled`` is set and
        ``lease.check()`` raises. Shadow mode cancels nothing.

        Args:
            route_id: The route.
            tier: The tier; None takes that of the request being served, else the route's own: normal, unless configured
                otherwise.
            key: The caller's stable name.
            place: A place in the tier's band, in [0, 1), that counts more than a key.
            profile: What is expected of this lease; None takes the route's profile.
            budget: Hard limits by resource, > 0. ``seconds`` are measured, others are what the holder tells; ``memory``
                is given back at the end.
            soft: Share of a limit, in (0, 1], from which the lease raises resistance.
            interruptible: Whether the lease may be cancelled if it is asked to stop and does not do so within the
                profile's ``grace``.

        Raises:
            ConfigurationError: a value is unusable.
        """
        check_number("soft", soft, 0.0, 1.0, above=True)
        if place is None:
            place = self.place(route_id, key)
        route = self.find(route_id)
        start = start_of(route) if tier is None else band(level_of(tier))
        return Lease(
            self._leases,
            self._read_clock,
            route,
            start + BAND_WIDTH * place,
            None if profile is None else profile_of(profile),
            limits_from(budget),
            float(soft),
            interruptible,
            self.disabled,
        )

    def _read_clock(self) -> float:
        return self.now()  # which a forked child replaces

    def leases(self) -> tuple[LeaseSnapshot, ...]:
        """The leases that are held now, in the order in which they began."""
        return self._leases.snapshot(self.now())

    def swarm(
        self, route_id: RouteId, *, budget: Mapping[str, float] | None = None, soft: float = 0.8
    ) -> Swarm:
        """Workers that share a budget, such as the agents of one task, for ``with`` or ``async with``.

        Each member is a lease: ``async with swarm.member(tier="low") as member``. From the soft budget on, members of
        the lowest tiers are refused and asked to stop first; when a resource is used up, all are cancelled.

        Args:
            route_id: The route of the members.
            budget: Hard limits of all together, by resource, > 0; ``members`` is how many there may be at a time.
            soft: Share of a limit, in (0, 1], from which low tiers are refused.

        Raises:
            ConfigurationError: a value is unusable.
        """
        check_number("soft", soft, 0.0, 1.0, above=True)
        name = self.find(route_id).id
        return Swarm(self._leases, self._read_clock, name, limits_from(budget), float(soft), self.lease)

    # --- state ---------------------------------------------------------------------------------------------

    def restore(self, route_id: str, vector: PhysicsVector, age: float = 0.0) -> None:
        """Start a route with a persisted scar that is ``age`` seconds old.

        A vector or age that is not finite and at least 0 is ignored.
        """
        self.find(route_id).restore(vector, age)

    def _recall(self, route: Route) -> None:
        """Start a route with what the stores remember of it."""
        remembered = self.state.recollect(route.id)
        if remembered is not None and route.model.state.mode is Mode.BOOTSTRAP:
            route.restore(*remembered)

    def _recall_all(self) -> None:
        for route in list(self.routes.values()):
            self._recall(route)

    # --- life ----------------------------------------------------------------------------------------------

    @property
    def observer_failures(self) -> int:
        """Exceptions of observers so far."""
        return self._observers.failures

    @property
    def pulses(self) -> int:
        """Pulses so far, also those that the store did not answer."""
        return self._pulse.turns

    async def _turn(self) -> bool:
        self._report_unused(self.now())
        began = self.now()
        self._leases.review(began)
        answered = await self.state.pulse()
        ended = self.now()
        self.pulse_seconds = max(ended - began, 0.0)
        for look in list(self._looks):
            try:
                look()
            except Exception:
                self._observers.failed()
        if answered:
            self.answered = ended
            await self._vitals_publisher.turn(self.node, self._vitals)
        return answered

    def _vitals(self) -> dict[str, dict[str, Any]]:
        self.count()  # somebody watches
        routes = self.routes
        return {
            route_id: route_vitals(route, seen)
            for route_id, seen in self.snapshot().items()
            if (route := routes.get(route_id)) is not None
        }

    async def pulse_once(self) -> bool:
        """Push, pull and blend once, now. Returns whether the store answered; never raises."""
        return await self._pulse.once()

    async def connect(self) -> None:
        """Connect, recall what the stores know, and start the pulse as a task. A store that is down is no error.

        Entries count: the pulse runs until :meth:`disconnect` was called as often. ``with`` and ``async with`` are
        entries, too.
        """
        if not self.disabled:
            await self._lifecycle.enter()

    async def disconnect(self) -> None:
        """Leave; the last one to leave stops the pulse, flushes once and disconnects, all within a second.

        A cancellation meanwhile is raised at the end.
        """
        if not self.disabled:
            await self._lifecycle.exit()

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.disconnect()

    def __enter__(self) -> Self:
        if not self.disabled:
            self._lifecycle.enter_thread()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.disabled:
            self._lifecycle.exit_thread()

    # --- forks ---------------------------------------------------------------------------------------------

    def _after_fork(self) -> None:
        """In a child, which may never use the engine: do the least now, and the rest at its first use."""
        if self._auto_named:
            self.node = _new_node()
        self._lifecycle.after_fork(self.node)
        self._leases.after_fork(self._clock.monotonic())
        self.now = self._first_now

    def _first_now(self) -> float:
        """The time, for the first use in a child: the parent's calls end in the parent, and its pulse is gone."""
        now = self._clock.monotonic
        if self.now != now:
            self.now = now
            for route in list(self.routes.values()):
                route.window.in_flight = route.window.streaming = 0
                route.pool.window.in_flight = route.pool.places = 0
                route.pool.surplus = 0.0
                if route.costs is not None:
                    route.costs.drop()
                if self.evicted is not None:
                    route.counters = Counters(route.window)
            if self.evicted is not None:
                self.evicted = Totals()
            self._lifecycle.resume()
        return now()


def _new_node() -> str:
    return uuid.uuid4().hex[:12]


def _after_fork_in_child() -> None:
    for engine in list(_engines):
        engine._after_fork()


at_fork(_after_fork_in_child)
