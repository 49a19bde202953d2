"""What a route looks like from outside: plain data, for people, observers and pages."""

from __future__ import annotations

from typing import Final, final

from atrion.control.decision import Reason
from atrion.control.route import Route
from atrion.physics.modes import Mode, mode_of

__all__ = ["RouteState"]


@final
class RouteState:
    """A route at one instant, as data.

    ``reason`` is what adds most to the resistance, or None in calm, when it is no higher than at the beginning.
    ``resistance``, ``scar_tissue`` (its own) and ``blended_scar`` (with the cluster's) in ohms, ``momentum`` per
    second, the three pressures in [−1, 1], ``service_time`` in seconds, ``capacity`` in calls in flight. Routes with
    the same ``pool`` are taken to share a bottleneck, ``pool_reason`` says why; the
    rest are counts. ``bad_samples`` were dropped as NaN or negative, ``clock_faults`` are ticks on which the
    clock had gone back.
    """

    __slots__ = (
        "_mode_index",
        "admitted",
        "bad_samples",
        "blended_scar",
        "capacity",
        "clock_faults",
        "in_flight",
        "momentum",
        "pool",
        "pool_reason",
        "pressure_error",
        "pressure_latency",
        "pressure_saturation",
        "reason",
        "resistance",
        "route",
        "scar_tissue",
        "service_time",
        "shed",
    )

    def __init__(self, route: Route) -> None:
        state = route.state
        self.route: Final[str] = route.id
        self._mode_index: Final[int] = state.mode_index
        self.resistance: Final[float] = route.resistance()
        self.reason: Final[Reason | None] = route.reason(self.resistance)
        self.momentum: Final[float] = state.momentum
        self.scar_tissue: Final[float] = state.scar_tissue
        self.blended_scar: Final[float] = route.blended_scar()
        self.pressure_latency: Final[float] = state.latency
        self.pressure_error: Final[float] = state.error
        self.pressure_saturation: Final[float] = state.saturation
        self.in_flight: Final[int] = route.window.in_flight + route.streaming
        self.capacity: Final[float] = route.pool.capacity.calls
        self.service_time: Final[float] = route.membership.latency
        self.pool: Final[str] = route.pool_name()
        self.pool_reason: Final[str] = route.pool_reason()
        self.admitted: Final[int] = route.admitted
        self.shed: Final[int] = route.total_shed
        self.bad_samples: Final[int] = route.bad_samples
        self.clock_faults: Final[int] = route.clock_faults

    @property
    def mode(self) -> Mode:
        """The mode the route was in."""
        return mode_of(self._mode_index)

    def __repr__(self) -> str:
        return f"<RouteState {self.route}: {self.mode.name}, {self.resistance:.1f} Ω, {self.in_flight} in flight>"
