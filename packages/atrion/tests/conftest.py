from __future__ import annotations

import pytest

from atrion import Atrion
from atrion.testing import VirtualClock


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def engine(clock: VirtualClock) -> Atrion:
    return Atrion(clock=clock)
