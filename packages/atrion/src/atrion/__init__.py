"""Atrion: adaptive admission control that feels like physics."""

from types import FunctionType as _FunctionType

from atrion import _platform, physics
from atrion.control.call import Call
from atrion.control.decision import Decision, Reason
from atrion.control.observer import Observer, Transition
from atrion.control.profiles import Profile
from atrion.control.route import Route as _Route
from atrion.engine import Atrion, RouteSnapshot
from atrion.errors import (
    AtrionError,
    ConfigurationError,
    FlowRejected,
    LeaseCancelled,
    MissingExtraError,
    ProviderError,
)
from atrion.physics import SLO, AdaptiveBreak, Mode, PhysicsConfig, Tier
from atrion.providers import InMemoryProvider
from atrion.sensing import Outcome, Telemetry
from atrion.state import PhysicsVector, StateManager, StateProvider
from atrion.workload import Lease, LeaseSnapshot, Swarm

__all__ = [
    "SLO",
    "AdaptiveBreak",
    "Atrion",
    "AtrionError",
    "Call",
    "ConfigurationError",
    "Decision",
    "FlowRejected",
    "InMemoryProvider",
    "Lease",
    "LeaseCancelled",
    "LeaseSnapshot",
    "MissingExtraError",
    "Mode",
    "Observer",
    "Outcome",
    "PhysicsConfig",
    "PhysicsVector",
    "Profile",
    "ProviderError",
    "Reason",
    "RouteSnapshot",
    "StateManager",
    "StateProvider",
    "Swarm",
    "Telemetry",
    "Tier",
    "Transition",
    "compiled",
    "physics",
]

compiled: bool = not isinstance(_Route.admit, _FunctionType)
"""Whether the hot core runs as machine code (mypyc) or as Python source."""

_platform.warn_without_gil()
