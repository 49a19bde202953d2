"""What many tests do with a route: call it, leave a scar on it, tick it and break it."""

from __future__ import annotations

from collections.abc import Callable

from atrion import Atrion, PhysicsVector, Tier

Ticker = Callable[..., None]
"""The fixture ``tick``."""

Breaker = Callable[[Atrion, str], None]
"""The fixture ``broken``."""


def scarred(engine: Atrion, route: str, ohms: float) -> None:
    engine.restore(route, PhysicsVector(0.0, 0.0, ohms, 0.0))


def enter(engine: Atrion, route: str, tier: Tier = Tier.NORMAL) -> None:
    with engine.flow(route, tier):
        pass
