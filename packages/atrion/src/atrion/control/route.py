"""The controller of one route: sensing in, physics forward, admission out. Pure: callers pass the time. Compiled."""

from __future__ import annotations

from typing import Final, final

from atrion.control.counters import Counters
from atrion.control.decision import Reason
from atrion.control.held import Held
from atrion.control.listener import RouteListener
from atrion.control.model import RouteModel
from atrion.control.pool import Pool
from atrion.control.pools import ALONE, Membership, Pools
from atrion.control.probes import Probes
from atrion.control.process import Process
from atrion.control.settings import OPEN, Settings
from atrion.control.shedding import Shedding
from atrion.physics.voltage import level_at
from atrion.sensing.costs import Costs
from atrion.sensing.telemetry import Telemetry
from atrion.sensing.window import Window
from atrion.state.blending import EVIDENCE_CAP
from atrion.state.port import NodeRow, PhysicsVector
from atrion.state.published_state import DEADBAND, PublishedState

__all__ = ["ADMITTED", "DITHER", "INITIAL_RATIO", "PROBING", "SHED", "Route"]

OPERATIONAL: Final = 1
CIRCUIT_BREAKER: Final = 2
SUCCESS: Final = 0
FAILURE: Final = 1
IGNORED: Final = 2
DROPPED: Final = 3
CLUSTER: Final = Reason.CLUSTER
SATURATED: Final = Reason.SATURATED
PROCESS_SATURATED: Final = Reason.PROCESS_SATURATED
# Verdicts on a request.
SHED: Final = 0
ADMITTED: Final = 1
PROBING: Final = 2

PROBES_IN_FLIGHT: Final = 8
"""Calls in flight beyond the limit from which on no probe is needed: the calls in flight are measurement enough."""
STEP_BACK: Final = 1.0
"""Seconds by which a time may precede the last one: a thread may be delayed between reading the clock and using it.
An earlier time means that the clock was set back."""
NOT_CRITICAL: Final = 91.9
"""Volts just below the critical band: while the capacity dips, only critical requests pass."""
SHED_ALL: Final = 1000.0
"""Ohms above every voltage, for the moments in which even critical requests would prolong a dip."""
PLACES: Final = 0.5
"""Share of a pool's capacity that leases may take up."""
INITIAL_RATIO: Final = 1.2
"""Resistance of a new route, in multiples of R_base."""
DITHER: Final = 0.6180339887498949
"""The golden ratio's fraction: its successive multiples spread evenly over [0, 1)."""


@final
class Route:
    """One route's state. Times in seconds of one monotonic clock, resistance in ohms, voltage in volts.

    Attributes:
        window: The calls of the route since the last tick, and those in flight.
        pool: The pool whose queue the calls share.
        process: The process that serves the route, where an integration has named it.
        tick_resistance: Ohms without live saturation, constant between ticks.
        mode: The index of the mode it is in.
        broken: Whether the breaker is open.
        used: When a request last came.
        admitted: Calls admitted so far.
        leases: Counts of its leases; None until the first one.
        counters: Counts for metrics; None while nobody counts.
        epoch: How many pools the route has been in.
        pinned: Whether a decorated function refers to it, so that it is never evicted.
        nested: Whether its calls are made during another route's.
        apart: Whether it shares no unnamed pool: it is nested, or an alternative to other routes.
        costs: What its calls cost; None until one has a cost.
        at_rest: Whether the pulse passes over the route until :meth:`RouteListener.on_active`.
    """

    __slots__ = (
        "_dither",
        "_due",
        "_last_tick",
        "_listener",
        "_probes",
        "_shed",
        "_shedding",
        "admitted",
        "apart",
        "at_rest",
        "broken",
        "clock_faults",
        "costs",
        "counters",
        "epoch",
        "id",
        "leases",
        "membership",
        "mode",
        "model",
        "nested",
        "pinned",
        "pool",
        "pools",
        "process",
        "settings",
        "tick_resistance",
        "total_shed",
        "used",
        "window",
        "would_shed",
    )

    def __init__(
        self, route_id: str, settings: Settings, pools: Pools, now: float, listener: RouteListener
    ) -> None:
        # The fields of a decision come first, then those of every call: with many routes, a call waits for memory.
        self.id: str = route_id
        self.pool: Pool = pools.ranked(0, now)
        self.process: Process | None = None
        self.settings: Settings = settings
        self._listener: RouteListener = listener
        self.tick_resistance: float = 0.0
        self.mode: int = 0
        self.broken: bool = False
        self.pinned: bool = False  # beside the other flags, which share a word
        self.nested: bool = False
        self.apart: bool = False
        self.at_rest: bool = False
        self.counters: Counters | None = None
        self.used: float = now
        self._last_tick: float = now
        self._due: float = now
        self._dither: float = 0.5
        self.window: Window = Window()
        self.membership: Membership = Membership()
        self.admitted: int = 0
        self.epoch: int = 0
        self._shedding: Shedding | None = None  # most routes never shed
        self._probes: Probes | None = None
        self.costs: Costs | None = None
        self.clock_faults: int = 0
        self.total_shed: int = 0
        self.would_shed: int = 0
        self.leases: Held | None = None
        self.pools: Pools = pools
        self.pool.members += 1
        self.model: RouteModel = RouteModel(settings, now)
        self.reset(settings, now)

    def reset(self, settings: Settings, now: float) -> None:
        """Forget what was learned, and start with ``settings``; calls in flight stay counted.

        What a pool has learned with other routes stays.
        """
        self.settings = settings
        self.membership.leave(self.pool)
        self.membership = Membership()
        if self.costs is not None:
            self.costs.forget()
        if self.pool.members == 1:
            self.pool.forget(now)
        if settings.pool is not None:
            self._join(self.pools.named(settings.pool, now))
        else:
            self._move(ALONE if self.apart else 0, now)
        self.model.reset(settings, now)
        self._probes = None
        self._set_last_tick(now)
        self._shed: int = 0
        self._refresh_cache()
        self._notify_active()

    def configure(self, settings: Settings, now: float) -> None:
        """Apply new ``settings``; the route starts anew if they change what is learned."""
        if settings.learns_like(self.settings):
            self.settings = settings
            self._set_last_tick(self._last_tick)
            self._refresh_cache()
        else:
            self.reset(settings, now)

    # --- pools ---------------------------------------------------------------------------------------------

    def _join(self, pool: Pool) -> None:
        """Move to ``pool``, with the calls in flight."""
        if pool is self.pool:
            return
        # No function is called before the pool is assigned, so no other thread's call begins or ends meanwhile.
        old = self.pool
        calls = self.window.in_flight
        leases = self.leases
        if leases is not None:
            calls += leases.places
            old.places -= leases.places
            pool.places += leases.places
        old.window.in_flight -= calls
        pool.window.in_flight += calls
        costs = self.costs
        if costs is not None:
            old.surplus -= costs.surplus
            pool.surplus += costs.surplus
        old.members -= 1
        pool.members += 1
        self.epoch += 1
        self.pool = pool
        self.membership.leave(old)

    def _move(self, rank: int, now: float) -> None:
        """Move to the unnamed pool of ``rank``."""
        membership = self.membership
        pool = membership.alone
        if rank < ALONE:
            pool = self.pools.ranked(rank, now)
        elif pool is None:
            pool = membership.alone = Pool(now, ALONE)
        self._join(pool)
        membership.move_to(rank)
        if rank > 0:
            pool.capacity.carry(pool.load())

    def _review(self, now: float, dt: float) -> None:
        """Move to the pool where the evidence says that the route belongs, unless its pool is configured."""
        if self.settings.pool is not None or self.apart:
            return
        membership = self.membership
        failing = self.model.pressure.error > 0.0
        first = self.pools.ranked(0, now)
        rank = membership.review(self.pool, first, self._load(), failing, now, dt)
        if rank != membership.rank:
            self._move(rank, now)

    def detach(self) -> None:
        """Leave the pool for good: the route is dropped. It has no leases."""
        self.pool.window.in_flight -= self.window.in_flight
        if self.costs is not None:
            self.pool.surplus -= self.costs.surplus
        self.pool.members -= 1
        self.membership.leave(self.pool)
        if self._shedding is not None and self._shedding.reported:
            self._listener.on_shedding(self, self._shedding, True)
        if self.counters is not None:
            self._listener.on_evicted(self)

    def nest_in(self, outer: Route) -> None:
        """Calls of this route are made during calls of ``outer``: what waits here is in flight there as well.

        The two share no unnamed pool: one would be shed because of the other.
        """
        if outer is not self and not self.nested:
            self.nested = True
            self.set_apart()

    def set_apart(self) -> None:
        """Share no unnamed pool with other routes from now on."""
        if not self.apart:
            self.apart = True
            if self.settings.pool is None:
                self._move(ALONE, self._last_tick)

    # --- ticks ---------------------------------------------------------------------------------------------

    def feed(self, telemetry: Telemetry, now: float) -> None:
        """Take a caller's own sample; values that are not usable are dropped and counted."""
        self.model.add_sample(telemetry)
        self.advance(now)

    def due(self, now: float) -> bool:
        """Whether a tick has passed since the law last advanced, or the clock was set back."""
        return now >= self._due or now < self._last_tick - STEP_BACK

    def _set_last_tick(self, now: float) -> None:
        self._last_tick = now
        # A thousandth less than a tick, so that a caller who calls once a tick is never late by rounding.
        self._due = now + 0.999 * self.settings.constants.tick

    def advance(self, now: float) -> bool:
        """Advance the law if a tick is due; returns whether it was."""
        if not self.due(now):
            return False
        dt = now - self._last_tick
        self._set_last_tick(now)
        model = self.model
        if not dt >= 0.0:
            self.clock_faults += 1
            dt = 0.0
            model.last_sample = now
            if self._probes is not None:
                self._probes.restart(now)
        if self.process is not None:
            self.process.expire(now)
        settings = self.settings
        samples = self._read(now, dt)
        before = self.mode
        jumped = model.step(self.window, settings, now, dt, samples)
        if self._probes is not None:
            late = model.pressure.late_calls()
            self._probes.learn(self.window.window_successes - late, self.window.window_failures + late)
        self._review(now, dt)
        self._refresh_cache()
        listener = self._listener
        if jumped and settings.shared:
            listener.on_jump(self)
        self._shed = 0
        self._notify_active()
        after = self.mode
        if self._shedding is not None or before != after:
            self._report(now, before)
        if before != after and self.counters is not None:
            self.counters.transitions[after] += 1
        if listener.wants_ticks:
            listener.on_tick(self, before)
        return True

    def _read(self, now: float, dt: float) -> int:
        """Take the pressure from the callers' samples if there are any, else from the route's own calls."""
        window = self.window
        model = self.model
        window.roll()
        if model.has_samples():
            return model.read_samples(self.settings, dt, self._shed)
        membership = self.membership
        if self.costs is not None:
            shrunk = self.costs.shrunk()
            if membership.contrast is not None:
                membership.contrast.rescale(shrunk)
        self.pool.advance(now, self.settings)
        membership.average(window.window_successes, window.window_latency)
        calls = self.admitted if self.leases is None else self.admitted - self.leases.begun
        return model.pressure.read_calls(window, calls, self.settings, now, dt, membership.latency)

    def _report(self, now: float, before: int) -> None:
        """Tell the listener what has begun or ended with this tick; ``before`` it, the mode had this index."""
        mode = self.mode
        if mode != before and CIRCUIT_BREAKER in {mode, before}:
            self._listener.on_breaker(self, mode == CIRCUIT_BREAKER)
        shedding = self._shedding
        if shedding is None:
            return
        if not shedding.reported:
            shedding.reported = True
            self._listener.on_shedding(self, shedding, False)
        elif shedding.is_over(now):
            self._shedding = None
            self._listener.on_shedding(self, shedding, True)

    def _refresh_cache(self) -> None:
        """Store what decisions read until the next tick."""
        self.refresh()
        self.broken = self.mode == CIRCUIT_BREAKER or self.settings.floor >= OPEN

    def refresh(self) -> None:
        """Compute the resistance of the last tick anew, and store the mode beside it, where decisions find it."""
        self.mode = self.model.state.mode_index
        ohms = self.model.tick_resistance(self.settings)
        self.tick_resistance = ohms if self.leases is None else ohms + self.leases.ohms()

    def _notify_active(self) -> None:
        """Let the pulse visit this route, which it passes over while the route is at rest."""
        if self.at_rest:
            self._listener.on_active(self)

    def rests(self, now: float) -> bool:
        """Whether the tick that is due would only decay what was learned, which can be caught up with later."""
        model = self.model
        return (
            self.due(now)
            and model.last_sample < self._last_tick
            and self.window.is_empty()
            and self._shed == 0
            and self._shedding is None
            and not model.has_samples()
            and self.mode == OPERATIONAL
            and model.state.adaptive is None  # it learns what is normal from every tick
            and model.observations <= EVIDENCE_CAP
            # Observers of ticks see a scar heal to its end.
            and (not self._listener.wants_ticks or model.state.scar_tissue + model.cluster_scar < DEADBAND)
        )

    # --- sharing -------------------------------------------------------------------------------------------

    @property
    def shared(self) -> bool:
        """Whether other nodes learn from this route, and it from them."""
        return self.settings.shared

    def blended_scar(self) -> float:
        """Scar tissue blended with the cluster's, in ohms."""
        return self.model.blended_scar(self.settings)

    def apply_cluster_scar(self, scar: float, evidence: float) -> None:
        """Take the other nodes' opinion: scar tissue in ohms, and their evidence."""
        self.model.set_cluster_scar(scar, evidence, self.settings)
        self.refresh()

    def vector(self) -> PhysicsVector:
        """This node's own vector."""
        return self.model.vector(self._last_tick)

    def to_row(self) -> NodeRow:
        """This node's opinion of the route, as it is shared."""
        return NodeRow(self.vector(), self.model.observations, self.settings.constants.decay_rate)

    def needs_publish(self, published: PublishedState) -> bool:
        """Whether the route differs from what decay has made of its ``published`` copy."""
        model = self.model
        return not published.explains(model.state.scar_tissue, model.observations, self._last_tick)

    def restore(self, vector: PhysicsVector, age: float) -> None:
        """Start with a persisted scar that is ``age`` seconds old; an implausible one is ignored."""
        if self.model.restore(vector, age, self.settings.constants.decay_rate):
            self._refresh_cache()
            self._notify_active()

    # --- admission -----------------------------------------------------------------------------------------

    def _load(self) -> float:
        """The route's calls in flight, each counted by its cost where that is known."""
        costs = self.costs
        return self.window.in_flight + (0.0 if costs is None else costs.surplus)

    def resistance(self, cost: float = 0.0) -> float:
        """Resistance at this instant, in ohms: the last tick's, plus the saturation of the calls in flight now.

        A call of a ``cost`` meets the resistance of the room that it needs; 0 stands for the usual cost.
        """
        pool = self.pool
        in_flight = pool.window.in_flight + pool.surplus
        if cost > 0.0 and self.costs is not None:
            # A costly call is not shed for its own cost alone: it needs no more room than an empty pool has.
            spare = max(pool.capacity.limit - 1.0 - in_flight, 0.0)
            in_flight += min(self.costs.weight(cost) - 1.0, spare)
        ohms = self.tick_resistance
        if in_flight > pool.no_saturation_below and self._load() >= self.membership.share:
            ohms += self._saturation(in_flight)
        process = self.process
        if process is not None and process.ohms > 0.0:
            # The process and the bottleneck are two queues in a row: the longer one decides.
            ohms = max(ohms, self.settings.constants.base + process.ohms)
        return ohms

    def _saturation(self, in_flight: float) -> float:
        """Ohms for so many calls in flight."""
        pool = self.pool
        capacity = pool.capacity
        constants = self.settings.constants
        ohms = pool.saturation.ohms(
            capacity.overload_ratio(in_flight), constants.weight_saturation, constants.steepness
        )
        if capacity.dipping and in_flight >= capacity.unloaded_below:
            return SHED_ALL if capacity.stubborn() else max(ohms, NOT_CRITICAL - self.tick_resistance)
        return ohms

    def next_dither(self) -> float:
        """The next place in a band, in [0, 1), for a caller without a key."""
        value = self._dither + DITHER
        if value >= 1.0:
            value -= 1.0
        self._dither = value
        return value

    def admit(self, volts: float, now: float, cost: float = 0.0) -> float:
        """Begin a call if its ``volts`` flow now; returns what :meth:`begin` returns, or 0 if it is shed.

        Some requests that would be shed pass as probes, so that a failing route is still measured.
        """
        if self.judge(volts, now, cost) == SHED and self.settings.enforce:
            return 0.0
        return self.begin(now)

    def judge(self, volts: float, now: float, cost: float = 0.0) -> int:
        """The verdict on a request of ``volts`` and a ``cost``, 0 for the usual one: ADMITTED, PROBING or SHED."""
        if now >= self._due or now < self._last_tick - STEP_BACK:
            self.advance(now)
        self.used = now
        verdict = ADMITTED
        if volts <= self.resistance(cost) or self.broken:
            verdict = PROBING if self._try_probe(volts, now, cost) else SHED
        counters = self.counters
        if counters is not None and verdict != SHED:
            counters.count_admitted(volts, verdict == PROBING)
        listener = self._listener
        if listener.wants_decisions:
            listener.on_decision(self, volts, verdict, cost)
        return verdict

    def offer_probe(self, now: float) -> bool:
        """Whether a router should send a probe now; the next request that would be shed then passes."""
        self.used = now
        probes = self._get_probes()
        waiting = self.window.in_flight > 0
        if self.settings.floor > 0.0 or not probes.passes(now, self._overloaded(), waiting):
            return False
        probes.offered = True
        return True

    def _overloaded(self) -> bool:
        """Whether so many calls are in flight that they measure the route well enough."""
        pool = self.pool
        return pool.load() >= pool.capacity.limit + PROBES_IN_FLIGHT

    def _get_probes(self) -> Probes:
        """The route's probes, created when first needed."""
        if self._probes is None:
            self._probes = Probes(self.model.last_sample)
        return self._probes

    def _try_probe(self, volts: float, now: float, cost: float) -> bool:
        """Whether a request that does not flow passes as a probe; if not, it is counted as shed."""
        forced = volts < self.settings.floor
        probes = self._get_probes()
        if probes.take_offer() and not forced:
            return True
        # A route that is only overloaded needs no probe: the calls in flight measure it.
        failing = volts <= self.tick_resistance or self.broken
        if failing and not forced and probes.passes(now, self._overloaded()):
            return True
        if self.settings.enforce:
            self._shed += 1
            self.total_shed += 1
            self.pool.shed += 1
        else:
            self.would_shed += 1
        if self._shedding is None:
            self._shedding = Shedding(now, self.admitted)
        self._shedding.count(volts, now)
        if self.counters is not None:
            self._count_shed(volts, self.reason(self.resistance(cost)), self.settings.enforce)
        return False

    def refuse(self, volts: float, reason: Reason) -> None:
        """Count a request that was refused for a ``reason`` of its own, not for the resistance."""
        self.total_shed += 1
        self._count_shed(volts, reason, True)

    def _count_shed(self, volts: float, reason: Reason | None, enforced: bool) -> None:
        counters = self.counters
        if counters is not None:
            counters.count_shed(volts, reason, enforced)
            if self._listener.wants_sheds:
                self._listener.on_shed(self, volts, reason)

    def reason(self, resistance: float) -> Reason | None:
        """The largest contribution to ``resistance``, the ohms of this instant; None while they are a new route's."""
        constants = self.settings.constants
        if resistance <= INITIAL_RATIO * constants.base and not self.broken:
            return None
        model = self.model
        reason, ohms = model.pressure.worst(constants)
        scar = model.state.scar_tissue
        if scar >= max(ohms, 0.0):
            reason, ohms = model.scarred_by, scar
        pull = self.blended_scar() - scar
        if pull > ohms:
            reason, ohms = CLUSTER, pull
        if self.broken:
            return reason
        process = self.process
        if process is not None and process.ohms > 0.0 and constants.base + process.ohms >= resistance:
            return PROCESS_SATURATED
        live = resistance - self.tick_resistance
        if self.leases is not None:
            live += self.leases.ohms()
        return SATURATED if live > ohms else reason

    # --- calls ---------------------------------------------------------------------------------------------

    def begin(self, now: float) -> float:
        """Count a call as begun; returns the calls in flight with it, for :meth:`end`."""
        pool = self.pool
        met = pool.capacity.begin(pool.window.in_flight + pool.surplus, now)
        # No function is called between these lines: another thread could move the route to another pool meanwhile.
        pool = self.pool
        self.window.in_flight += 1
        pool.window.in_flight += 1
        self.admitted += 1
        return met

    def end(
        self,
        now: float,
        outcome: int,
        latency: float,
        weight: float,
        volts: float,
        met: float,
        epoch: int,
    ) -> None:
        """Count a call as ended after ``latency`` seconds; ``met`` and ``epoch`` are those of its beginning.

        It counts as ``weight`` calls: 1, or what :meth:`end_cost` has returned.
        """
        pool = self.pool
        capacity = pool.capacity
        # A call that began in another pool is no measurement of this one.
        measured = outcome if epoch == self.epoch else IGNORED
        contrast = self.membership.contrast
        level = 0
        if capacity.queue is not None:
            level = level_at(volts)
            if contrast is None:
                contrast = self.membership.claim_contrast(capacity)
        capacity.end(
            pool.window.in_flight + pool.surplus, now, latency, measured, met, level, contrast, weight
        )
        self.window.count(outcome, latency)
        pool.window.count(outcome, latency)
        pool = self.pool  # as in begin()
        if self.window.in_flight > 0:
            self.window.in_flight -= 1
            pool.window.in_flight -= 1
        counters = self.counters
        if counters is not None:
            counters.count_ended(latency)
        promise = self.settings.promise
        if 0.0 < promise < latency and outcome in {SUCCESS, DROPPED}:
            self.model.pressure.late()
        if now >= self._due or now < self._last_tick - STEP_BACK:
            self.advance(now)

    def begin_cost(self, met: float, cost: float) -> None:
        """Count the call that has just begun, with ``met`` in flight, by its ``cost``."""
        costs = self.costs
        if costs is None:
            costs = self.costs = Costs()
        change = costs.begin(cost)
        self.pool.surplus += change
        self.pool.capacity.begin_surplus(met, costs.weight(cost) - 1.0)

    def change_cost(self, before: float, cost: float) -> float:
        """A call in flight that counts by a cost of ``before`` really costs ``cost``; returns what it counts by now."""
        costs = self.costs
        if costs is None or costs.calls == 0:  # it began before a fork
            return before
        comparable = costs.comparable(before, cost)
        change = costs.change(before, comparable)
        self.pool.surplus += change
        return comparable

    def end_cost(self, now: float, cost: float) -> float:
        """Count a call that ends now, by its ``cost``; returns how many calls it counts as, for :meth:`end`."""
        costs = self.costs
        if costs is None or costs.calls == 0:  # it began before a fork
            return 1.0
        pool = self.pool
        pool.capacity.pass_time(pool.load(), now)
        weight = costs.weight(cost)
        change = costs.end(cost)
        pool = self.pool
        pool.surplus = pool.surplus + change if pool.window.in_flight > 1 else 0.0
        return weight

    def answer(self, now: float, latency: float, volts: float, met: float, epoch: int) -> None:
        """Count a call as ended because its answer begins; while it streams, it takes no capacity."""
        self.window.streaming += 1
        self.end(now, SUCCESS, latency, 1.0, volts, met, epoch)

    def close(self, outcome: int) -> None:
        """Count a stream as ended."""
        window = self.window
        if window.streaming > 0:
            window.streaming -= 1
        if outcome == FAILURE:
            window.fail()
            if self.counters is not None:
                self.counters.broken_streams += 1

    # --- leases --------------------------------------------------------------------------------------------

    def unit(self) -> float:
        """The cost that counts as one call: the route's usual cost, or 1 where calls have none."""
        costs = self.costs
        return costs.unit if costs is not None and costs.unit > 0.0 else 1.0

    def cost_in_flight(self) -> float:
        """What is in flight, as :meth:`in_flight`, in the unit of costs; what has no cost counts as of usual cost."""
        calls = self.in_flight()
        costs = self.costs
        return calls if costs is None else costs.in_flight + (calls - costs.calls) * self.unit()

    def in_flight(self) -> int:
        """Calls in flight, streams and leases included."""
        calls = self.window.in_flight + self.window.streaming
        return calls if self.leases is None else calls + self.leases.held

    def lease(self) -> Held:
        """Count a lease as admitted; returns the counts of leases."""
        leases = self.leases
        if leases is None:
            leases = self.leases = Held()
        leases.begun += 1
        self.admitted += 1
        return leases

    def hold(self, now: float) -> bool:
        """Count a lease as held; returns whether it takes a call's place in the pool.

        Leases do so up to half of the capacity: the other half still shows how long the calls of a shorter queue take.
        """
        leases = self.leases
        if leases is None:
            return False
        leases.held += 1
        pool = self.pool
        if pool.places >= PLACES * pool.capacity.calls:
            return False
        pool.capacity.begin(pool.load(), now)
        pool = self.pool  # as in begin()
        leases.places += 1
        pool.places += 1
        pool.window.in_flight += 1
        return True

    def release(self, place: bool, now: float) -> None:
        """Count a lease as not held any more; ``place`` is what :meth:`hold` returned."""
        leases = self.leases
        if leases is None:
            return
        leases.held = max(leases.held - 1, 0)
        if leases.held == 0:
            leases.strain = 0.0
        if place:
            pool = self.pool
            # Like a failed call, which is no measurement of the queue.
            pool.capacity.end(pool.load(), now, 0.0, FAILURE, 1.0, 0, None)
            pool = self.pool  # as in begin()
            if leases.places > 0:
                leases.places -= 1
                pool.places -= 1
                pool.window.in_flight -= 1
        self.refresh()

    def end_lease(self, outcome: int, seconds: float, overrun: float, now: float) -> None:
        """Count the outcome of a lease that took so many ``seconds`` and used ``overrun`` more than its budget.

        Its duration is no latency of the route. An overrun leaves a scar in proportion, at most that of one tick.
        """
        leases = self.leases
        self.window.count(outcome, self.membership.latency)
        if leases is not None:
            if outcome == SUCCESS:
                leases.learn(seconds)
            if overrun > 0.0:
                leases.overruns += 1
        if overrun > 0.0:
            self.model.wound(self.settings.constants.scar_factor * min(overrun, 1.0))
            self.refresh()
            self._notify_active()
        if self.counters is not None:
            self.counters.count_ended(seconds)
        self.advance(now)
