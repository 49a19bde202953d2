"""Fixtures for pytest, by ``pytest_plugins = ["atrion.testing.fixtures"]`` in the topmost ``conftest.py``."""

from __future__ import annotations

import pytest

from atrion.engine import Atrion
from atrion.testing.clock import VirtualClock

__all__ = ["atrion_clock", "atrion_engine"]


@pytest.fixture
def atrion_clock() -> VirtualClock:
    """A clock that is moved by hand."""
    return VirtualClock()


@pytest.fixture
def atrion_engine(atrion_clock: VirtualClock) -> Atrion:
    """An engine of its own for every test, by the clock of ``atrion_clock``."""
    return Atrion(clock=atrion_clock)
