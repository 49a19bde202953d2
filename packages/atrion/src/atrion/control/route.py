"""The controller of one route: sensing in, physics forward, decisions out. Pure: it is told the time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, final

from atrion.control.decision import Decision, Reason
from atrion.control.pool import Pool
from atrion.control.pools import ALONE, Membership, Pools
from atrion.control.pressure import Pressure
from atrion.control.probes import Probes
from atrion.control.process import Process
from atrion.control.settings import OPEN, Settings
from atrion.control.shedding import Shedding
from atrion.physics.laws import MAX_RESISTANCE, positive_norm, seconds_until_scar
from atrion.physics.state import PhysicsState
from atrion.physics.voltage import level_at
from atrion.sensing.samples import Samples
from atrion.sensing.telemetry import Telemetry
from atrion.sensing.window import Window
from atrion.state.blending import EVIDENCE_CAP, EVIDENCE_SECONDS, JUMP, LIVE_EVIDENCE, blend
from atrion.state.port import NodeRow, PhysicsVector
from atrion.state.published_state import DEADBAND, PublishedState

__all__ = ["Route"]

OPERATIONAL: Final = 1
CIRCUIT_BREAKER: Final = 2
SUCCESS: Final = 0
FAILURE: Final = 1
IGNORED: Final = 2
DROPPED: Final = 3
SHED: Final = 0
FLOWING: Final = 1
PROBING: Final = 2
FLOWS: Final = Reason.FLOWS
PROBE: Final = Reason.PROBE
SATURATED: Final = Reason.SATURATED
PROCESS_SATURATED: Final = Reason.PROCESS_SATURATED
CLUSTER: Final = Reason.CLUSTER
RESISTANCE: Final = Reason.RESISTANCE

PROBES_IN_FLIGHT: Final = 8
"""Calls beyond the limit at which there is enough in flight to be measured by."""
MAX_SAMPLE_AGE: Final = 1.0
"""Seconds one sample of a rare route speaks for, so that scars count time and not calls."""
STEP_BACK: Final = 1.0
"""Seconds by which time may be older than what was seen: a thread that was held up between the clock and the route
comes late with it. More than that is a clock that has gone back."""
NOT_CRITICAL: Final = 91.9
"""Volts of everything below the critical band, which alone may make a capacity's dip as long as it lasts."""
SHED_ALL: Final = 1000.0
"""Ohms that nobody passes, for the moment in which even what is critical keeps a dip from its low calls."""
INITIAL_RATIO: Final = 1.2
"""Times R_base that a route's resistance is at its beginning."""
BREAKS: Final = 0
RECOVERS: Final = 1
SHEDS: Final = 2
SHEDS_NO_MORE: Final = 3
DITHER: Final = 0.6180339887498949
"""The golden ratio's fraction: successive multiples spread over [0, 1) as evenly as can be."""


@final
class Route:
    """One route's state. Times in seconds of one monotonic clock, resistance in ohms, voltage in volts.

    ``epoch`` counts the pools that it has been in.
    """

    __slots__ = (
        "_dither",
        "_due",
        "_last_sample",
        "_last_tick",
        "_probes",
        "_samples",
        "_scarred_by",
        "_shed",
        "_shedding",
        "admitted",
        "broken",
        "clock_faults",
        "cluster_evidence",
        "cluster_scar",
        "epoch",
        "id",
        "membership",
        "observations",
        "on_activity",
        "on_decision",
        "on_event",
        "on_jump",
        "on_tick",
        "pinned",
        "pool",
        "pools",
        "pressure",
        "process",
        "settings",
        "state",
        "streaming",
        "tick_resistance",
        "total_shed",
        "used",
        "window",
        "would_shed",
    )

    def __init__(self, route_id: str, settings: Settings, pools: Pools, now: float) -> None:
        # What every call reads or writes comes first, side by side: with many routes, memory is what a call waits for.
        self.id: str = route_id
        self.window: Window = Window()
        self.membership: Membership = Membership()
        self.pool: Pool = pools.ranked(0, now)
        self.process: Process | None = None
        self.settings: Settings = settings
        self.on_decision: Callable[[Decision], None] | None = None
        self.tick_resistance: float = 0.0
        self.broken: bool = False
        self.used: float = now
        self.admitted: int = 0
        self.streaming: int = 0
        self.epoch: int = 0
        self._last_tick: float = now
        self._due: float = now
        self._dither: float = 0.5
        self.pinned: bool = False
        self.on_tick: Callable[[Route, int], None] | None = None
        self.on_event: Callable[[Route, int, Shedding | None], None] | None = None
        self._shedding: Shedding | None = None  # most routes never do
        self.on_jump: Callable[[], None] | None = None
        self.on_activity: Callable[..., None] | None = None
        self.clock_faults: int = 0
        self.total_shed: int = 0
        self.would_shed: int = 0
        self.observations: float = 0.0
        self.cluster_scar: float = 0.0
        self.cluster_evidence: float = 0.0
        self.pools: Pools = pools
        self._samples: Samples | None = None  # most routes measure their calls themselves
        self.pool.members += 1
        self.reset(settings, now)

    def reset(self, settings: Settings, now: float) -> None:
        """Forget what was learnt, and begin with ``settings``; calls in flight stay counted.

        What a pool has learnt with other routes is not this route's to forget.
        """
        self.settings = settings
        self.membership.leave(self.pool)
        nested = self.membership.nested
        self.membership = Membership()
        self.membership.nested = nested
        if self.pool.members == 1:
            self.pool.forget(now)
        if settings.pool is not None:
            self._join(self.pools.named(settings.pool, now))
        else:
            self._move(ALONE if nested else 0, now)
        self.state: PhysicsState = PhysicsState(settings.constants, settings.threshold())
        self.pressure: Pressure = Pressure()
        self._scarred_by: Reason = RESISTANCE
        self._probes: Probes | None = None  # most routes never refuse anybody
        self._ticked(now)
        self._last_sample: float = now
        self._shed: int = 0
        if self._samples is not None:
            self._samples.clear()
        self._refresh_cache()
        self._notify_activity()

    def configure(self, settings: Settings, now: float) -> None:
        """Follow new ``settings``; where they change what is learnt, begin anew."""
        if settings.learns_like(self.settings):
            self.settings = settings
            self._ticked(self._last_tick)
            self._refresh_cache()
        else:
            self.reset(settings, now)

    def _notify_activity(self) -> None:
        """Let the pulse, which passes over a route that rests, look at this one."""
        on_activity = self.on_activity
        if on_activity is not None:
            on_activity(self)

    def rests(self, now: float) -> bool:
        """Whether the tick that is due would bring nothing but decay, which can as well be caught up with later."""
        state = self.state
        return (
            self.due(now)
            and self._last_sample < self._last_tick
            and self.window.is_empty()
            and self._shed == 0
            and self._shedding is None
            and (self._samples is None or self._samples.count() == 0)
            and state.mode_index == OPERATIONAL
            and state.adaptive is None  # it learns what is normal from every tick
            and self.observations <= EVIDENCE_CAP
            # Observers see a scar heal to its end.
            and (self.on_tick is None or state.scar_tissue + self.cluster_scar < DEADBAND)
        )

    def _refresh_cache(self) -> None:
        """Note what decisions read until the next tick."""
        self.broken = self.state.mode_index == CIRCUIT_BREAKER or self.settings.floor >= OPEN
        self._blend()

    # --- pools ---------------------------------------------------------------------------------------------

    def _join(self, pool: Pool) -> None:
        """Be in ``pool`` from now on, with the calls in flight."""
        if pool is self.pool:
            return
        # Until the pool is the route's nothing is called, and so no other thread's call begins or ends meanwhile.
        old = self.pool
        calls = self.window.in_flight
        old.window.in_flight -= calls
        pool.window.in_flight += calls
        old.members -= 1
        pool.members += 1
        self.epoch += 1
        self.pool = pool
        self.membership.leave(old)

    def _move(self, rank: int, now: float) -> None:
        """Be in the pool of ``rank`` that nobody has named."""
        membership = self.membership
        pool = membership.alone
        if rank < ALONE:
            pool = self.pools.ranked(rank, now)
        elif pool is None:
            pool = membership.alone = Pool(now, ALONE)
        self._join(pool)
        membership.move_to(rank)
        if rank > 0:
            pool.capacity.carry(float(pool.window.in_flight))

    def pool_name(self) -> str:
        """The name of the pool, ``shared`` or ``shared-2`` and so on for those that nobody has named, or the route."""
        pool = self.pool
        if pool.name is not None:
            return pool.name
        if pool.rank >= ALONE:
            return self.id
        return "shared" if pool.rank == 0 else f"shared-{pool.rank + 1}"

    def pool_reason(self) -> str:
        """Why the route is in its pool."""
        if self.pool.name is not None:
            return "configured"
        return self.membership.reason()

    def leave(self) -> None:
        """Be a member of no pool any more: the route is forgotten."""
        self.pool.window.in_flight -= self.window.in_flight
        self.pool.members -= 1
        self.membership.leave(self.pool)

    def within(self, outer: Route) -> None:
        """Calls of this route are made within calls of ``outer``: what waits here is in flight there as well.

        Such routes share no pool that nobody has named: one would be refused because of the other.
        """
        membership = self.membership
        if outer is not self and not membership.nested:
            membership.nested = True
            if self.settings.pool is None:
                self._move(ALONE, self._last_tick)

    # --- telemetry -----------------------------------------------------------------------------------------

    def feed(self, telemetry: Telemetry, now: float) -> None:
        """Take a caller's own sample; what is no number is dropped and counted."""
        if self._samples is None:
            self._samples = Samples()
        self._samples.add(telemetry)
        self.advance(now)

    @property
    def rejected_samples(self) -> int:
        """Components that were dropped."""
        return 0 if self._samples is None else self._samples.rejected

    def due(self, now: float) -> bool:
        """Whether a tick has passed since the law last advanced (or the clock has gone back)."""
        return now >= self._due or now < self._last_tick - STEP_BACK

    def _ticked(self, now: float) -> None:
        """The last tick is of ``now``; note when the next one is due."""
        self._last_tick = now
        # A thousandth of slack: a caller who ticks by the tick must not miss every other one to rounding.
        self._due = now + 0.999 * self.settings.constants.tick

    def advance(self, now: float) -> bool:
        """Advance the law when a tick is due; says whether it did."""
        if not self.due(now):
            return False
        dt = now - self._last_tick
        self._ticked(now)
        if not dt >= 0.0:
            self.clock_faults += 1
            dt = 0.0
            self._last_sample = now
            if self._probes is not None:
                self._probes.restart(now)
        samples = self._read(now, dt)
        # What this node and the others saw of late, for weighing their words.
        kept = math.exp(-dt / EVIDENCE_SECONDS)
        self.observations = self.observations * kept + samples
        self.cluster_evidence *= kept
        self.cluster_scar *= math.exp(-self.settings.constants.decay_rate * dt)
        before = self.state.mode_index
        self._step(now, dt, samples)
        self._shed = 0
        self._notify_activity()
        if self._shedding is not None or before != self.state.mode_index:
            self._report(now, before)
        if self.on_tick is not None:
            self.on_tick(self, before)
        return True

    def _report(self, now: float, before: int) -> None:
        """Say what has begun or ended with this tick; ``before`` it, the mode had this index."""
        on_event = self.on_event
        mode = self.state.mode_index
        if on_event is not None and mode != before and CIRCUIT_BREAKER in {mode, before}:
            on_event(self, BREAKS if mode == CIRCUIT_BREAKER else RECOVERS, None)
        shedding = self._shedding
        if shedding is None:
            return
        if not shedding.told:
            shedding.told = True
            if on_event is not None:
                on_event(self, SHEDS, shedding)
        elif shedding.is_over(now):
            self._shedding = None
            if on_event is not None:
                on_event(self, SHEDS_NO_MORE, shedding)

    def _read(self, now: float, dt: float) -> int:
        """Pressure from the callers' samples where there are any, else from the calls this route guarded itself."""
        self.window.roll()
        given = self._samples
        if given is not None and given.count() > 0:
            return self.pressure.read_samples(given, self.settings, dt, self._shed)
        self.pool.advance(now, self.settings)
        window = self.window
        membership = self.membership
        membership.average(window.window_successes, window.window_latency)
        return self.pressure.read_calls(window, self.admitted, self.settings, now, dt, membership.latency)

    def _review(self, now: float, dt: float) -> None:
        """Go to where the evidence says that the route belongs, unless its pool was named."""
        if self.settings.pool is not None:
            return
        membership = self.membership
        sick = self.pressure.error > 0.0
        first = self.pools.ranked(0, now)
        rank = membership.review(self.pool, first, self.window.in_flight, sick, now, dt)
        if rank != membership.rank:
            self._move(rank, now)

    def _step(self, now: float, dt: float, samples: int) -> None:
        constants = self.settings.constants
        trauma = 0.0
        if samples > 0:
            trauma = 1.0
            if constants.tick > 0.0:
                trauma = max(min(now - self._last_sample, MAX_SAMPLE_AGE) / constants.tick, 1.0)
            self._last_sample = now
        scar = self.state.scar_tissue
        pressure = self.pressure
        self.state.advance(
            pressure.latency, pressure.error, pressure.saturation, dt, trauma, pressure.stall_age
        )
        if (
            trauma > 0.0
            and positive_norm(pressure.latency, pressure.error, pressure.saturation) > constants.critical
        ):
            self._scarred_by = pressure.worst(constants)[0]
        window = self.window
        if self._probes is not None:
            late = pressure.late_calls()
            self._probes.learn(window.window_successes - late, window.window_failures + late)
        if constants.directed and pressure.error <= 0.0 and pressure.latency <= 0.0:
            self.state.heal(window.window_successes)
        self._review(now, dt)
        self._refresh_cache()
        if self.on_jump is not None and self.settings.shared and self.state.scar_tissue - scar > JUMP:
            self.on_jump()

    def _blend(self) -> None:
        """Ohms before saturation is added: the law's resistance, with the cluster's scar blended in."""
        pull = self.blended_scar() - self.state.scar_tissue
        ohms = min(max(self.state.resistance + pull, self.settings.constants.base), MAX_RESISTANCE)
        self.tick_resistance = max(ohms, self.settings.floor)

    def blended_scar(self) -> float:
        """``γ·S_cluster + (1 − γ)·S_local`` in ohms; the local scar alone without live peers (RFC-0007 §5)."""
        own = self.state.scar_tissue
        if not self.settings.shared or self.cluster_evidence < LIVE_EVIDENCE:
            return own
        return blend(own, self.cluster_scar, self.settings.gamma)

    def apply_cluster_scar(self, scar: float, evidence: float) -> None:
        """Take what the other nodes believe: their scar tissue in ohms, capped like its own, and their evidence."""
        self.cluster_scar = min(scar, self.settings.constants.scar_cap)
        self.cluster_evidence = evidence
        self._blend()

    def to_row(self) -> NodeRow:
        """What this node says of the route, as it is shared."""
        return NodeRow(self.vector(), self.observations, self.settings.constants.decay_rate)

    @property
    def shared(self) -> bool:
        """Whether other nodes are told of it."""
        return self.settings.shared

    def needs_publish(self, published: PublishedState) -> bool:
        """Whether there is more to say than decay has made of what was ``published``."""
        return not published.explains(self.state.scar_tissue, self.observations, self._last_tick)

    def vector(self) -> PhysicsVector:
        """This node's own vector, as it is kept."""
        state = self.state
        return PhysicsVector(state.resistance, state.momentum, state.scar_tissue, self._last_tick)

    def restore(self, vector: PhysicsVector, age: float) -> None:
        """Begin with a persisted scar, in ohms, ``age`` seconds old; checked, since a store is untrusted."""
        if vector.is_sane() and age >= 0.0:
            self.state.warm(vector.scar_tissue * math.exp(-self.settings.constants.decay_rate * age))
            self._scarred_by = RESISTANCE
            self._refresh_cache()
            self._notify_activity()

    # --- decisions -----------------------------------------------------------------------------------------

    def resistance(self) -> float:
        """Resistance at this instant, in ohms: the tick's, plus the saturation of the calls in flight now."""
        pool = self.pool
        in_flight = pool.window.in_flight
        ohms = self.tick_resistance
        if in_flight > pool.no_saturation_below and self.window.in_flight >= self.membership.share:
            ohms += self._saturation(in_flight)
        process = self.process
        if process is not None and process.ohms > 0.0:
            # The process and the route's bottleneck are two queues, one behind the other: the longer one decides.
            ohms = max(ohms, self.settings.constants.base + process.ohms)
        return ohms

    def _saturation(self, in_flight: int) -> float:
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

    def admit(self, volts: float, now: float) -> int:
        """Let a call in if its ``volts`` flow now, as :meth:`begin` does; 0 where it is shed.

        A rejection may turn into a probe, which keeps a sick route measured.
        """
        if self._ask(volts, now) == SHED and self.settings.enforce:
            return 0
        return self.begin(now)

    def _ask(self, volts: float, now: float) -> int:
        if now >= self._due or now < self._last_tick - STEP_BACK:
            self.advance(now)
        self.used = now
        answer = FLOWING
        if volts <= self.resistance() or self.broken:
            answer = PROBING if self._probe(volts, now) else SHED
        if self.on_decision is not None:
            self.on_decision(self._decision(volts, answer))
        return answer

    def _decision(self, volts: float, answer: int) -> Decision:
        if answer == SHED:
            return self.rejection(volts)
        reason = FLOWS if answer == FLOWING else PROBE
        return Decision(True, self.id, self.resistance(), volts, self.state.mode_index, reason, 0.0)

    def offer_probe(self, now: float) -> bool:
        """Whether a router should send it a probe now; the next request that would be shed then passes."""
        probes = self._get_probes(now)
        pending = probes.answer_invitation()  # it must not answer for itself
        invited = self._ask(0.0, now) != SHED
        probes.invited = invited or pending
        return invited

    def _get_probes(self, now: float) -> Probes:
        """The route's probes, made when the first is needed."""
        if self._probes is None:
            self._probes = Probes(self._last_sample)
        return self._probes

    def _probe(self, volts: float, now: float) -> bool:
        forced = volts < self.settings.floor
        probes = self._get_probes(now)
        if probes.answer_invitation() and not forced:
            return True
        # Where there are only too many at once, those in flight are telemetry enough.
        sick = volts <= self.tick_resistance or self.broken
        crowded = self.pool.window.in_flight >= self.pool.capacity.limit + PROBES_IN_FLIGHT
        if sick and not forced and probes.passes(now, crowded):
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
        return False

    def decide(self, volts: float, now: float) -> Decision:
        """The whole decision, with its reason and when to come back."""
        return self._decision(volts, self._ask(volts, now))

    def rejection(self, volts: float) -> Decision:
        """The decision for a request that has just been refused, or would be if the route's settings were enforced."""
        resistance = self.resistance()
        reason = self.reason(resistance)
        return Decision(
            not self.settings.enforce,
            self.id,
            resistance,
            volts,
            CIRCUIT_BREAKER if self.broken else self.state.mode_index,
            RESISTANCE if reason is None else reason,
            self._retry_after(volts, resistance),
        )

    def reason(self, resistance: float) -> Reason | None:
        """What adds most to ``resistance``, the ohms of this instant; None where they are as low as at first."""
        constants = self.settings.constants
        if resistance <= INITIAL_RATIO * constants.base and not self.broken:
            return None
        reason, ohms = self.pressure.worst(constants)
        scar = self.state.scar_tissue
        if scar >= max(ohms, 0.0):
            reason, ohms = self._scarred_by, scar
        pull = self.blended_scar() - scar
        if pull > ohms:
            reason, ohms = CLUSTER, pull
        if self.broken:
            return reason
        process = self.process
        if process is not None and process.ohms > 0.0 and constants.base + process.ohms >= resistance:
            return PROCESS_SATURATED
        return SATURATED if resistance - self.tick_resistance > ohms else reason

    def _retry_after(self, volts: float, resistance: float) -> float:
        """Seconds until decay alone lets ``volts`` flow; a second where decay alone will not."""
        constants = self.settings.constants
        own = self.state.scar_tissue
        rest = resistance - self.blended_scar()
        wait = seconds_until_scar(self.blended_scar(), volts - rest, constants.decay_rate)
        if self.broken:
            wait = max(wait, seconds_until_scar(own, constants.scar_factor, constants.decay_rate))
        if wait == math.inf:
            wait = 1.0
        least = max(constants.tick, 0.05)
        return min(max(wait, least), 60.0)

    # --- calls ---------------------------------------------------------------------------------------------

    def begin(self, now: float) -> int:
        """A call is let in; returns how many calls in flight it met, itself included, for :meth:`end`."""
        pool = self.pool
        met = pool.capacity.begin(pool.window.in_flight, now)
        # Counted side by side and without a call, during which another thread might take the route to another pool.
        pool = self.pool
        self.window.in_flight += 1
        pool.window.in_flight += 1
        self.admitted += 1
        return met

    def end(self, now: float, outcome: int, latency: float, volts: float, met: int, epoch: int) -> None:
        """A call of ``volts`` has ended after ``latency`` seconds, which had ``met`` so many in that ``epoch``."""
        pool = self.pool
        capacity = pool.capacity
        # What was met in another pool says nothing of this one.
        told = outcome if epoch == self.epoch else IGNORED
        contrast = self.membership.contrast
        level = 0
        if capacity.queue is not None:
            level = level_at(volts)
            if contrast is None:
                contrast = self.membership.claim_contrast(capacity)
        capacity.end(pool.window.in_flight, now, latency, told, met, level, contrast)
        self.window.count(outcome, latency)
        pool.window.count(outcome, latency)
        pool = self.pool  # likewise
        if self.window.in_flight > 0:
            self.window.in_flight -= 1
            pool.window.in_flight -= 1
        promise = self.settings.promise
        if 0.0 < promise < latency and outcome in {SUCCESS, DROPPED}:
            self.pressure.late()
        if now >= self._due or now < self._last_tick - STEP_BACK:
            self.advance(now)

    def answer(self, now: float, latency: float, volts: float, met: int, epoch: int) -> None:
        """A call has begun to be answered after ``latency`` seconds; what it streams takes nobody's place."""
        self.streaming += 1
        self.end(now, SUCCESS, latency, volts, met, epoch)

    def close(self, outcome: int) -> None:
        """A stream has ended."""
        if self.streaming > 0:
            self.streaming -= 1
        if outcome == FAILURE:
            self.window.fail()
