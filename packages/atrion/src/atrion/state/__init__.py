"""State behind a port: vectors, blending, the manager and the pulse (RFC-0007)."""

from atrion.state.blending import blend, cluster_scar
from atrion.state.clock import Clock, SystemClock
from atrion.state.manager import StateManager
from atrion.state.port import (
    VITALS_EXPIRY,
    VITALS_MOST_BYTES,
    Batch,
    ClusterScar,
    ClusterSync,
    Finding,
    Inspect,
    KeepsPast,
    NodeRow,
    Past,
    PhysicsVector,
    Recall,
    Remembered,
    StateProvider,
    VitalsExchange,
)
from atrion.state.pulse import Pulse

__all__ = [
    "VITALS_EXPIRY",
    "VITALS_MOST_BYTES",
    "Batch",
    "Clock",
    "ClusterScar",
    "ClusterSync",
    "Finding",
    "Inspect",
    "KeepsPast",
    "NodeRow",
    "Past",
    "PhysicsVector",
    "Pulse",
    "Recall",
    "Remembered",
    "StateManager",
    "StateProvider",
    "SystemClock",
    "VitalsExchange",
    "blend",
    "cluster_scar",
]
