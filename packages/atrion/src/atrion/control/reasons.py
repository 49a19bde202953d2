"""Decisions of a route, each with its reason and the time after which to retry. Compiled."""

from __future__ import annotations

import math
from typing import Final

from atrion.control.decision import Decision, Reason
from atrion.control.route import ADMITTED, SHED, Route
from atrion.physics.laws import seconds_until_scar

__all__ = ["decide", "decision_of", "rejection"]

CIRCUIT_BREAKER: Final = 2
FLOWS: Final = Reason.FLOWS
PROBE: Final = Reason.PROBE
RESISTANCE: Final = Reason.RESISTANCE

MIN_RETRY: Final = 0.05
MAX_RETRY: Final = 60.0


def decide(route: Route, volts: float, now: float, cost: float = 0.0) -> Decision:
    """Decide on a request of ``volts`` and a ``cost``, 0 for the usual one, without admitting a call."""
    return decision_of(route, volts, route.judge(volts, now, cost), cost)


def decision_of(route: Route, volts: float, verdict: int, cost: float = 0.0) -> Decision:
    """The decision that tells a ``verdict`` just given by the route."""
    if verdict == SHED:
        return rejection(route, volts, cost)
    reason = FLOWS if verdict == ADMITTED else PROBE
    return Decision(True, route.id, route.resistance(cost), volts, route.mode, reason, 0.0)


def rejection(route: Route, volts: float, cost: float = 0.0) -> Decision:
    """The decision for a request just shed, or that would be shed if the route's settings were enforced."""
    resistance = route.resistance(cost)
    reason = route.reason(resistance)
    return Decision(
        not route.settings.enforce,
        route.id,
        resistance,
        volts,
        CIRCUIT_BREAKER if route.broken else route.mode,
        RESISTANCE if reason is None else reason,
        _retry_after(route, volts, resistance),
    )


def _retry_after(route: Route, volts: float, resistance: float) -> float:
    """Seconds until decay alone lets ``volts`` flow; a second if decay alone never does."""
    constants = route.settings.constants
    blended = route.blended_scar()
    wait = seconds_until_scar(blended, volts - (resistance - blended), constants.decay_rate)
    if route.broken:
        own = route.model.state.scar_tissue
        wait = max(wait, seconds_until_scar(own, constants.scar_factor, constants.decay_rate))
    if wait == math.inf:
        wait = 1.0
    least = max(constants.tick, MIN_RETRY)
    return min(max(wait, least), MAX_RETRY)
