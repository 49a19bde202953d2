"""What tests of crowded processes share: whom a process sheds on a route without a resistance of its own."""

from __future__ import annotations

from atrion.control.process import Process
from atrion.physics.voltage import Tier, band

BASE = 10.0


def sheds(process: Process, tier: Tier) -> bool:
    """Whether anybody of a tier is shed."""
    return BASE + process.ohms >= band(int(tier))
