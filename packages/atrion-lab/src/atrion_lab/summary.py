"""The main numbers of a run, as data and as text."""

from __future__ import annotations

from typing import Any

from atrion_lab.metrics import Run

__all__ = ["TIER_NAMES", "summary", "text"]

TIER_NAMES = ("bulk", "low", "normal", "high", "critical")


def summary(run: Run, start: float, end: float) -> dict[str, Any]:
    """Ratios, counts, and latencies in seconds, over [start, end)."""
    attempts = max(run.count("attempts", start, end), 1)
    return {
        "window": [start, end],
        "offered_per_capacity": round(run.rate("offered", start, end) / run.capacity, 4),
        "goodput_per_capacity": round(run.goodput(start, end), 4),
        "rejected_share": round(run.count("rejected", start, end) / attempts, 5),
        "p50_seconds": round(run.latency(0.5, start, end), 4),
        "p99_seconds": round(run.latency(0.99, start, end), 4),
        "break_transitions": run.transitions(),
        "open_share": round(run.share_open(), 4),
        "tiers": {
            name: {
                "offered": run.count("offered", start, end, tier),
                "success": round(run.success(start, end, tier), 4),
            }
            for tier, name in enumerate(TIER_NAMES)
            if run.count("offered", start, end, tier)
        },
    }


def text(numbers: dict[str, Any]) -> str:
    """The summary as a table."""
    start, end = numbers["window"]
    lines = [
        f"  from {start:g} to {end:g} s",
        f"  offered / capacity        {numbers['offered_per_capacity']:8.3f}",
        f"  goodput / capacity        {numbers['goodput_per_capacity']:8.3f}",
        f"  attempts rejected         {numbers['rejected_share']:8.1%}",
        f"  latency of admitted       {numbers['p50_seconds']:8.3f} s median, {numbers['p99_seconds']:.3f} s p99",
        f"  breaker opened            {numbers['break_transitions']:8d} times, {numbers['open_share']:.1%} of the time",
    ]
    for name, tier in reversed(numbers["tiers"].items()):
        bar = "█" * round(30 * tier["success"])
        lines.append(f"  {name:<9}{tier['offered']:8d} offered {tier['success']:8.1%} in time  {bar}")
    return "\n".join(lines)
