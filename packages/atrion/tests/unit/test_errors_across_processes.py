"""Errors leave a worker process as they are, by both modules of the standard library."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest

from atrion import Atrion, ConfigurationError, FlowRejected, PhysicsVector, Reason
from atrion.testing import VirtualClock

Run = Callable[[Callable[[], None]], Any]


def shed() -> None:
    engine = Atrion(clock=VirtualClock())
    engine.restore("r", PhysicsVector(0.0, 0.0, 140.0, 0.0))
    with engine.flow("r"):
        pass


def misconfigured() -> None:
    Atrion().decide("x" * 300)


@pytest.fixture(scope="module", params=["executor", "pool"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    context = multiprocessing.get_context("spawn")
    if request.param == "executor":
        with ProcessPoolExecutor(1, mp_context=context) as executor:
            yield lambda job: executor.submit(job).result(60.0)
    else:
        with context.Pool(1) as pool:
            yield lambda job: pool.apply_async(job).get(60.0)


def test_a_rejection_keeps_its_decision(run: Run) -> None:
    with pytest.raises(FlowRejected, match="r: shed") as caught:
        run(shed)
    decision = caught.value.decision
    assert (decision.allowed, decision.route, decision.reason) == (False, "r", Reason.RESISTANCE)
    assert decision.retry_after > 0.0


def test_a_wrong_value_is_told_in_the_same_words(run: Run) -> None:
    with pytest.raises(ConfigurationError, match=r"route_id must be 1 to 256 characters, got ") as caught:
        run(misconfigured)
    assert caught.value.field == "route_id"
