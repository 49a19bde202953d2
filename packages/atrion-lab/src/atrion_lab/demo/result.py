"""The demo's result, as JSON and as text."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any

from atrion_lab.demo.load import DEADLINE

__all__ = ["Service", "as_json", "sentence", "summary", "table", "trouble"]

BUSY = 0.9
"""Share of a core above which the process that sends is the bottleneck."""
HAD = 0.8
"""Share of a core that a service which computes must have had in overload."""
SLOW = 0.05
"""Seconds of delay that are no longer small beside the deadline."""
SHORT = 0.95
"""Share of the load that must have been sent in time, at least."""
WIDTH = 35
COLUMN = 14
JSON = ("goodput_ratio", "critical_success", "p99_seconds")


@dataclass(frozen=True, slots=True)
class Service:
    """What the service's processes were like in overload, half of the time.

    Attributes:
        lag: How late their loops were, in seconds.
        cpu: What each used of a core, as a share.
        computes: Its bottleneck is the CPU: then it is late by nature.
    """

    lag: float = 0.0
    cpu: float = 0.0
    computes: bool = False


def _share(tallies: Any, what: str) -> float:
    whole: int = sum(tally["sent"] for tally in tallies)
    part: int = sum(tally[what] for tally in tallies)
    return part / max(whole, 1)


def summary(phases: dict[str, Any], capacity: float) -> dict[str, float]:
    """The numbers of one run: ratios, and the p99 in seconds of requests that were not shed."""
    loaded = phases["overload"]
    worked = sum(tally["work"] for tally in loaded["tiers"].values())
    latencies = loaded["latencies"]
    return {
        "goodput_ratio": round(worked / loaded["seconds"] / capacity, 4),
        "critical_success": round(_share([loaded["tiers"]["critical"]], "good"), 4),
        "p99_seconds": round(latencies[int(0.99 * (len(latencies) - 1))], 4) if latencies else 0.0,
        "false_reject_ratio": round(_share(list(phases["calm"]["tiers"].values()), "shed"), 5),
        "recovery_success": round(_share(list(phases["recovery"]["tiers"].values()), "good"), 4),
    }


def as_json(result: dict[str, Any]) -> dict[str, Any]:
    """The result for JSON; an unprotected service has no false rejections."""
    protected = (*JSON, "false_reject_ratio")
    return {
        **result,
        "unprotected": {name: result["unprotected"][name] for name in JSON},
        "protected": {name: result["protected"][name] for name in protected},
    }


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value < DEADLINE else "gave up"


def table(result: dict[str, Any]) -> str:
    """Both runs side by side."""
    rows = [
        ("answers in time / capacity", "goodput_ratio", "{:.0%}".format),
        ("critical answered in time", "critical_success", "{:.1%}".format),
        (f"p99 of admitted (deadline {DEADLINE:g} s)", "p99_seconds", _seconds),
        ("rejected in calm, before", "false_reject_ratio", "{:.2%}".format),
        ("answered in time, afterwards", "recovery_success", "{:.1%}".format),
    ]
    lines = [f"{'':<{WIDTH}}{'unprotected':>{COLUMN}}{'with Atrion':>{COLUMN}}", "─" * (WIDTH + 2 * COLUMN)]
    for name, key, form in rows:
        left, right = (form(result[run][key]) for run in ("unprotected", "protected"))
        lines.append(f"{name:<{WIDTH}}{left:>{COLUMN}}{right:>{COLUMN}}")
    return "\n".join(lines)


def sentence(result: dict[str, Any]) -> str:
    """The result as a sentence."""
    before, after = result["unprotected"], result["protected"]
    overload = result["offered_rps"] / result["capacity_rps"]
    text = (
        f"At {overload:.1f} times its capacity, the service alone answered {before['goodput_ratio']:.0%} "
        f"of its capacity in time. With Atrion it answered {after['goodput_ratio']:.0%}, "
        f"and {after['critical_success']:.1%} of the critical requests."
    )
    if "workers" in result:
        text += f" {result['workers_sharing']} of {result['workers']} workers shared their state."
    return textwrap.fill(text, 78)


def trouble(title: str, row: dict[str, Any], service: Service, asked: float) -> str | None:
    """A note if the machine, and not the service, was the bottleneck of a run.

    ``row`` is its overload phase; ``asked`` the requests per second that it should have been sent.
    """
    late = max(0.0 if service.computes else service.lag, row["lag"])
    if row["cpu"] > BUSY:
        what = f"sending took {row['cpu']:.0%} of a core"
    elif row["offered"] < SHORT * asked:
        what = f"only {row['offered']:.0f} of {asked:.0f} requests a second could be sent"
    elif (service.lag > SLOW and not service.computes) or row["lag"] > DEADLINE:
        what = f"processes waited up to {late:.1f} s for a core"
    elif service.computes and service.cpu < HAD:
        what = f"the service had only {service.cpu:.0%} of a core to compute with"
    else:
        return None
    return f"Note: {title}, this machine itself was a bottleneck: {what}. Try again when it is idle."
