"""What the others hold of a route, as it was sent and has decayed since. Compiled: every pulse asks every route."""

from __future__ import annotations

import math
from typing import final

from atrion.state.blending import EVIDENCE_CAP, EVIDENCE_SECONDS, LIVE_EVIDENCE

__all__ = ["DEADBAND", "PublishedState"]

DEADBAND = 0.05
"""Ohms by which a scar must differ from the others' decayed copy before it is sent again."""
EVIDENCE_DEADBAND = 0.25
"""Share of the evidence by which it must differ likewise."""


@final
class PublishedState:
    """A copy that was sent at ``at`` seconds: ``scar`` in ohms, decaying at ``decay_rate`` per second."""

    __slots__ = ("at", "decay_rate", "evidence", "scar")

    def __init__(self, scar: float, evidence: float, decay_rate: float, at: float) -> None:
        self.scar: float = scar
        self.evidence: float = min(evidence, EVIDENCE_CAP)
        self.decay_rate: float = decay_rate
        self.at: float = at

    def explains(self, scar: float, evidence: float, now: float) -> bool:
        """Whether decay alone has made the copy what the route is at ``now`` seconds."""
        age = now - self.at
        if not age >= 0.0:
            age = 0.0
        if abs(scar - self.scar * math.exp(-self.decay_rate * age)) > DEADBAND:
            return False
        kept = self.evidence * math.exp(-age / EVIDENCE_SECONDS)
        drift = abs(min(evidence, EVIDENCE_CAP) - kept)
        return drift <= EVIDENCE_DEADBAND * kept or drift <= LIVE_EVIDENCE
