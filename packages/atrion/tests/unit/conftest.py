from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from atrion import Atrion, Mode, Telemetry
from atrion.testing import VirtualClock
from packages.atrion.tests.unit.calling import Breaker, Ticker


@pytest.fixture
def tick(clock: VirtualClock) -> Ticker:
    """Feed a route a sample a tick."""

    def run(engine: Atrion, route: str, ticks: int, **sample: float) -> None:
        for _ in range(ticks):
            clock.advance(0.1)
            engine.update_physics(route, Telemetry(**sample))

    return run


@pytest.fixture
def broken(tick: Ticker) -> Breaker:
    """Bring a route into CIRCUIT_BREAKER."""

    def run(engine: Atrion, route: str) -> None:
        tick(engine, route, 20, error_rate=1.0)
        assert engine.snapshot()[route].mode is Mode.CIRCUIT_BREAKER

    return run


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What is logged of routes."""
    with caplog.at_level(logging.WARNING, "atrion.routes"):
        yield caplog
