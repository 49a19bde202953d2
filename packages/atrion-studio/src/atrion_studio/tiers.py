"""Decisions counted by tier while somebody looks."""

from __future__ import annotations

from collections.abc import Callable

from atrion import Atrion, Decision, Tier
from atrion.physics.voltage import level_at

__all__ = ["TierCounts"]

NAMES = [tier.name.lower() for tier in Tier]


class TierCounts:
    """An observer of decisions: how many were admitted and shed, by route and tier, since it was first attached.

    It costs every decision a microsecond or two, so it is attached only while somebody looks.
    """

    # Counters of the engine's own, kept on the route, would make this observer unnecessary.

    def __init__(self) -> None:
        self._counts: dict[str, list[list[int]]] = {}
        self._end: Callable[[], None] | None = None

    def attach(self, engine: Atrion) -> None:
        """Count from now on; again changes nothing."""
        if self._end is None:
            self._end = engine.observe(self)

    def detach(self) -> None:
        """Stop; what was counted is kept."""
        end, self._end = self._end, None
        if end is not None:
            end()

    def on_decision(self, decision: Decision) -> None:
        """Count one; in shadow mode, what would be shed counts as shed."""
        counts = self._counts.get(decision.route)
        if counts is None:
            counts = self._counts.setdefault(decision.route, [[0, 0] for _ in NAMES])
        shed = not decision.allowed or decision.would_shed
        counts[level_at(decision.voltage)][shed] += 1

    def of(self, route: str) -> dict[str, dict[str, int]]:
        """What was counted of a route, the lowest tier first."""
        counts = self._counts.get(route) or [[0, 0] for _ in NAMES]
        return {
            name: {"admitted": admitted, "shed": shed}
            for name, (admitted, shed) in zip(NAMES, counts, strict=True)
        }
