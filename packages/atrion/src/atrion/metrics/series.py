"""A reading as series of metrics, whatever the exporter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from atrion.control.counters import SHED_REASONS
from atrion.control.decision import Reason
from atrion.control.parts import PARTS
from atrion.control.totals import (
    ADMITTED,
    BUCKETS,
    LEASES,
    OUTCOMES,
    PROBES,
    SECONDS,
    SHED,
    TRANSITIONS,
    WOULD_SHED,
)
from atrion.metrics import names
from atrion.metrics.names import Metric
from atrion.metrics.reading import Reading
from atrion.physics.modes import Mode
from atrion.physics.voltage import Tier, band

__all__ = ["COUNTS", "GAUGES", "PARTS", "Labels", "Slots", "buckets", "process_series", "series"]

Labels = tuple[str, ...]
"""The values of a metric's labels, in their order."""
_TIERS: Final = [tier.name.lower() for tier in Tier]
_REASONS: Final = [reason.value for reason in SHED_REASONS]
_OUTCOMES: Final = ("success", "failure", "ignored", "dropped")
_MODES: Final = [mode.name.lower() for mode in Mode]
Slots = list[tuple[int, Labels]]
"""Series that follow each other among the counts: where each is, and its labels after the route's."""


def _refused(start: int, outcome: str, shadow: str) -> Slots:
    return [
        (start + len(_REASONS) * t + r, (tier, outcome, reason, shadow))
        for t, tier in enumerate(_TIERS)
        for r, reason in enumerate(_REASONS)
    ]


_DECISIONS: Final[list[Slots]] = [
    [
        (start + t, (tier, "admitted", reason.value, "false"))
        for start, reason in ((ADMITTED, Reason.FLOWS), (PROBES, Reason.PROBE))
        for t, tier in enumerate(_TIERS)
    ],
    _refused(SHED, "shed", "false"),
    _refused(WOULD_SHED, "admitted", "true"),
]
COUNTS: Final[list[tuple[Metric, list[Slots]]]] = [
    (names.DECISION, _DECISIONS),
    (names.CALL, [[(OUTCOMES + at, (outcome,)) for at, outcome in enumerate(_OUTCOMES)]]),
    (names.TRANSITION, [[(TRANSITIONS + at, (mode,)) for at, mode in enumerate(_MODES)]]),
    (names.LEASE, [[(LEASES + at, (event,)) for at, event in enumerate(("overrun", "stopped", "expired"))]]),
]
"""The counters of routes. Of most routes most are 0: slots are looked at together first."""
GAUGES: Final = {
    "resistance": names.RESISTANCE,
    "in_flight": names.IN_FLIGHT,
    "limit": names.LIMIT,
    "leases": names.LEASES,
    "open": names.BREAKER,
}
_PROCESS: Final = {metric.name: metric for metric in names.METRICS}


def series(reading: Reading) -> Iterator[tuple[Metric, list[tuple[Labels, float]]]]:
    """The series of every metric that is no histogram. Decisions, outcomes and transitions begin when they happen."""
    routes = reading.routes.items()
    for metric, groups in COUNTS:
        yield (
            metric,
            [
                ((route, *labels), n)
                for route, seen in routes
                for slots in groups
                if any(seen.counts[slots[0][0] : slots[-1][0] + 1])
                for at, labels in slots
                if (n := seen.counts[at])
            ],
        )
    for gauge, metric in GAUGES.items():
        yield metric, [((route,), seen.gauges[gauge]) for route, seen in routes if gauge in seen.gauges]
    yield (
        names.PART,
        [
            ((route, part), seen.gauges[f"part.{part}"])
            for route, seen in routes
            for part in PARTS
            if f"part.{part}" in seen.gauges
        ],
    )
    yield from process_series(reading)


def process_series(reading: Reading) -> Iterator[tuple[Metric, list[tuple[Labels, float]]]]:
    """The series that are of no route."""
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
