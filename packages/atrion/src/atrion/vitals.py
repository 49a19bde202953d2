"""The vitals of a route as plain data: what a dashboard shows of it, computed only when somebody looks."""

from __future__ import annotations

from typing import Any, Final

from atrion.control.route import Route
from atrion.control.snapshot import RouteSnapshot
from atrion.physics.laws import seconds_until_scar
from atrion.physics.modes import Mode

__all__ = ["FLOWS_AT", "route_vitals"]

FLOWS_AT: Final = 44.0
"""Volts at which the band of normal requests begins."""


def route_vitals(route: Route, seen: RouteSnapshot) -> dict[str, Any]:
    """A route as data for JSON: ohms rounded to hundredths, times in seconds.

    ``parts`` add up to ``resistance``: ``base``, the pressure of ``latency``, ``errors`` and reported ``saturation``,
    ``momentum``, this node's ``scar``, what the ``cluster`` adds to it (or takes away), and the live ``queue``.
    ``clears_in`` are the seconds after which normal requests flow if failures and late answers stop now: 0 when they
    flow already, None where they wait for something other than decay, such as a queue.
    """
    settings = route.settings
    k = settings.constants
    parts = {
        "base": k.base,
        "latency": k.weight_latency * max(seen.pressure_latency, 0.0),
        "errors": k.weight_error * max(seen.pressure_error, 0.0),
        "saturation": k.weight_saturation * max(seen.pressure_saturation, 0.0),
        "momentum": min(k.damping * seen.momentum, k.momentum_cap),
        "scar": seen.scar_tissue,
        "cluster": seen.blended_scar - seen.scar_tissue,
    }
    # What is left is what the calls in flight add at this instant, or a new route's caution before it has learned.
    parts["queue"] = seen.resistance - sum(parts.values())
    slo = settings.slo
    return {
        "resistance": round(seen.resistance, 2),
        "mode": seen.mode.name.lower(),
        "reason": None if seen.reason is None else seen.reason.value,
        "parts": {name: round(ohms, 2) for name, ohms in parts.items()},
        "in_flight": seen.in_flight,
        "pool_in_flight": route.pool.window.in_flight,
        "limit": round(route.pool.capacity.limit or seen.capacity, 1),
        "latency": round(seen.service_time, 5),
        "admitted": seen.admitted,
        "shed": seen.shed,
        "would_shed": seen.would_shed,
        "enforced": seen.enforced,
        "pool": seen.pool,
        "pool_reason": seen.pool_reason,
        "gamma": settings.gamma,
        "slo": {"latency": slo.latency, "error_rate": slo.error_rate},
        "clears_in": _clears_in(seen, parts["base"] + parts["queue"], k.decay_rate, k.scar_factor),
    }


def _clears_in(seen: RouteSnapshot, standing: float, decay_rate: float, scar_factor: float) -> float | None:
    """Seconds until normal requests flow past the ``standing`` ohms, which do not decay, and what is left of scars."""
    broken = seen.mode is Mode.CIRCUIT_BREAKER
    if seen.resistance < FLOWS_AT and not broken:
        return 0.0
    wait = seconds_until_scar(seen.blended_scar, FLOWS_AT - standing, decay_rate)
    if broken:
        wait = max(wait, seconds_until_scar(seen.scar_tissue, scar_factor, decay_rate))
    return round(wait, 1) if wait < 3600.0 else None
