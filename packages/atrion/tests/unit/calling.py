"""What many tests do with a route: call it, leave a scar on it, tick it and break it."""

from __future__ import annotations

from collections.abc import Callable

from atrion import Atrion, PhysicsVector, Tier
from atrion.testing import VirtualClock

Ticker = Callable[..., None]
"""The fixture ``tick``."""

Breaker = Callable[[Atrion, str], None]
"""The fixture ``broken``."""


def scarred(engine: Atrion, route: str, ohms: float) -> None:
    engine.restore(route, PhysicsVector(0.0, 0.0, ohms, 0.0))


def enter(engine: Atrion, route: str, tier: Tier = Tier.NORMAL) -> None:
    with engine.flow(route, tier):
        pass


def serve(engine: Atrion, clock: VirtualClock, route: str, seconds: float, calls: int) -> None:
    """Calls of ``seconds`` each, one after the other; calls that are shed are left out."""
    for _ in range(calls):
        call = engine.flow(route)
        begun = call.try_begin()
        clock.advance(seconds)
        if begun:
            call.finish()
