"""A reading as series of metrics, whatever the exporter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from atrion.control.counters import SHED_REASONS
from atrion.control.decision import Reason
from atrion.control.totals import ADMITTED, BUCKETS, OUTCOMES, PROBES, SECONDS, SHED, TRANSITIONS, WOULD_SHED
from atrion.metrics import names
from atrion.metrics.names import Metric
from atrion.metrics.reading import Reading
from atrion.physics.modes import Mode
from atrion.physics.voltage import Tier, band

__all__ = ["Labels", "buckets", "series"]

Labels = tuple[str, ...]
"""The values of a metric's labels, in their order."""
_TIERS: Final = [tier.name.lower() for tier in Tier]
_REASONS: Final = [reason.value for reason in SHED_REASONS]
_OUTCOMES: Final = ("success", "failure", "ignored", "dropped")
_MODES: Final = [mode.name.lower() for mode in Mode]
_DECISIONS: Final[list[tuple[int, Labels]]] = [
    *[(ADMITTED + t, (tier, "admitted", Reason.FLOWS.value, "false")) for t, tier in enumerate(_TIERS)],
    *[(PROBES + t, (tier, "admitted", Reason.PROBE.value, "false")) for t, tier in enumerate(_TIERS)],
    *[
        (start + len(_REASONS) * t + r, (tier, outcome, reason, shadow))
        for start, outcome, shadow in ((SHED, "shed", "false"), (WOULD_SHED, "admitted", "true"))
        for t, tier in enumerate(_TIERS)
        for r, reason in enumerate(_REASONS)
    ],
]
"""Where each series of decisions is among the counts, and its labels after the route's."""
_GAUGES: Final = {
    "resistance": names.RESISTANCE,
    "in_flight": names.IN_FLIGHT,
    "limit": names.LIMIT,
    "open": names.BREAKER,
}
_PROCESS: Final = {metric.name: metric for metric in names.METRICS}


def series(reading: Reading) -> Iterator[tuple[Metric, list[tuple[Labels, float]]]]:
    """The series of every metric that is no histogram. Decisions, outcomes and transitions begin when they happen."""
    routes = reading.routes.items()
    yield (
        names.DECISION,
        [
            ((route, *labels), n)
            for route, seen in routes
            for at, labels in _DECISIONS
            if (n := seen.counts[at])
        ],
    )
    yield (
        names.CALL,
        [
            ((route, outcome), n)
            for route, seen in routes
            for at, outcome in enumerate(_OUTCOMES)
            if (n := seen.counts[OUTCOMES + at])
        ],
    )
    yield (
        names.TRANSITION,
        [
            ((route, mode), n)
            for route, seen in routes
            for at, mode in enumerate(_MODES)
            if (n := seen.counts[TRANSITIONS + at])
        ],
    )
    for gauge, metric in _GAUGES.items():
        yield metric, [((route,), seen.gauges[gauge]) for route, seen in routes if gauge in seen.gauges]
    yield (
        names.PART,
        [
            ((route, gauge[5:]), value)
            for route, seen in routes
            for gauge, value in seen.gauges.items()
            if gauge.startswith("part.")
        ],
    )
    yield names.VOLTAGE, [((tier.name.lower(),), band(int(tier))) for tier in Tier]
    for name, value in (*reading.counters.items(), *reading.gauges.items()):
        if name in _PROCESS:
            yield _PROCESS[name], [((), value)]


def buckets(reading: Reading) -> Iterator[tuple[str, list[float], float]]:
    """Of each route with ended calls: its cumulative buckets, the last one of all calls, and the sum of durations."""
    for route, seen in reading.routes.items():
        total, found = 0.0, []
        for n in seen.counts[BUCKETS:SECONDS]:
            total += n
            found.append(total)
        if total:
            yield route, found, seen.counts[SECONDS]
