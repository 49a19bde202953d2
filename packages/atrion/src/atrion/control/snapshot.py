"""Read-only snapshots of routes."""

from __future__ import annotations

from dataclasses import dataclass, field

from atrion._plain import Plain
from atrion.control.counters import Counters
from atrion.control.decision import Reason
from atrion.control.pools import ALONE
from atrion.control.route import Route
from atrion.physics.modes import Mode
from atrion.physics.voltage import Tier

__all__ = ["RouteSnapshot", "snapshot_of"]


@dataclass(frozen=True)
class RouteSnapshot(Plain):
    """A read-only view of a route at one instant.

    Attributes:
        route: The route's id.
        mode: BOOTSTRAP, OPERATIONAL or CIRCUIT_BREAKER.
        resistance: Ohms that a request's voltage must exceed.
        reason: The largest contribution to the resistance; None while the resistance is no higher than a new route's.
        momentum: Rate of change of the pressure, per second.
        scar_tissue: This process's own scar tissue, in ohms.
        blended_scar: Scar tissue blended with the cluster's, in ohms.
        pressure_latency: Latency pressure, in [−1, 1].
        pressure_error: Error pressure, in [−1, 1].
        pressure_saturation: Saturation pressure from the caller's own telemetry, in [−1, 1].
        in_flight: Calls in flight, streams and leases included; on a route whose calls have costs, what they cost.
        leases: Leases held.
        capacity: Learned capacity of the route's pool, in calls in flight, or in the unit of the route's costs.
        service_time: Mean latency of the route's calls, in seconds.
        pool: Name of the route's pool. Routes of one pool share a bottleneck.
        pool_reason: Why the route is in that pool.
        admitted: Calls admitted so far.
        shed: Requests shed so far.
        would_shed: Requests admitted only because of shadow mode.
        tiers: The same by tier, the lowest first: ``{"bulk": {"admitted": 9, "shed": 1, "would_shed": 0}, …}``, as data
            for JSON. They are counted from :meth:`~atrion.Atrion.count` on; empty while nobody counts. In shadow mode,
            ``admitted`` includes ``would_shed``.
        enforced: False in shadow mode.
        rejected_samples: Telemetry values dropped because they were not numbers, NaN or negative.
        clock_faults: Ticks at which the clock had gone backwards.
    """

    route: str
    mode: Mode
    resistance: float
    reason: Reason | None
    momentum: float
    scar_tissue: float
    blended_scar: float
    pressure_latency: float
    pressure_error: float
    pressure_saturation: float
    in_flight: float
    leases: int
    capacity: float
    service_time: float
    pool: str
    pool_reason: str
    admitted: int
    shed: int
    would_shed: int
    tiers: dict[str, dict[str, int]] = field(hash=False)
    enforced: bool
    rejected_samples: int
    clock_faults: int

    def __repr__(self) -> str:
        ohms, in_flight = f"{self.resistance:.1f} Ω", f"{self.in_flight:.10g} in flight"
        return f"<RouteSnapshot {self.route}: {self.mode.name}, {ohms}, {in_flight}>"


def snapshot_of(route: Route) -> RouteSnapshot:
    """A snapshot of ``route`` at its last tick; calls in flight and resistance are live."""
    model = route.model
    state = model.state
    resistance = route.resistance()
    return RouteSnapshot(
        route=route.id,
        mode=Mode.CIRCUIT_BREAKER if route.broken else state.mode,
        resistance=resistance,
        reason=route.reason(resistance),
        momentum=state.momentum,
        scar_tissue=state.scar_tissue,
        blended_scar=route.blended_scar(),
        pressure_latency=state.latency,
        pressure_error=state.error,
        pressure_saturation=state.saturation,
        in_flight=route.in_flight() if route.costs is None else route.cost_in_flight(),
        leases=0 if route.leases is None else route.leases.held,
        capacity=route.pool.capacity.calls * route.unit(),
        service_time=route.membership.latency,
        pool=_pool_name(route),
        pool_reason=_pool_reason(route),
        admitted=route.admitted,
        shed=route.total_shed,
        would_shed=route.would_shed,
        tiers=_tiers(route.counters),
        enforced=route.settings.enforce,
        rejected_samples=model.rejected_samples(),
        clock_faults=route.clock_faults,
    )


def _tiers(counters: Counters | None) -> dict[str, dict[str, int]]:
    if counters is None:
        return {}
    found = {}
    for tier in Tier:
        admitted, shed, would_shed = counters.tiers(int(tier))
        found[tier.name.lower()] = {"admitted": admitted, "shed": shed, "would_shed": would_shed}
    return found


def _pool_reason(route: Route) -> str:
    if route.pool.name is not None:
        return "configured"
    if route.nested:
        return "its calls are made within those of another route"
    return "it is an alternative to other routes" if route.apart else route.membership.reason()


def _pool_name(route: Route) -> str:
    """The configured name; ``shared``, ``shared-2`` and so on for unnamed pools; the route's id for one of its own."""
    pool = route.pool
    if pool.name is not None:
        return pool.name
    if pool.rank >= ALONE:
        return route.id
    return "shared" if pool.rank == 0 else f"shared-{pool.rank + 1}"
