"""Observers implement what they want to hear, and nothing else is made for them."""

from __future__ import annotations

from typing import Any

import pytest

from atrion import Atrion, ConfigurationError, Decision, Mode, Observer, RouteSnapshot, Telemetry, Transition
from atrion.testing import VirtualClock


class Decisions:
    def __init__(self) -> None:
        self.heard: list[Decision] = []

    def on_decision(self, decision: Decision) -> None:
        self.heard.append(decision)


class Ticks:
    def __init__(self) -> None:
        self.heard: list[RouteSnapshot] = []

    def on_tick(self, state: RouteSnapshot) -> None:
        self.heard.append(state)


class Transitions(Observer):
    def __init__(self) -> None:
        self.heard: list[Transition] = []

    def on_transition(self, transition: Transition) -> None:
        self.heard.append(transition)


def run(engine: Atrion, clock: VirtualClock) -> None:
    for _ in range(10):
        clock.advance(0.1)
        engine.update_physics("r", Telemetry(error_rate=1.0))
    engine.decide("r")


@pytest.mark.parametrize("kind", [Decisions, Ticks, Transitions])
def test_each_hears_what_it_implements(kind: Any, engine: Atrion, clock: VirtualClock) -> None:
    observer = kind()
    end = engine.observe(observer)
    run(engine, clock)
    assert observer.heard
    count = len(observer.heard)
    end()
    run(engine, clock)
    assert len(observer.heard) == count


def test_several_hear_side_by_side(engine: Atrion, clock: VirtualClock) -> None:
    decisions, transitions = Decisions(), Transitions()
    engine.observe(decisions)
    engine.observe(transitions)
    run(engine, clock)
    assert [decision.allowed for decision in decisions.heard] == [False]
    assert [transition.after for transition in transitions.heard] == [Mode.OPERATIONAL, Mode.CIRCUIT_BREAKER]


@pytest.mark.parametrize("nothing", [None, object(), print, Observer()])
def test_what_would_hear_nothing_is_refused(nothing: Any, engine: Atrion) -> None:
    with pytest.raises(
        ConfigurationError, match="observer must be an object with a method on_tick, on_decision, on_shed or"
    ):
        engine.observe(nothing)


# --- telemetry -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [50, 1.5, 100.0, float("inf")])
def test_an_error_rate_in_percent_is_refused(share: float) -> None:
    with pytest.raises(ConfigurationError, match=r"Telemetry.error_rate must be a share from 0 to 1"):
        Telemetry(error_rate=share)


def test_what_rounding_makes_of_a_whole_is_not() -> None:
    assert Telemetry(error_rate=1.0000000000000002).error_rate == pytest.approx(1.0)
