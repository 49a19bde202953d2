"""The published state of a route, decayed since. Compiled, because every pulse checks every active route."""

from __future__ import annotations

import math
from typing import final

from atrion.state.blending import EVIDENCE_CAP, EVIDENCE_SECONDS, LIVE_EVIDENCE

__all__ = ["DEADBAND", "PublishedState"]

DEADBAND = 0.05
"""Ohms by which a scar must differ from its published, decayed state to be published again."""
EVIDENCE_DEADBAND = 0.25
"""Share of the evidence by which it must differ."""


@final
class PublishedState:
    """State published at ``at`` seconds: ``scar`` in ohms, decaying at ``decay_rate`` per second."""

    __slots__ = ("at", "decay_rate", "evidence", "scar")

    def __init__(self, scar: float, evidence: float, decay_rate: float, at: float) -> None:
        self.scar: float = scar
        self.evidence: float = min(evidence, EVIDENCE_CAP)
        self.decay_rate: float = decay_rate
        self.at: float = at

    def explains(self, scar: float, evidence: float, now: float) -> bool:
        """Whether the route at ``now`` seconds differs from the published state by no more than decay."""
        age = now - self.at
        if not age >= 0.0:
            age = 0.0
        if abs(scar - self.scar * math.exp(-self.decay_rate * age)) > DEADBAND:
            return False
        kept = self.evidence * math.exp(-age / EVIDENCE_SECONDS)
        drift = abs(min(evidence, EVIDENCE_CAP) - kept)
        return drift <= EVIDENCE_DEADBAND * kept or drift <= LIVE_EVIDENCE
