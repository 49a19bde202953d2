"""From begun and ended calls to telemetry: windows per tick, learned capacity, outcomes."""

from atrion.sensing.capacity import Capacity
from atrion.sensing.telemetry import Outcome, Telemetry
from atrion.sensing.window import Window

__all__ = ["Capacity", "Outcome", "Telemetry", "Window"]
