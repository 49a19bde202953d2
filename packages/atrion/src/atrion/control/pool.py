"""Pools: the calls of one bottleneck, such as a database or a remote service, on one route or on many."""

from __future__ import annotations

from typing import final

from atrion.control.saturation import Saturation
from atrion.control.settings import Settings
from atrion.sensing.capacity import Capacity
from atrion.sensing.window import Window

__all__ = ["Pool"]


@final
class Pool:
    """Calls in flight, capacity and saturation that the routes of one bottleneck share.

    With a capacity for each route, an unimportant route would defend its share. With a common one, all requests meet
    the same resistance, whatever route they are for.

    Attributes:
        window: The calls of all routes.
        surplus: What the calls in flight count as beyond one each, where calls have a cost.
        capacity: The learned capacity.
        saturation: The controller that turns overload into ohms.
        no_saturation_below: Calls in flight up to which saturation adds nothing; −1 if it always adds.
        members: How many routes are in the pool.
        name: The configured name, or None.
        rank: Place among the unnamed pools; below 0 for a named one.
        shed: Requests shed since the last tick.
        calm: Seconds for which nothing has waited or been shed; below 0, seconds for which it has.
        claims: Calls in flight that its routes are entitled to, in all.
        places: Leases that take a call's place: they are among the calls in flight of ``window``.
    """

    __slots__ = (
        "_last_tick",
        "calm",
        "capacity",
        "claims",
        "members",
        "name",
        "no_saturation_below",
        "places",
        "rank",
        "saturation",
        "shed",
        "surplus",
        "window",
    )

    def __init__(self, now: float, rank: int = -1, name: str | None = None) -> None:
        self.window: Window = Window()
        self.surplus: float = 0.0
        self.members: int = 0
        self.places: int = 0
        self.rank: int = rank
        self.name: str | None = name
        self.forget(now)

    def forget(self, now: float) -> None:
        """Forget what was learned; calls in flight stay counted."""
        self.capacity: Capacity = Capacity()
        self.saturation: Saturation = Saturation()
        self.no_saturation_below: float = self.capacity.limit
        self.shed: int = 0
        self.calm: float = 0.0
        self.claims: float = 0.0
        self._last_tick: float = now

    def load(self) -> float:
        """Calls in flight, each counted by its cost where that is known."""
        return self.window.in_flight + self.surplus

    def advance(self, now: float, settings: Settings) -> None:
        """Learn from the last tick, if one has passed; ``settings`` are those of the route that ticks."""
        constants = settings.constants
        dt = now - self._last_tick
        if 0.0 <= dt < 0.999 * constants.tick:
            return
        self._last_tick = now
        window = self.window
        capacity = self.capacity
        window.roll()
        if dt >= 0.0:
            capacity.learn(window, self.load(), dt, now, self.shed, settings.promise)
            self.saturation.follow(capacity, self.load(), constants, dt)
        else:
            capacity.restart(now)
        busy = capacity.pressed or capacity.wait > 0.0
        dt = max(dt, 0.0)
        self.calm = min(self.calm, 0.0) - dt if busy else max(self.calm, 0.0) + dt
        self.shed = 0
        # Decisions read this until the next tick.
        self.no_saturation_below = capacity.limit if self.saturation.integral == 0.0 else -1.0
