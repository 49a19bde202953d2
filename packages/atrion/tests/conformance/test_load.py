"""The command that drives guarded servers counts what their clients see; how much that is depends on the machine."""

from __future__ import annotations

import subprocess
import sys

import pytest

from packages.atrion.tests.conformance.load import OVERLOAD, SERVERS, Loaded, loaded


@pytest.mark.slow
@pytest.mark.parametrize("title", ["ASGI, Starlette", "grpc.aio"])
def test_a_short_load_is_counted(title: str) -> None:
    service = next(service for service in SERVERS if service.title == title)
    found = loaded(service, 1.0, measuring=0.5)
    assert found.capacity > 0.0
    assert found.goodput > 0.0
    assert 0.0 <= found.refused <= 1.0
    assert 0.0 < found.critical <= 1.0
    assert found.p99 > 0.0
    assert 0.0 < found.sent < 2.0 * OVERLOAD


@pytest.mark.parametrize(
    "goodput, critical, at_first, refused, mark",
    [
        (0.95, 0.99, 0.0, 0.0, "✓"),
        (0.94, 1.0, 0.0, 0.0, "✗"),
        (1.0, 0.98, 0.0, 0.0, "✗"),
        (1.0, 1.0, 0.1, 0.0, "✗"),
        (1.0, 1.0, 0.0, 0.001, "✗"),
    ],
)
def test_the_last_cell_says_whether_the_bounds_are_met(
    goodput: float, critical: float, at_first: float, refused: float, mark: str
) -> None:
    assert Loaded(320.0, goodput, critical, at_first, refused, 0.2, 4.0, 0.5, 0.2).cells()[-1] == mark


def test_a_server_that_does_not_exist_is_an_error() -> None:
    command = [sys.executable, "-m", "packages.atrion.tests.conformance", "--load", "Zope"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 2
    assert "invalid choice: 'Zope'" in told.stderr
