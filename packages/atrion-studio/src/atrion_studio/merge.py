"""The rows of several nodes as one: what is counted is added up, and the worst of what is measured is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atrion_studio.source import Row

__all__ = ["merged"]

SUMMED = ("in_flight", "pool_in_flight", "admitted", "shed", "would_shed")


def merged(nodes: Mapping[str, Mapping[str, Row]]) -> dict[str, Row]:
    """One row for each route of any node; ``nodes`` within tells the nodes apart.

    The row is that of the node with the highest resistance, whose reason and sentence are then the route's, with the
    calls, counters and limits of all nodes.
    """
    by_route: dict[str, dict[str, Row]] = {}
    for node, rows in nodes.items():
        for route, row in rows.items():
            by_route.setdefault(route, {})[node] = row
    return {route: _joined(found) for route, found in by_route.items()}


def _joined(found: Mapping[str, Row]) -> Row:
    worst = max(found.values(), key=lambda row: float(row["resistance"]))
    row: dict[str, Any] = dict(worst)
    for name in SUMMED:
        row[name] = sum(each[name] for each in found.values())
    row["leases"] = sum(each.get("leases", 0) for each in found.values())
    row["limit"] = round(sum(each["limit"] for each in found.values()), 1)
    row["tiers"] = {
        tier: {
            count: sum(each["tiers"].get(tier, {}).get(count, 0) for each in found.values())
            for count in ("admitted", "shed", "would_shed")
        }
        for tier in max((each["tiers"] for each in found.values()), key=len)
    }
    row["nodes"] = {
        node: {
            "resistance": each["resistance"],
            "mode": each["mode"],
            "scar": each["parts"]["scar"],
            "in_flight": each["in_flight"],
        }
        for node, each in found.items()
    }
    return row
