"""A flow by itself: for one call, with what was not the service's time left out."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

import pytest

from atrion import Atrion, AtrionError, Decision, FlowRejected, Outcome, PhysicsVector
from atrion.testing import VirtualClock
from packages.atrion.tests.unit.calling import Breaker


def enter(flow: Any) -> None:
    with flow:
        pass


async def enter_async(flow: Any) -> None:
    async with flow:
        pass


def enter_in_a_task(flow: Any) -> None:
    asyncio.run(enter_async(flow))


def try_begin(flow: Any) -> None:
    flow.try_begin()
    flow.finish()


def decide(flow: Any) -> None:
    flow.decide()
    flow.finish()


WAYS = [enter, enter_in_a_task, try_begin, decide]


@pytest.mark.parametrize("second", WAYS)
@pytest.mark.parametrize("first", WAYS)
def test_a_flow_is_for_one_call_even_after_it_has_ended(
    first: Callable[[Any], None], second: Callable[[Any], None], engine: Atrion
) -> None:
    flow = engine.flow("r")
    first(flow)
    with pytest.raises(AtrionError, match=r"begin only once.*atrion\.flow"):
        second(flow)
    state = engine.snapshot()["r"]
    assert (state.admitted, state.in_flight) == (1, 0)


def test_a_flow_that_was_shed_is_not_asked_again(engine: Atrion) -> None:
    engine.restore("r", PhysicsVector(0.0, 0.0, 200.0, 0.0))
    flow = engine.flow("r", "bulk")
    with pytest.raises(FlowRejected):
        enter(flow)
    with pytest.raises(AtrionError, match="begin only once") as caught:
        enter(flow)
    assert not isinstance(caught.value, FlowRejected)


def test_a_wait_is_no_latency(engine: Atrion, clock: VirtualClock) -> None:
    with engine.flow("r") as flow:
        began = flow.now()
        clock.advance(3.0)
        flow.wait(flow.now() - began)
        clock.advance(0.25)
    assert flow.latency == pytest.approx(0.25)


@pytest.mark.parametrize("seconds", [0.0, -5.0, math.nan])
def test_a_wait_of_no_length_changes_nothing(seconds: float, engine: Atrion, clock: VirtualClock) -> None:
    with engine.flow("r") as flow:
        clock.advance(0.25)
        flow.wait(seconds)
    assert flow.latency == pytest.approx(0.25)


@pytest.mark.parametrize("seconds", [5.0, math.inf])
def test_a_wait_longer_than_the_call_leaves_no_latency(
    seconds: float, engine: Atrion, clock: VirtualClock
) -> None:
    with engine.flow("r") as flow:
        clock.advance(0.25)
        flow.wait(seconds)
    assert flow.latency == 0.0


def test_a_route_learns_the_time_without_the_waits(engine: Atrion, clock: VirtualClock) -> None:
    for _ in range(200):
        with engine.flow("r") as flow:
            clock.advance(0.3)
            flow.wait(0.3)
            clock.advance(0.02)
            flow.answer()
            clock.advance(0.1)
    assert engine.snapshot()["r"].service_time == pytest.approx(0.02, rel=0.2)


def test_latency_ends_with_the_answer_and_the_call_with_its_end(engine: Atrion, clock: VirtualClock) -> None:
    with engine.flow("r") as flow:
        flow.wait(0.05)
        clock.advance(0.25)
        flow.answer()
        clock.advance(9.0)
        flow.answer()  # the first one counts
        flow.wait(0.1)
        assert engine.snapshot()["r"].in_flight == 1
    assert engine.snapshot()["r"].in_flight == 0
    assert flow.latency == pytest.approx(0.2)


def test_an_answer_outside_of_the_call_means_nothing(engine: Atrion, clock: VirtualClock) -> None:
    flow = engine.flow("r")
    flow.answer()
    clock.advance(1.0)
    with flow:
        clock.advance(0.25)
    flow.answer()
    assert flow.latency == pytest.approx(0.25)


def test_an_answer_after_a_failure_is_no_success(engine: Atrion, clock: VirtualClock) -> None:
    with engine.flow("r") as flow:
        flow.fail()
        flow.answer()
        clock.advance(0.25)
    assert engine.snapshot()["r"].in_flight == 0
    assert flow.latency == pytest.approx(0.25)


def test_a_clock_that_goes_backwards_makes_no_negative_latency(engine: Atrion, clock: VirtualClock) -> None:
    with engine.flow("r") as flow:
        clock.advance(-5.0)
        flow.answer()
    assert flow.latency == 0.0


def test_calls_are_not_within_those_of_another_engine(engine: Atrion) -> None:
    with Atrion().flow("outer"), engine.flow("inner"):
        pass
    with engine.flow("outer"), engine.flow("within"):
        pass
    reasons = {route: state.pool_reason for route, state in engine.snapshot().items()}
    assert "within those of another route" in reasons["within"]
    assert "within those of another route" not in reasons["inner"]


def test_a_flow_by_hand(engine: Atrion, broken: Breaker) -> None:
    flow = engine.flow("r")
    decision = flow.decide()
    assert isinstance(decision, Decision)
    assert decision
    assert flow.active
    assert engine.snapshot()["r"].in_flight == 1
    flow.finish()
    flow.finish()
    assert not flow.active
    assert engine.snapshot()["r"].in_flight == 0
    broken(engine, "r")
    flow = engine.flow("r")
    assert not flow.decide()
    assert not flow.active
    flow.finish()
    assert engine.snapshot()["r"].in_flight == 0


@pytest.mark.parametrize(
    "word, outcome",
    [
        ("ignore", Outcome.IGNORED),
        ("fail", Outcome.FAILURE),
        ("drop", Outcome.DROPPED),
        (None, Outcome.SUCCESS),
    ],
)
def test_a_flow_can_be_told_its_outcome(engine: Atrion, word: str | None, outcome: Outcome) -> None:
    with engine.flow("r") as flow:
        if word is not None:
            getattr(flow, word)()
    assert flow.outcome is outcome


class Leave(BaseException):
    pass


def drive(coroutine: object) -> None:
    """Run a coroutine that awaits nothing, so that what it raises comes out untouched."""
    try:
        coroutine.send(None)  # type: ignore[attr-defined]
    except StopIteration:
        return


@pytest.mark.parametrize(
    "error, counts",
    [
        (OSError("down"), (0, 1, 0)),
        (TimeoutError(), (0, 1, 0)),
        (asyncio.CancelledError(), (0, 0, 1)),
        (Leave(), (0, 0, 0)),
        (FlowRejected(None), (0, 0, 0)),
        (None, (1, 0, 0)),
    ],
)
@pytest.mark.parametrize("kind", ["sync", "async", "with", "async with"])
def test_outcomes(
    engine: Atrion, error: BaseException | None, counts: tuple[int, int, int], kind: str
) -> None:
    def end() -> None:
        if error is not None:
            raise error

    def sync() -> None:
        with engine.flow("r"):
            end()

    async def asynchronous() -> None:
        async with engine.flow("r"):
            end()

    @engine.protect("r")
    async def guarded() -> None:
        end()

    calls: dict[str, Callable[[], object]] = {
        "sync": engine.protect("r")(end),
        "async": lambda: drive(guarded()),
        "with": sync,
        "async with": lambda: drive(asynchronous()),
    }
    if error is None:
        calls[kind]()
    else:
        with pytest.raises(type(error)) as caught:
            calls[kind]()
        assert caught.value is error
    window = engine.routes["r"].window
    assert (window.successes_total, window.failures_total, window.drops_total) == counts
    assert engine.snapshot()["r"].in_flight == 0


def test_a_rejection_of_an_inner_route_does_not_blame_the_outer(engine: Atrion, broken: Breaker) -> None:
    broken(engine, "inner")

    @engine.protect("inner")
    def inner() -> None:
        raise AssertionError("never called")

    @engine.protect("outer")
    def outer() -> None:
        inner()

    for _ in range(20):
        with pytest.raises(FlowRejected) as caught:
            outer()
        assert caught.value.decision.route == "inner"
    assert engine.routes["outer"].window.failures_total == 0
    assert engine.snapshot()["outer"].admitted == 20


def test_a_flow_entered_twice_is_refused_and_leaks_nothing() -> None:
    engine = Atrion()
    flow = engine.flow("r")
    with flow, pytest.raises(AtrionError, match="begin only once"):
        flow.__enter__()
    assert engine.snapshot()["r"].in_flight == 0
