"""Gamma blending (RFC-0007 §5) that converges: evidence-weighted, decayed for age, capped per node."""

from __future__ import annotations

import math
from collections.abc import Iterable

from atrion.state.port import ClusterScar, NodeScar

__all__ = ["EVIDENCE_CAP", "EXPIRY", "SCAR_CAP", "blend", "cluster_scar"]

EVIDENCE_CAP = 100.0
"""Most observations one node's word counts for, so that a busy or broken pod cannot speak for everybody."""
SCAR_CAP = 1000.0
"""Most ohms one node's scar counts for."""
EXPIRY = 60.0
"""Seconds after which a silent node's row is gone."""


def blend(own: float, cluster: ClusterScar | None, gamma: float) -> float:
    """``S = γ·S_cluster + (1 − γ)·S_local`` in ohms; ``own`` alone when no peer lives, whatever γ."""
    if cluster is None or cluster.nodes == 0:
        return own
    return gamma * cluster.scar + (1.0 - gamma) * own


def cluster_scar(rows: Iterable[tuple[NodeScar, float]]) -> ClusterScar:
    """The evidence-weighted mean of the other nodes' rows, each with its age in seconds.

    A row decays by the scar law for its age, so a dead node fades; a row without evidence has no vote.
    """
    total = weighted = 0.0
    nodes = 0
    for row, age in rows:
        evidence = min(row.evidence, EVIDENCE_CAP)
        if not (evidence > 0.0 and 0.0 <= age <= EXPIRY):
            continue
        nodes += 1
        total += evidence
        weighted += evidence * min(row.scar, SCAR_CAP) * math.exp(-row.decay_rate * age)
    return ClusterScar(weighted / total if total > 0.0 else 0.0, nodes)
