"""The routes of an engine: bounded in number, configured, reset, restored and read."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from atrion import SLO, Atrion, Mode, PhysicsConfig, Telemetry, Tier
from atrion.testing import VirtualClock
from packages.atrion.tests.unit.calling import Breaker, scarred


def test_routes_are_bounded_and_the_idlest_goes_first(clock: VirtualClock) -> None:
    engine = Atrion(clock=clock, max_routes=3)
    for name in ("a", "b", "c"):
        clock.advance(1.0)
        engine.decide(name)
    clock.advance(1.0)
    engine.decide("a")
    engine.decide("d")
    assert set(engine.snapshot()) == {"a", "c", "d"}
    for i in range(200):
        clock.advance(0.01)
        engine.decide(f"r{i}")
        assert len(engine.snapshot()) == 3
    large = Atrion(clock=clock, max_routes=100)
    for i in range(300):
        clock.advance(0.01)
        large.decide(f"r{i}")
    assert len(large.snapshot()) == 100


def test_busy_and_decorated_routes_survive(clock: VirtualClock) -> None:
    engine = Atrion(clock=clock, max_routes=4)

    @engine.protect("decorated")
    def call() -> None:
        pass

    with engine.flow("busy"):
        for i in range(50):
            clock.advance(0.1)
            engine.decide(f"r{i}")
        assert {"busy", "decorated"} <= set(engine.snapshot())
        assert len(engine.snapshot()) == 4
    call()
    assert engine.snapshot()["decorated"].admitted == 1
    assert engine.snapshot()["busy"].in_flight == 0
    for i in range(50):
        clock.advance(0.1)
        engine.decide(f"s{i}")
    assert "busy" not in engine.snapshot()
    assert "decorated" in engine.snapshot()


def test_when_all_are_busy_none_goes(clock: VirtualClock) -> None:
    engine = Atrion(clock=clock, max_routes=1)
    with engine.flow("a"):
        assert engine.decide("b")
        assert set(engine.snapshot()) == {"a", "b"}


def test_routes_stay_bounded_behind_pinned_ones() -> None:
    engine = Atrion(max_routes=50)
    for number in range(32):
        engine.protect(f"pinned-{number}")(len)
    for number in range(500):
        engine.decide(f"r{number}")
    kept = engine.snapshot()
    assert len(kept) <= 50 + 32
    assert all(f"pinned-{number}" in kept for number in range(32))


def test_a_race_while_looking_for_the_idlest_is_survived(clock: VirtualClock) -> None:
    engine = Atrion(clock=clock, max_routes=1)

    class Racing(dict[str, object]):
        def values(self) -> Iterator[object]:  # type: ignore[override]
            yield next(iter(dict.values(self)))
            raise RuntimeError("dictionary changed size during iteration")

    engine.decide("a")
    engine.routes = Racing(engine.routes)  # type: ignore[assignment]
    assert engine.decide("b")
    assert set(engine.routes) == {"b"}


def test_configure_applies_and_starts_anew(engine: Atrion, clock: VirtualClock) -> None:
    scarred(engine, "r", 40.0)
    engine.configure(
        "r", config=PhysicsConfig(base_resistance=15.0), slo=SLO(latency=0.2), gamma=0.0, shared=False
    )
    seen = engine.snapshot()["r"]
    assert (seen.scar_tissue, seen.resistance) == (0.0, 18.0)
    engine.configure("r", gamma=0.7)  # the rest stays
    assert engine.snapshot()["r"].resistance == 18.0
    assert engine.routes["r"].settings.gamma == 0.7
    assert not engine.routes["r"].settings.shared
    engine.configure("later", config=PhysicsConfig(base_resistance=12.0))
    assert "later" not in engine.snapshot()
    engine.decide("later")
    assert engine.snapshot()["later"].resistance == pytest.approx(14.4)
    assert engine.decide("other").resistance == 12.0
    for _ in range(5):
        clock.advance(0.1)
        engine.update_physics("r", Telemetry(latency=0.3))
        engine.update_physics("other", Telemetry(latency=0.3))
    assert engine.snapshot()["r"].pressure_latency > 0.5
    assert engine.snapshot()["other"].pressure_latency < 0.0


def test_reset_and_configure_keep_what_is_in_flight(engine: Atrion) -> None:
    flows = [engine.flow("r") for _ in range(5)]
    for flow in flows:
        flow.decide()
    engine.reset("r")
    assert engine.snapshot()["r"].in_flight == 5
    engine.configure("r", slo=SLO(latency=2.0), pool="database")
    assert engine.snapshot()["r"].in_flight == 5
    for flow in flows:
        flow.finish()
    assert engine.snapshot()["r"].in_flight == 0


def test_reset_forgets(engine: Atrion, broken: Breaker) -> None:
    broken(engine, "a")
    broken(engine, "b")
    engine.reset("a")
    assert engine.snapshot()["a"].mode is Mode.BOOTSTRAP
    assert engine.snapshot()["b"].mode is Mode.CIRCUIT_BREAKER
    engine.reset()
    assert engine.snapshot()["b"].scar_tissue == 0.0
    assert engine.decide("b", Tier.BULK)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0, "5", None])
def test_restore_passes_rubbish_over(engine: Atrion, bad: float) -> None:
    scarred(engine, "r", bad)
    assert engine.snapshot()["r"].scar_tissue == 0.0
    assert engine.snapshot()["r"].resistance == 12.0


def test_restore_is_bounded(engine: Atrion) -> None:
    scarred(engine, "r", 1e9)
    assert engine.snapshot()["r"].scar_tissue == 150.0


def test_a_snapshot_is_data(engine: Atrion) -> None:
    scarred(engine, "r", 7.0)
    seen = engine.snapshot()
    assert seen["r"].scar_tissue == seen["r"].blended_scar == 7.0
    assert seen["r"].route == "r"
    engine.reset("r")
    assert seen["r"].scar_tissue == 7.0
    seen.clear()
    assert list(engine.snapshot()) == ["r"]
