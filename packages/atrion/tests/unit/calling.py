"""What many tests do with a route: call it, leave a scar on it, and look whether an outage is noticed."""

from __future__ import annotations

from collections.abc import Callable

from atrion import Atrion, FlowRejected, PhysicsVector, Tier
from atrion.testing import VirtualClock

Ticker = Callable[..., None]
"""The fixture ``tick``."""

Breaker = Callable[[Atrion, str], None]
"""The fixture ``broken``."""


def scarred(engine: Atrion, route: str = "r", ohms: float = 60.0) -> None:
    """Leave a scar on a route; with the usual one, only critical requests pass."""
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


def in_flight(engine: Atrion, route: str = "r") -> int:
    return engine.snapshot()[route].in_flight


def is_noticed(engine: Atrion, clock: VirtualClock, call: Callable[[], object], route: str = "r") -> bool:
    """Whether an outage, in which every ``call`` raises, is noticed and shed."""
    for _ in range(60):
        clock.advance(0.05)
        try:
            call()
        except FlowRejected:
            return True
        except ConnectionError:
            pass
    return False
