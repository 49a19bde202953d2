"""State behind a port: vectors, providers, blending, the manager and the pulse (RFC-0007)."""

from atrion.state.blending import blend, cluster_scar
from atrion.state.clock import Clock, SystemClock
from atrion.state.manager import StateManager
from atrion.state.memory import InMemoryProvider
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
from atrion.state.registry import provider_from, without_password

__all__ = [
    "Clock",
    "ClusterScar",
    "Finding",
    "InMemoryProvider",
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
    "provider_from",
    "without_password",
]
