"""State behind a port: vectors, blending, the manager and the pulse (RFC-0007)."""

from atrion.state.blending import blend, cluster_scar
from atrion.state.clock import Clock, SystemClock
from atrion.state.manager import StateManager
from atrion.state.port import (
    ClusterScar,
    Finding,
    NodeRow,
    PhysicsVector,
    Remembered,
    StateProvider,
    SupportsBatch,
    SupportsDiagnosis,
    SupportsExchange,
    SupportsListen,
    SupportsListing,
    SupportsRecall,
    SupportsSubscribe,
    SupportsSync,
)
from atrion.state.pulse import Pulse

__all__ = [
    "Clock",
    "ClusterScar",
    "Finding",
    "NodeRow",
    "PhysicsVector",
    "Pulse",
    "Remembered",
    "StateManager",
    "StateProvider",
    "SupportsBatch",
    "SupportsDiagnosis",
    "SupportsExchange",
    "SupportsListen",
    "SupportsListing",
    "SupportsRecall",
    "SupportsSubscribe",
    "SupportsSync",
    "SystemClock",
    "blend",
    "cluster_scar",
]
