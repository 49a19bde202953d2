"""Routes that share one bottleneck: a database, a pool of workers, a remote service."""

from __future__ import annotations

from typing import final

from atrion.control.saturation import Saturation
from atrion.control.settings import Settings
from atrion.sensing.capacity import Capacity
from atrion.sensing.window import Window

__all__ = ["Pool"]


@final
class Pool:
    """What the routes of one pool learn together: calls in flight, capacity, and the level of saturation.

    Alone, each route would defend its own share of the bottleneck, the unimportant one too. Together they meet at one
    voltage, whatever route a request is for. ``shed`` counts rejections since the last tick.
    """

    __slots__ = ("_last_tick", "capacity", "saturation", "shed", "window")

    def __init__(self, now: float) -> None:
        self.window: Window = Window()
        self.capacity: Capacity = Capacity()
        self.saturation: Saturation = Saturation()
        self.shed: int = 0
        self._last_tick: float = now

    def advance(self, now: float, settings: Settings) -> None:
        """Learn from the last tick, if one has passed at ``now`` seconds; ``settings`` of the route that asks."""
        constants = settings.constants
        dt = now - self._last_tick
        if 0.0 <= dt < 0.999 * constants.tick:
            return
        self._last_tick = now
        window = self.window
        window.roll()
        self.capacity.learn(window, max(dt, 0.0), now, self.shed, settings.promise)
        self.shed = 0
        if dt > 0.0:
            self.saturation.follow(self.capacity, window.in_flight, constants, dt)
