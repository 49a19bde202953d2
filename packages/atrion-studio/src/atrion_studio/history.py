"""What routes were like: fine steps for minutes and coarse ones for hours, in memory of a fixed size.

A route takes :data:`BYTES_PER_ROUTE` bytes from the moment it is first in use, and at most ``max_routes`` are kept.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Mapping
from typing import Any

__all__ = ["BYTES_PER_ROUTE", "COLUMNS", "History", "Transition"]

PARTS = ("base", "latency", "errors", "saturation", "momentum", "scar", "cluster", "queue")
COLUMNS = (
    *(f"part_{name}" for name in PARTS),
    "resistance",
    "mode",
    "in_flight",
    "limit",
    "latency",
    "admitted",
    "shed",
    "gamma",
)
"""Ohms of each part and in total, the mode's index, calls, seconds, requests a second, and γ."""
MODES = ("bootstrap", "operational", "circuit_breaker")
STEPS = ((1.0, 300), (10.0, 750))
"""Seconds between two points, and how many points: five minutes finely, and two hours coarsely."""
BYTES_PER_ROUTE = sum(size for _, size in STEPS) * len(COLUMNS) * 4
MOST_TRANSITIONS = 500

Transition = dict[str, Any]
"""``at`` (Unix time), ``route``, ``before`` and ``after`` (modes), ``resistance`` in ohms."""


class Ring:
    """The last ``size`` points of every route, ``step`` seconds apart; times are shared by all routes."""

    def __init__(self, step: float, size: int) -> None:
        self.step: float = step
        self.size: int = size
        self.times: array[float] = array("d", [0.0]) * size
        self.values: dict[str, array[float]] = {}
        self.count: int = 0

    def begin(self, at: float) -> bool:
        """Begin a point at Unix time ``at``, unless it is too early for one."""
        if self.count and 0.0 <= at - self.times[(self.count - 1) % self.size] < 0.95 * self.step:
            return False
        self.times[self.count % self.size] = at
        self.count += 1
        return True

    def put(self, route: str, point: array[float]) -> None:
        """The point of one route."""
        width = len(COLUMNS)
        values = self.values.get(route)
        if values is None:
            values = self.values[route] = array("f", [math.nan]) * (self.size * width)
        start = (self.count - 1) % self.size * width
        values[start : start + width] = point

    def skip(self, route: str) -> None:
        """A route that has no point now."""
        self.put(route, array("f", [math.nan]) * len(COLUMNS))

    def indices(self) -> list[int]:
        """Places of the points that there are, the oldest first."""
        first = max(self.count - self.size, 0)
        return [index % self.size for index in range(first, self.count)]


class History:
    """The past of at most ``max_routes`` routes, and the last changes of mode of all."""

    def __init__(self, max_routes: int = 500) -> None:
        self.max_routes: int = max_routes
        self.transitions: deque[Transition] = deque(maxlen=MOST_TRANSITIONS)
        self._rings = [Ring(step, size) for step, size in STEPS]
        self._known: set[str] = set()

    def note(self, at: float, route: str, before: str, after: str, resistance: float) -> None:
        """A route changed its mode at Unix time ``at``."""
        self.transitions.append(
            {"at": at, "route": route, "before": before, "after": after, "resistance": resistance}
        )

    def record(self, at: float, rows: Mapping[str, dict[str, Any]]) -> None:
        """Take the state of all routes at Unix time ``at``, where a point is due."""
        due = [ring for ring in self._rings if ring.begin(at)]
        if not due:
            return
        for route, row in rows.items():
            if route not in self._known:
                if len(self._known) >= self.max_routes or not (row["admitted"] or row["shed"]):
                    continue
                self._known.add(route)
            point = _point(row)
            for ring in due:
                ring.put(route, point)
        for route in self._known.difference(rows):
            for ring in due:
                ring.skip(route)

    def of(self, route: str, since: float) -> dict[str, Any]:
        """Columns of one route from Unix time ``since`` on, in the finest steps that reach back so far."""
        ring = self._ring_for(since)
        values = ring.values.get(route)
        places = [place for place in ring.indices() if ring.times[place] >= since]
        width = len(COLUMNS)
        columns = {
            name: [None if values is None else _number(values[place * width + index]) for place in places]
            for index, name in enumerate(COLUMNS)
        }
        return {
            "route": route,
            "step": ring.step,
            "at": [ring.times[place] for place in places],
            "columns": columns,
            "transitions": [
                change for change in self.transitions if change["route"] == route and change["at"] >= since
            ],
        }

    def at(self, instant: float) -> dict[str, Any]:
        """All routes at the last point before Unix time ``instant``, or at the first one there is."""
        ring = self._ring_for(instant)
        places = ring.indices()
        if not places:
            return {"at": None, "routes": {}}
        chosen = places[0]
        for place in places:
            if ring.times[place] <= instant:
                chosen = place
        width = len(COLUMNS)
        routes = {}
        for route, values in ring.values.items():
            point = values[chosen * width : (chosen + 1) * width]
            if point[0] == point[0]:
                routes[route] = _row(point)
        return {"at": ring.times[chosen], "routes": routes}

    def trends(self, points: int = 60) -> dict[str, list[float]]:
        """The last resistances of every route, in the finest steps there are."""
        ring = self._rings[0]
        places = ring.indices()[-points:]
        width, index = len(COLUMNS), COLUMNS.index("resistance")
        return {
            route: [round(ohms, 1) for place in places if (ohms := values[place * width + index]) == ohms]
            for route, values in ring.values.items()
        }

    def span(self) -> tuple[float, float] | None:
        """Unix times of the oldest and the newest point, or None without any."""
        spans = [
            (ring.times[places[0]], ring.times[places[-1]])
            for ring in self._rings
            if (places := ring.indices())
        ]
        return (min(first for first, _ in spans), max(last for _, last in spans)) if spans else None

    def _ring_for(self, since: float) -> Ring:
        for ring in self._rings:
            places = ring.indices()
            if places and (ring.times[places[0]] <= since or ring.count <= ring.size):
                return ring
        return self._rings[-1]


def _number(value: float) -> float | None:
    return None if value != value else round(value, 4)


def _point(row: Mapping[str, Any]) -> array[float]:
    parts, rates = row["parts"], row["rates"]
    return array(
        "f",
        [
            *(parts[name] for name in PARTS),
            row["resistance"],
            MODES.index(row["mode"]),
            row["in_flight"],
            row["limit"],
            row["latency"],
            rates["admitted"],
            rates["shed"],
            row["gamma"],
        ],
    )


def _row(point: array[float]) -> dict[str, Any]:
    values = dict(zip(COLUMNS, (round(value, 4) for value in point), strict=True))
    row: dict[str, Any] = {
        name: value for name, value in values.items() if not name.startswith("part_") and name != "mode"
    }
    row["mode"] = MODES[int(values["mode"])]
    row["parts"] = {name: values[f"part_{name}"] for name in PARTS}
    row["rates"] = {"admitted": row.pop("admitted"), "shed": row.pop("shed")}
    return row
