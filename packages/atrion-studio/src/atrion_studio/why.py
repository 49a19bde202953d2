"""One sentence that says why a route refuses requests, with the numbers in it."""

from __future__ import annotations

from typing import Any

from atrion import Tier
from atrion.physics.voltage import BAND_WIDTH, band

__all__ = ["refused_tiers", "why"]

BANDS = {tier.name.lower(): band(tier) for tier in Tier}
"""Volts at which the tiers' bands begin, the lowest first."""
LOWEST = min(BANDS.values())
MARGIN = 0.05
"""Ohms below which a part is not worth a word."""


def refused_tiers(row: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Tiers that are refused entirely and in part, the lowest first."""
    if row["mode"] == "circuit_breaker":
        return list(BANDS), []
    ohms = row["resistance"]
    if ohms <= LOWEST:
        return [], []
    whole = [name for name, start in BANDS.items() if ohms >= start + BAND_WIDTH]
    part = [name for name, start in BANDS.items() if start < ohms < start + BAND_WIDTH]
    return whole, part


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _cause(row: dict[str, Any]) -> str:
    parts = row["parts"]
    scar = parts["scar"] + parts["cluster"]
    scarred = f" and scar tissue {scar:.1f} Ω" if scar > MARGIN else ""
    reason = row["reason"]
    if reason in {"failing", "late", "stalled"} and max(parts["errors"], parts["latency"]) < MARGIN:
        return f"the scar tissue of earlier failures still adds {scar:.1f} Ω"
    match reason:
        case "saturated":
            ohms = parts["queue"] + parts["saturation"]
            leases = row.get("lease_ohms", 0.0)
            if 2.0 * leases > ohms:
                return f"leases have used most of their budgets, which adds {leases:.1f} Ω{scarred}"
            if ohms < MARGIN < scar:
                return f"leases that used more than their budgets left scar tissue of {scar:.1f} Ω"
            return (
                f"{row['pool_in_flight']:.10g} are in flight where the limit learned is {row['limit']:.0f}, "
                f"which adds {ohms:.1f} Ω"
            )
        case "process_saturated":
            return f"requests wait for the process itself, which adds {parts['queue']:.1f} Ω"
        case "failing":
            return f"too many calls fail, which adds {parts['errors']:.1f} Ω{scarred}"
        case "late":
            promise = row["slo"]["latency"]
            than = "" if promise is None else f" than the promised {promise * 1000:.0f} ms"
            return f"answers come later{than}, which adds {parts['latency']:.1f} Ω{scarred}"
        case "stalled":
            pressure = parts["latency"] + parts["errors"]
            return (
                f"{row['in_flight']:.10g} are in flight and none is answered, "
                f"which adds {pressure:.1f} Ω{scarred}"
            )
        case "cluster":
            return f"other nodes report failures, which adds {parts['cluster']:.1f} Ω at γ = {row['gamma']:g}"
        case _:
            return (
                f"what was learned before still adds {scar:.1f} Ω"
                if scar > MARGIN
                else "a new route is cautious"
            )


def _within(seconds: float) -> str:
    return "at once" if seconds < 1.0 else f"within about {seconds:.0f} s"


def _end(row: dict[str, Any]) -> str:
    clears = row["clears_in"]
    if row["mode"] == "circuit_breaker":
        when = "" if not clears else f" Once failures stop, it closes {_within(clears)}."
        return f"Only probes pass.{when}"
    if clears == 0:
        return "Normal requests flow."
    if clears is None:
        return "It ends as soon as the load fits again."
    return f"Once failures stop, normal requests flow again {_within(clears)}."


def why(row: dict[str, Any]) -> str | None:
    """Why the route refuses requests now, or would in shadow mode; None while every tier flows."""
    whole, part = refused_tiers(row)
    if not (whole or part):
        return None
    several = len(whole) > 1 and row["mode"] != "circuit_breaker"
    verb = ("are refused" if several else "is refused") if row["enforced"] else "would be refused"
    if row["mode"] == "circuit_breaker":
        head = f"The breaker is open, so everything {verb}"
    elif whole:
        more = f", and {part[0]} in part" if part else ""
        head = f"{_listed(whole).capitalize()} {verb}{more}"
    else:
        head = f"A part of {part[0]} {verb}"
    return f"{head}: {_cause(row)}. Resistance is {row['resistance']:.1f} Ω. {_end(row)}"
