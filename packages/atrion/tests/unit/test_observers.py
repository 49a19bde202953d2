"""Hooks hear ticks, decisions and transitions, and never break their host."""

from __future__ import annotations

import contextlib
import logging

import pytest

from atrion import Atrion, Decision, Mode, RouteSnapshot, Telemetry, Transition
from atrion.testing import VirtualClock


class Recorder:
    def __init__(self) -> None:
        self.ticks: list[RouteSnapshot] = []
        self.decisions: list[Decision] = []
        self.transitions: list[Transition] = []

    def on_tick(self, state: RouteSnapshot) -> None:
        self.ticks.append(state)

    def on_decision(self, decision: Decision) -> None:
        self.decisions.append(decision)

    def on_transition(self, transition: Transition) -> None:
        self.transitions.append(transition)


class Raises:
    def on_tick(self, state: RouteSnapshot) -> None:
        raise RuntimeError("tick")

    def on_decision(self, decision: Decision) -> None:
        raise RuntimeError("decision")

    def on_transition(self, transition: Transition) -> None:
        raise RuntimeError("transition")


def fail(engine: Atrion, clock: VirtualClock) -> None:
    for _ in range(10):
        clock.advance(0.1)
        engine.update_physics("r", Telemetry(error_rate=1.0, latency=float("inf")))


def test_an_observer_hears_until_it_ends() -> None:
    clock = VirtualClock()
    engine = Atrion(clock=clock)
    engine.decide("r")
    recorder = Recorder()
    end = engine.observe(recorder)
    fail(engine, clock)
    assert [t.after for t in recorder.transitions] == [Mode.OPERATIONAL, Mode.CIRCUIT_BREAKER]
    assert len(recorder.ticks) == 10
    shed = engine.decide("r")
    assert not shed.allowed
    assert recorder.decisions[-1].reason is shed.reason
    assert engine.decide("other").allowed
    assert recorder.decisions[-1].route == "other"
    assert recorder.decisions[-1].allowed
    end()
    engine.decide("other")
    assert len(recorder.decisions) == 2


def test_a_broken_observer_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()
    engine = Atrion(clock=clock)
    engine.observe(Raises())
    recorder = Recorder()
    engine.observe(recorder)
    with caplog.at_level(logging.ERROR, "atrion"):
        fail(engine, clock)
        engine.decide("r")
    assert recorder.decisions
    assert len(caplog.records) == 1


def test_what_an_observer_hears_is_not_what_decides() -> None:
    engine = Atrion(clock=VirtualClock())

    class Meddles(Recorder):
        def on_decision(self, decision: Decision) -> None:
            super().on_decision(decision)
            with contextlib.suppress(AttributeError):  # frozen where compiled, another one everywhere
                decision.allowed = False  # type: ignore[misc]  # wrong on purpose

    meddler = Meddles()
    engine.observe(meddler)
    assert engine.decide("r").allowed
    with engine.flow("r"):
        pass
    assert len(meddler.decisions) == 2
    assert engine.snapshot()["r"].admitted == 1
