"""The counts of routes as one list of numbers, which can be added up and sent to other processes. Compiled."""

from __future__ import annotations

from typing import Final, final

from atrion.control.route import Route

__all__ = [
    "ADMITTED",
    "BUCKETS",
    "LEASES",
    "LENGTH",
    "OUTCOMES",
    "PROBES",
    "SECONDS",
    "SHED",
    "TRANSITIONS",
    "WOULD_SHED",
    "Totals",
    "counts_of",
]

# Where each kind of count begins; the fields of Counters say how they are ordered.
ADMITTED: Final = 0
PROBES: Final = 5
SHED: Final = 10
WOULD_SHED: Final = 50
OUTCOMES: Final = 90
TRANSITIONS: Final = 94
BUCKETS: Final = 97
SECONDS: Final = 113
LEASES: Final = 114
LENGTH: Final = 117
_NO_LEASES: Final[list[int]] = [0] * 3
_NONE: Final[list[int]] = [0] * 40


def counts_of(route: Route) -> list[float]:
    """The counts of a route that has counters: what they hold, its calls by outcome, and its leases.

    The outcomes are success, failure, ignored and dropped. Of leases, those are counted that have overrun a budget,
    were told to stop, or have expired. A stream that broke is a success, as its answer had begun, and a failure as
    well, because counts only grow.
    """
    counters = route.counters
    if counters is None:
        return [0.0] * LENGTH
    window = route.window
    before = counters.calls_before
    leases = route.leases
    return [
        *counters.admitted,
        *counters.probes,
        *(_NONE if counters.shed is None else counters.shed),
        *(_NONE if counters.would_shed is None else counters.would_shed),
        window.successes_total - before[0] + counters.broken_streams,
        window.failures_total - before[1],
        window.ignored_total - before[2],
        window.drops_total - before[3],
        *counters.transitions,
        *counters.buckets,
        counters.seconds,
        *(_NO_LEASES if leases is None else [leases.overruns, leases.stopped, leases.expired]),
    ]


@final
class Totals:
    """The sum of the counts of routes that were dropped."""

    __slots__ = ("counts", "routes")

    def __init__(self) -> None:
        self.counts: list[float] = [0.0] * LENGTH
        self.routes: int = 0

    def add(self, route: Route) -> None:
        """Add the counts of a route."""
        self.routes += 1
        self.counts = [a + b for a, b in zip(self.counts, counts_of(route), strict=True)]
