"""What a proxy's stamp tells: how long a request waited before it came to the process."""

from __future__ import annotations

import pytest

from atrion.control.process import TICK, Process
from atrion.integrations._arrivals import Arrivals, waited


@pytest.mark.parametrize(
    "stamp",
    ["t=1700000000.000", "1700000000", " 1700000000.0 ", "t=1700000000000", "1700000000000000", "t=1.7e9"],
)
def test_a_stamp_is_read_in_its_unit(stamp: str) -> None:
    assert waited(stamp, 1700000000.5) == pytest.approx(0.5)


@pytest.mark.parametrize(
    "stamp",
    ["", "t=", "now", "nan", "inf", "-1", "1700000001", "1699999900", "0", "t=t=1700000000", "1" * 400],
)
def test_a_stamp_that_is_nonsense_says_nothing(stamp: str) -> None:
    assert waited(stamp, 1700000000.5) is None


def heard(waits: list[float], seconds: float, arrivals: Arrivals | None = None, now: float = 0.0) -> Arrivals:
    """Requests that have waited so long, in turn."""
    arrivals = arrivals or Arrivals(now)
    for _ in range(round(seconds / TICK)):
        for wait in waits:
            now += TICK / len(waits)
            arrivals.hear(wait, now)
    return arrivals


def test_requests_that_come_late_are_proof_of_a_queue() -> None:
    arrivals = heard([0.01, 0.02], 2.0)
    assert arrivals.process.ohms == 0.0
    heard([0.5, 0.6], 2.0, arrivals, 2.0)
    assert arrivals.process.ohms > 30.0
    heard([0.01, 0.02], 2.0, arrivals, 4.0)
    assert arrivals.process.ohms == 0.0


@pytest.mark.parametrize(
    "waits",
    [
        [0.01, 0.9, 0.02, 0.01],  # a few are late
        [5.0, 5.01],  # the proxy's clock is five seconds behind
    ],
)
def test_a_few_late_ones_or_a_clock_that_differs_prove_nothing(waits: list[float]) -> None:
    assert heard(waits, 5.0).process.ohms == 0.0


def test_the_greater_resistance_counts() -> None:
    arrivals, other = heard([0.01, 0.5, 0.5, 0.5, 0.5], 1.5), Process()
    assert arrivals.or_else(other) is arrivals.process
    other.refuse_at_once()
    assert other.ohms > arrivals.process.ohms
    assert arrivals.or_else(other) is other
