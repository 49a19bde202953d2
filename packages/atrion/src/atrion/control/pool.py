"""The calls of one bottleneck, such as a database, a pool of workers or a remote service: of one route or of many."""

from __future__ import annotations

from typing import final

from atrion.control.saturation import Saturation
from atrion.control.settings import Settings
from atrion.sensing.capacity import Capacity
from atrion.sensing.window import Window

__all__ = ["Pool"]


@final
class Pool:
    """What the routes of one bottleneck learn together: calls in flight, capacity, and the level of saturation.

    Alone, each route would defend its own share of the bottleneck, the unimportant one too. Together they meet at one
    voltage, whatever route a request is for. ``shed`` counts rejections since the last tick, ``members`` the routes;
    ``rank`` is its place among the pools that nobody has named, below 0 for one that was named; ``calm`` is for how
    many seconds nothing has waited or been refused in it, below 0 for how many it has; ``claims`` are the calls in
    flight that its routes may have whatever the others do.
    """

    __slots__ = (
        "_last_tick",
        "calm",
        "capacity",
        "claims",
        "members",
        "name",
        "no_saturation_below",
        "rank",
        "saturation",
        "shed",
        "window",
    )

    def __init__(self, now: float, rank: int = -1, name: str | None = None) -> None:
        self.window: Window = Window()
        self.members: int = 0
        self.rank: int = rank
        self.name: str | None = name
        self.forget(now)

    def forget(self, now: float) -> None:
        """Begin anew; calls in flight stay counted."""
        self.capacity: Capacity = Capacity()
        self.saturation: Saturation = Saturation()
        self.no_saturation_below: float = self.capacity.limit
        self.shed: int = 0
        self.calm: float = 0.0
        self.claims: float = 0.0
        self._last_tick: float = now

    def advance(self, now: float, settings: Settings) -> None:
        """Learn from the last tick, if one has passed at ``now`` seconds; ``settings`` of the route that asks."""
        constants = settings.constants
        dt = now - self._last_tick
        if 0.0 <= dt < 0.999 * constants.tick:
            return
        self._last_tick = now
        window = self.window
        capacity = self.capacity
        window.roll()
        if dt >= 0.0:
            capacity.learn(window, dt, now, self.shed, settings.promise)
            self.saturation.follow(capacity, window.in_flight, constants, dt)
        else:
            capacity.restart(now)
        busy = capacity.pressed or capacity.wait > 0.0
        dt = max(dt, 0.0)
        self.calm = min(self.calm, 0.0) - dt if busy else max(self.calm, 0.0) + dt
        self.shed = 0
        # What decisions read until the next tick.
        self.no_saturation_below = capacity.limit if self.saturation.integral == 0.0 else -1.0
