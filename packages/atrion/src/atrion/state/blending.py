"""Gamma blending (RFC-0007 §5) that converges: evidence-weighted, decayed for age, capped per node."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from atrion.state.port import ClusterScar, NodeRow

__all__ = [
    "EVIDENCE_CAP",
    "EVIDENCE_SECONDS",
    "EXPIRY",
    "JUMP",
    "LIVE_EVIDENCE",
    "SCAR_CAP",
    "blend",
    "cluster_scar",
]

EVIDENCE_CAP: Final = 100.0
"""Most observations that one node counts for, so that a busy or broken node cannot outweigh all others."""
EVIDENCE_SECONDS: Final = 2.0
"""Seconds in which evidence falls to 1/e: old observations say nothing about the present."""
LIVE_EVIDENCE: Final = 0.5
"""Evidence below which the other nodes' opinion is ignored."""
SCAR_CAP: Final = 150.0
"""Most ohms that one node's scar counts for, whatever it reports."""
JUMP: Final = 10.0
"""Ohms by which a scar must rise in one tick to be announced before the next pulse."""
EXPIRY: Final = 60.0
"""Seconds after which the row of a silent node expires."""


def blend(own: float, cluster: float, gamma: float) -> float:
    """``S = γ·S_cluster + (1 − γ)·S_local`` in ohms (RFC-0007 §5)."""
    return gamma * cluster + (1.0 - gamma) * own


def cluster_scar(rows: Iterable[tuple[NodeRow, float]]) -> ClusterScar:
    """The evidence-weighted mean of the other nodes' rows, each with its age in seconds.

    A row decays by the scar law for its age, and so does its evidence: a stopped node loses its weight.
    """
    total = weighted = 0.0
    for row, age in rows:
        if not (row.evidence > 0.0 and 0.0 <= age <= EXPIRY):
            continue
        evidence = min(row.evidence, EVIDENCE_CAP) * math.exp(-age / EVIDENCE_SECONDS)
        total += evidence
        weighted += evidence * min(row.vector.scar_tissue, SCAR_CAP) * math.exp(-row.decay_rate * age)
    return ClusterScar(weighted / total if total > 0.0 else 0.0, total)
