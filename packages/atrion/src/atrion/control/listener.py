"""The events of a route that its engine receives: ticks, decisions, breaker, shedding, jumps. Compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atrion._native import mypyc_attr

if TYPE_CHECKING:
    from atrion.control.decision import Reason
    from atrion.control.route import Route
    from atrion.control.shedding import Shedding

__all__ = ["RouteListener"]


@mypyc_attr(allow_interpreted_subclasses=True)
class RouteListener:
    """Receives the events of routes, in the thread of the request; the methods here do nothing.

    One listener serves all routes of an engine. A route keeps its listener alive, and so does a call, which the garbage
    collector does not track: a listener therefore refers to its engine weakly.
    """

    def __init__(self) -> None:
        self.wants_ticks: bool = False
        """Whether :meth:`on_tick` is to be called."""
        self.wants_decisions: bool = False
        """Whether :meth:`on_decision` is to be called."""
        self.wants_sheds: bool = False
        """Whether :meth:`on_shed` is to be called, on routes that have counters."""

    def on_created(self, route: Route) -> None:
        """A route was created and has no other owner yet."""

    def on_tick(self, route: Route, mode_before: int) -> None:
        """The law advanced; before it, the mode had this index."""

    def on_decision(self, route: Route, volts: float, verdict: int, cost: float) -> None:
        """A request of ``volts`` was admitted, shed or let through as a probe; see ``atrion.control.route``.

        ``cost`` is what it costs, 0 for the usual cost.
        """

    def on_shed(self, route: Route, volts: float, reason: Reason | None) -> None:
        """A request of ``volts`` was shed, or would be if the route's settings were enforced."""

    def on_evicted(self, route: Route) -> None:
        """A route that has counters was dropped."""

    def on_breaker(self, route: Route, opened: bool) -> None:
        """The circuit breaker has opened or closed."""

    def on_shedding(self, route: Route, shedding: Shedding, ended: bool) -> None:
        """The route has begun or stopped shedding requests."""

    def on_jump(self, route: Route) -> None:
        """The scar tissue of a shared route rose so much that other nodes should know at once."""

    def on_active(self, route: Route) -> None:
        """A route that was at rest is not any more, so the pulse has to visit it."""
