"""Rows that nodes write into a store."""

from __future__ import annotations

from atrion import PhysicsVector
from atrion.state import NodeRow


def row(scar: float, evidence: float = 10.0, decay_rate: float = 0.0) -> NodeRow:
    return NodeRow(PhysicsVector(10.0, 0.0, scar, 1.0), evidence, decay_rate)
