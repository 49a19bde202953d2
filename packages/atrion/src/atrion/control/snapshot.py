"""What a route looks like from outside: plain data, for people, observers and pages."""

from __future__ import annotations

from dataclasses import dataclass

from atrion._plain import Plain
from atrion.control.decision import Reason
from atrion.control.route import Route
from atrion.physics.modes import Mode

__all__ = ["RouteState", "snapshot_of"]


@dataclass(frozen=True)
class RouteState(Plain):
    """A route at one instant, as data.

    ``reason`` is what adds most to the resistance, or None in calm, when it is no higher than at the beginning.
    ``resistance``, ``scar_tissue`` (its own) and ``blended_scar`` (with the cluster's) in ohms, ``momentum`` per
    second, the three pressures in [−1, 1], ``service_time`` in seconds, ``capacity`` in calls in flight. Routes with
    the same ``pool`` are taken to share a bottleneck, ``pool_reason`` says why; the
    rest are counts. Where it is not ``enforced``, in shadow mode, ``would_shed`` counts the requests that were let pass
    and would have been shed. ``bad_samples`` were dropped as NaN or negative, ``clock_faults`` are ticks on which the
    clock had gone back.
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
    in_flight: int
    capacity: float
    service_time: float
    pool: str
    pool_reason: str
    admitted: int
    shed: int
    would_shed: int
    enforced: bool
    bad_samples: int
    clock_faults: int

    def __repr__(self) -> str:
        return f"<RouteState {self.route}: {self.mode.name}, {self.resistance:.1f} Ω, {self.in_flight} in flight>"


def snapshot_of(route: Route) -> RouteState:
    """The route as it is now."""
    state = route.state
    resistance = route.resistance()
    return RouteState(
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
        in_flight=route.window.in_flight + route.streaming,
        capacity=route.pool.capacity.calls,
        service_time=route.membership.latency,
        pool=route.pool_name(),
        pool_reason=route.pool_reason(),
        admitted=route.admitted,
        shed=route.total_shed,
        would_shed=route.would_shed,
        enforced=route.settings.enforce,
        bad_samples=route.bad_samples,
        clock_faults=route.clock_faults,
    )
