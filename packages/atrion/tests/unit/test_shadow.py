"""Shadow mode decides, counts and reports, and sheds nothing; the kill switch does nothing at all."""

from __future__ import annotations

import asyncio
import json

import pytest

from atrion import Atrion, ConfigurationError, Decision, FlowRejected, Mode, Reason, Telemetry
from atrion.testing import VirtualClock
from packages.atrion.tests.unit.calling import Breaker, scarred


def shed(engine: Atrion, route: str = "r") -> int:
    """How many of four calls are shed."""
    count = 0
    for _ in range(4):
        try:
            with engine.flow(route):
                pass
        except FlowRejected:
            count += 1
    return count


def test_nothing_is_shed_and_everything_is_told(clock: VirtualClock) -> None:
    engine = Atrion(clock=clock, enforce=False)
    heard: list[Decision] = []

    class Watch:
        def on_decision(self, decision: Decision) -> None:
            heard.append(decision)

        def on_tick(self, state: object) -> None: ...
        def on_transition(self, transition: object) -> None: ...

    engine.observe(Watch())
    scarred(engine)
    decision = engine.decide("r")
    assert decision.allowed
    assert decision.would_shed
    assert decision.reason is Reason.RESISTANCE
    assert decision.retry_after > 0.0
    assert "would be shed" in str(decision)
    assert json.loads(json.dumps(decision.as_dict()))["would_shed"] is True
    assert Decision.from_dict(decision.as_dict()) == decision
    assert shed(engine) == 0
    seen = engine.snapshot()["r"]
    assert not seen.enforced
    assert (seen.admitted, seen.shed, seen.in_flight) == (4, 0, 0)
    assert seen.would_shed >= 4
    assert sum(decision.would_shed for decision in heard) == seen.would_shed
    assert not engine.decide("r", "critical").would_shed


def test_enforced_decisions_would_not_have_been_shed(engine: Atrion) -> None:
    assert not engine.decide("r").would_shed
    scarred(engine)
    refused = engine.decide("r")
    assert not refused.allowed
    assert not refused.would_shed
    assert engine.snapshot()["r"].enforced


def test_protect_falls_back_only_where_it_sheds(clock: VirtualClock) -> None:
    engine = Atrion(clock=clock, enforce=False)

    @engine.protect("r", fallback=lambda: "cached")
    def call() -> str:
        return "fresh"

    scarred(engine)
    assert [call() for _ in range(4)] == ["fresh"] * 4
    engine.configure("r", enforce=True)
    assert "cached" in [call() for _ in range(4)]


def test_enforcing_is_a_matter_of_each_route_and_forgets_nothing(engine: Atrion) -> None:
    scarred(engine)
    assert shed(engine) >= 3
    engine.configure("r", enforce=False)
    assert shed(engine) == 0
    scarred(engine, "other")
    assert shed(engine, "other") >= 3
    engine.configure("r", enforce=True)
    assert shed(engine) >= 3
    assert engine.snapshot()["r"].scar_tissue == 60.0


def test_an_open_breaker_lets_pass_in_shadow_mode(clock: VirtualClock, broken: Breaker) -> None:
    engine = Atrion(clock=clock, enforce=False)
    broken(engine, "r")
    broken(engine, "s")
    decision = engine.decide("r")
    assert (decision.allowed, decision.would_shed, decision.mode) == (True, True, Mode.CIRCUIT_BREAKER)
    assert {engine.select(["r", "s"]) for _ in range(20)} <= {"r", "s"}


def test_shadow_mode_serves_at_full_quality(clock: VirtualClock) -> None:
    engine = Atrion(clock=clock, enforce=False)
    scarred(engine)
    with engine.flow("r") as flow:
        assert flow.degrade() == 1.0


def test_the_environment_turns_enforcement_off_everywhere(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATRION_ENFORCE", "0")
    engine = Atrion(clock=clock, enforce=True)
    engine.configure("r", enforce=True)
    scarred(engine)
    assert shed(engine) == 0
    monkeypatch.setenv("ATRION_ENFORCE", "1")
    engine = Atrion(clock=clock, enforce=False)
    engine.configure("trial", enforce=False)
    for route in ("r", "trial"):
        scarred(engine, route)
    assert shed(engine) >= 3
    assert shed(engine, "trial") == 0


@pytest.mark.parametrize("name", ["ATRION_ENFORCE", "ATRION_DISABLED"])
def test_a_switch_that_is_neither_on_nor_off_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "maybe")
    with pytest.raises(ConfigurationError, match=f"{name} must be 1 or 0, got 'maybe'"):
        Atrion()
    monkeypatch.setenv(name, "")
    assert Atrion().decide("r").allowed


def test_enforce_is_true_or_false(engine: Atrion) -> None:
    with pytest.raises(ConfigurationError, match="enforce must be True or False, got 'no'"):
        Atrion(enforce="no")  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(ConfigurationError, match="enforce must be True or False, got 0"):
        engine.configure("r", enforce=0)  # type: ignore[arg-type]  # likewise


# --- the kill switch -----------------------------------------------------------------------------------------


@pytest.fixture
def disabled(clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> Atrion:
    monkeypatch.setenv("ATRION_DISABLED", "1")
    return Atrion("redis://nowhere.invalid:1/0", clock=clock)


def test_a_disabled_engine_leaves_functions_as_they_are(disabled: Atrion) -> None:
    def call() -> int:
        return 1

    assert disabled.protect("r", tier="low", fallback=call)(call) is call
    assert disabled.protect(call) is call
    with pytest.raises(ConfigurationError, match="crit"):
        disabled.protect("r", tier="crit")  # type: ignore[call-overload]  # wrong on purpose


def test_a_disabled_engine_admits_and_learns_nothing(disabled: Atrion, clock: VirtualClock) -> None:
    assert disabled.disabled
    scarred(disabled)
    assert shed(disabled) == 0
    decision = disabled.decide("r", "bulk", key="alice")
    assert (decision.allowed, decision.would_shed, decision.reason) == (True, False, Reason.FLOWS)
    for _ in range(30):
        clock.advance(0.1)
        disabled.update_physics("r", Telemetry(error_rate=1.0))
    assert disabled.route("r", Telemetry(error_rate=1.0), 0.0).allowed
    assert disabled.select(["a", "b"]) in {"a", "b"}
    flow = disabled.flow("r")
    assert flow.decide().allowed
    flow.finish()
    disabled.configure("r", pool="db")
    assert disabled.snapshot() == {}


def test_a_disabled_engine_connects_to_nothing(disabled: Atrion) -> None:
    async def main() -> None:
        async with disabled:
            async with disabled.flow("r") as flow:
                assert flow.degrade() == 1.0
            assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())
    with disabled:
        pass
