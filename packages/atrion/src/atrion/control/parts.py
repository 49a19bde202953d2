"""What adds up to a route's resistance, and the gauges of a route. Compiled."""

from __future__ import annotations

from typing import Final

from atrion.control.route import Route

__all__ = ["GAUGES", "PARTS", "gauges_of", "resistance_parts"]

PARTS: Final[list[str]] = [
    "base",
    "latency",
    "errors",
    "saturation",
    "momentum",
    "scar",
    "cluster",
    "queue",
]
"""The parts of a resistance, in the order of :func:`resistance_parts`."""
GAUGES: Final[list[str]] = ["resistance", "in_flight", "limit", "open", *[f"part.{part}" for part in PARTS]]
"""The names of the values of :func:`gauges_of`."""


def resistance_parts(route: Route, resistance: float) -> list[float]:
    """The parts of a route's ``resistance``, in ohms.

    ``base``, the pressure of ``latency``, ``errors`` and reported ``saturation``, ``momentum``, this node's ``scar``,
    what the ``cluster`` adds to it or takes away, and the ``queue``: what the calls in flight add at this instant, or a
    new route's caution before it has learned.
    """
    k = route.settings.constants
    state = route.model.state
    found = [
        k.base,
        k.weight_latency * max(state.latency, 0.0),
        k.weight_error * max(state.error, 0.0),
        k.weight_saturation * max(state.saturation, 0.0),
        min(k.damping * state.momentum, k.momentum_cap),
        state.scar_tissue,
        route.blended_scar() - state.scar_tissue,
    ]
    found.append(resistance - sum(found))
    return found


def gauges_of(route: Route) -> list[float]:
    """The gauges of a route, in the order of :data:`GAUGES`.

    Ohms to hundredths; calls, or in the unit of the route's costs; 1 if the breaker is open.
    """
    resistance = route.resistance()
    capacity = route.pool.capacity
    found = [
        round(resistance, 2),
        route.cost_in_flight(),
        round((capacity.limit or capacity.calls) * route.unit(), 1),
        1.0 if route.broken else 0.0,
    ]
    # Most parts are 0 in calm, and rounding takes longer than the comparison.
    found.extend([round(ohms, 2) if ohms else 0.0 for ohms in resistance_parts(route, resistance)])
    return found
