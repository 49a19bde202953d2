"""Fixtures for pytest; put ``pytest_plugins = ["atrion.testing.fixtures"]`` into the root ``conftest.py``."""

from __future__ import annotations

import pytest

from atrion.engine import Atrion
from atrion.testing.clock import VirtualClock

__all__ = ["atrion_clock", "atrion_engine"]


@pytest.fixture
def atrion_clock() -> VirtualClock:
    """A :class:`~atrion.testing.VirtualClock`."""
    return VirtualClock()


@pytest.fixture
def atrion_engine(atrion_clock: VirtualClock) -> Atrion:
    """A new engine for every test, with the clock ``atrion_clock``."""
    return Atrion(clock=atrion_clock)
