"""What an engine, or the workers of a host together, have counted and are doing: read when somebody looks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from atrion.control.counters import Counters
from atrion.control.parts import GAUGES, gauges_of
from atrion.control.route import Route
from atrion.control.totals import LENGTH, Totals, counts_of
from atrion.engine import Atrion
from atrion.metrics import names
from atrion.metrics.names import OTHER, Metric

__all__ = ["MOST_ROUTES", "Reader", "Reading", "RouteReading", "merged"]

MOST_ROUTES: Final = 100
"""Routes that have series of their own, unless told otherwise."""
_SUMMED: Final = frozenset({"in_flight", "leases", "limit"})
"""Gauges of routes that add up over workers; of the others, the highest counts."""
_LOWEST: Final = names.STORE_HEALTHY.name


@dataclass
class RouteReading:
    """The counts of a route, as :func:`atrion.control.totals.counts_of` gives them, and its gauges by name."""

    counts: list[float]
    gauges: dict[str, float] = field(default_factory=dict)

    def add(self, other: RouteReading) -> None:
        """Add another process's reading of the same route."""
        self.counts = plus(self.counts, other.counts)
        add_gauges(self.gauges, other.gauges, _SUMMED)


@dataclass
class Reading:
    """One reading: routes by id, ``_other`` among them, and the process's own counters and gauges by metric."""

    routes: dict[str, RouteReading] = field(default_factory=dict)
    counters: dict[str, float] = field(default_factory=dict)
    gauges: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The reading as data for JSON; counts as pairs of place and number, without those that are 0."""
        return {
            "routes": {
                route: [[[place, n] for place, n in enumerate(seen.counts) if n], seen.gauges]
                for route, seen in self.routes.items()
            },
            "counters": self.counters,
            "gauges": self.gauges,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Reading:
        """The reading that :meth:`as_dict` turned into ``data``.

        Raises:
            ValueError, TypeError, KeyError, IndexError, AttributeError: it is something else.
        """
        routes = {}
        for route, (pairs, gauges) in data["routes"].items():
            counts = [0.0] * LENGTH
            for place, number in pairs:
                counts[place] = float(number)
            routes[str(route)] = RouteReading(
                counts, {str(name): float(value) for name, value in gauges.items()}
            )
        counters, own = (
            {str(name): float(value) for name, value in data[kind].items()} for kind in ("counters", "gauges")
        )
        return cls(routes, counters, own)

    def without_gauges(self) -> Reading:
        """What remains of a process that has ended: its counts."""
        routes = {route: RouteReading(seen.counts) for route, seen in self.routes.items()}
        return Reading(routes, self.counters)


def plus(some: list[float], others: list[float]) -> list[float]:
    """The sums of two lists, place by place."""
    return [a + b for a, b in zip(some, others, strict=True)]


def minus(some: list[float], others: list[float]) -> list[float]:
    """The differences of two lists, place by place."""
    return [a - b for a, b in zip(some, others, strict=True)]


def add_gauges(into: dict[str, float], others: dict[str, float], summed: frozenset[str]) -> None:
    """Merge gauges of another process: some are summed; of the others, the worst counts."""
    for name, value in others.items():
        if name not in into:
            into[name] = value
        elif name in summed:
            into[name] += value
        else:
            into[name] = min(into[name], value) if name == _LOWEST else max(into[name], value)


def merged(readings: Iterable[Reading], most_routes: int | None = None) -> Reading:
    """One reading of several processes. Beyond ``most_routes``, routes are added to ``_other``."""
    whole = Reading()
    summed = frozenset({names.ROUTE.name, names.WORKER.name})
    for reading in readings:
        for route, seen in reading.routes.items():
            full = most_routes is not None and len(whole.routes) >= most_routes and route not in whole.routes
            name = OTHER if full else route
            kept = whole.routes.get(name)
            if kept is None:
                whole.routes[name] = RouteReading(list(seen.counts), dict(seen.gauges))
            else:
                kept.add(seen)
        for metric, value in reading.counters.items():
            whole.counters[metric] = whole.counters.get(metric, 0.0) + value
        add_gauges(whole.gauges, reading.gauges, summed)
    return whole


class _Series:
    """A route that has series of its own: its counters, and its counts when last read."""

    def __init__(self, counters: Counters) -> None:
        self.counters = counters
        self.last: list[float] = [0.0] * LENGTH


class Reader:
    """Reads one engine, time after time.

    The busiest ``most_routes`` routes get series of their own as they are first seen, and keep them until they are
    evicted. All others are added up as ``_other``, with what evicted routes have counted: no count is in two series,
    none is lost, and none ever falls.
    """

    def __init__(self, atrion: Atrion, most_routes: int = MOST_ROUTES) -> None:
        self.atrion = atrion
        self._most = most_routes
        atrion.count()
        self._start()

    def _start(self) -> None:
        self._evicted: Totals | None = self.atrion.evicted
        self._series: dict[str, _Series] = {}
        self._lumped: set[str] = set()
        self._retired: list[float] = [0.0] * LENGTH
        self._other: list[float] = [0.0] * LENGTH

    def read(self) -> Reading:
        """The reading of this instant."""
        if self.atrion.evicted is not self._evicted:
            self._start()  # this is a child of the process that read before
        evicted = self._evicted
        assert evicted is not None  # the engine counts
        before = list(evicted.counts)  # a route that is evicted from here on is read as alive
        found = [(route, route.counters) for route in list(self.atrion.routes.values())]
        alive = {route.id: (route, counters) for route, counters in found if counters is not None}
        self._retire(alive)
        self._choose(alive)
        now = self.atrion.now()
        reading = Reading()
        others: list[list[float]] = [before]
        lumped = RouteReading([], {})
        for name, (route, _) in alive.items():
            series = self._series.get(name)
            counts = counts_of(route)
            if series is None:
                others.append(counts)
                add_gauges(lumped.gauges, {"in_flight": float(route.in_flight())}, _SUMMED)
            else:
                route.advance(now)
                series.last = counts
                gauges = dict(zip(GAUGES, gauges_of(route), strict=True))
                if route.leases is not None:
                    gauges["leases"] = float(route.leases.held)
                reading.routes[name] = RouteReading(counts, gauges)
        total = minus([sum(column) for column in zip(*others, strict=True)], self._retired)
        # A route that another thread evicts meanwhile may be missing once: counts stand still rather than fall.
        lumped.counts = self._other = list(map(max, total, self._other))
        if len(others) > 1 or any(lumped.counts):
            reading.routes[OTHER] = lumped
        self._read_process(reading, len(alive))
        return reading

    def _retire(self, alive: dict[str, tuple[Route, Counters]]) -> None:
        """End the series of evicted routes: their counts are among the evicted ones, but were told already."""
        for name, series in list(self._series.items()):
            now = alive.get(name)
            if now is None or now[1] is not series.counters:
                self._retired = plus(self._retired, series.last)
                del self._series[name]
        self._lumped &= alive.keys()

    def _choose(self, alive: dict[str, tuple[Route, Counters]]) -> None:
        """Give new routes series while there are some left, the busiest first."""
        known = self._series.keys() | self._lumped
        new = [pair for name, pair in alive.items() if name not in known]
        if not new:
            return
        new.sort(key=lambda pair: -(pair[0].admitted + pair[0].total_shed))
        room = max(self._most - len(self._series), 0)
        for route, counters in islice(new, room):
            self._series[route.id] = _Series(counters)
        self._lumped.update(route.id for route, _ in new[room:])

    def _read_process(self, reading: Reading, routes: int) -> None:
        atrion = self.atrion
        state = atrion.state
        reading.counters = _by_name(
            {
                names.PULSE: float(atrion.pulses),
                names.STORE_FAILURE: float(state.failures),
                names.ROW_DROPPED: float(state.dropped_rows),
                names.OBSERVER_FAILURE: float(atrion.observer_failures),
            }
        )
        gauges = {names.ROUTE: float(routes), names.WORKER: 1.0, names.STORE_HEALTHY: float(state.healthy)}
        if atrion.pulses:
            gauges[names.PULSE_DURATION] = atrion.pulse_seconds
        if atrion.answered is not None:
            gauges[names.STORE_AGE] = max(atrion.now() - atrion.answered, 0.0)
        ends = license_end(state.provider)
        if ends is not None:
            gauges[names.LICENSE] = ends
        reading.gauges = _by_name(gauges)


def _by_name(values: dict[Metric, float]) -> dict[str, float]:
    return {metric.name: value for metric, value in values.items()}


def license_end(provider: object) -> float | None:
    """When the provider's licence ends, in Unix time; None if it has none, or cannot say."""
    status = getattr(provider, "license_status", None)
    try:
        ends = None if status is None else status().ends_at
        return None if ends is None else float(ends)
    except Exception:
        return None
