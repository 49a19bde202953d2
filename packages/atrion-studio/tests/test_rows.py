"""What is said of one route: the parts of its resistance, and the sentence that says why it sheds."""

from __future__ import annotations

from typing import Any

import pytest

from atrion import SLO, Atrion, Mode, Telemetry
from atrion.testing import VirtualClock
from atrion.vitals import route_vitals
from atrion_studio.why import refused_tiers, why

OK, BAD = Telemetry(latency=0.05, error_rate=0.0), Telemetry(latency=0.05, error_rate=1.0)


def fed(samples: list[Telemetry], **options: Any) -> tuple[Atrion, VirtualClock]:
    clock = VirtualClock()
    engine = Atrion(clock=clock, **options)
    for sample in samples:
        clock.advance(0.1)
        engine.update_physics("pay", sample)
    return engine, clock


def row_of(engine: Atrion) -> dict[str, Any]:
    return route_vitals(engine.routes["pay"], engine.snapshot()["pay"])


def test_parts_add_up_to_the_resistance() -> None:
    for bad in (0, 2, 20):
        row = row_of(fed([OK] * 30 + [BAD] * bad)[0])
        assert sum(row["parts"].values()) == pytest.approx(row["resistance"], abs=0.1)
        assert row["parts"]["base"] == 10.0


def test_a_calm_route_needs_no_sentence() -> None:
    row = row_of(fed([OK] * 30)[0])
    assert why(row) is None
    assert refused_tiers(row) == ([], [])
    assert row["clears_in"] == 0.0


def test_an_open_breaker_is_told_with_its_reason_and_the_time_it_will_take() -> None:
    engine, _ = fed([OK] * 30 + [BAD] * 60)
    row = row_of(engine)
    assert row["mode"] == "circuit_breaker"
    sentence = why(row)
    assert sentence is not None
    assert sentence.startswith("The breaker is open, so everything is refused: too many calls fail")
    assert f"Resistance is {row['resistance']:.1f} Ω" in sentence
    assert row["clears_in"] > 0.0
    assert f"closes within about {row['clears_in']:.0f} s" in sentence


def test_when_it_clears_is_when_normal_requests_flow() -> None:
    engine, clock = fed([OK] * 30 + [BAD] * 60)

    def well() -> dict[str, Any]:
        clock.advance(0.1)
        engine.update_physics("pay", OK)
        return row_of(engine)

    row = well()
    for _ in range(300):  # until the failures are no longer among the samples that count
        row = row if row["parts"]["errors"] == 0.0 else well()
    assert row["parts"]["errors"] == 0.0
    assert row["mode"] == "circuit_breaker"
    for _ in range(round(row["clears_in"] / 0.1) + 1):
        well()
    assert engine.snapshot()["pay"].mode is Mode.OPERATIONAL
    assert engine.decide("pay", "normal").allowed


def test_shadow_mode_says_what_would_be_refused() -> None:
    engine, _ = fed([OK] * 30 + [BAD] * 60, enforce=False)
    assert "would be refused" in str(why(row_of(engine)))


def test_lateness_is_told_with_the_promise() -> None:
    engine, _ = fed([OK] * 30 + [Telemetry(latency=3.0)] * 10, slo=SLO(latency=0.5))
    sentence = str(why(row_of(engine)))
    assert "answers come later than the promised 500 ms" in sentence


def test_a_queue_is_told_with_its_calls_and_the_limit() -> None:
    engine, _ = fed([OK] * 30)
    row = row_of(engine) | {"reason": "saturated", "resistance": 36.0, "pool_in_flight": 53, "limit": 41.0}
    row["parts"]["queue"] = 26.0
    row["clears_in"] = 0.0
    assert why(row) == (
        "Bulk is refused, and low in part: 53 are in flight where the limit learned is 41, which adds 26.0 Ω. "
        "Resistance is 36.0 Ω. Normal requests flow."
    )


@pytest.mark.parametrize(
    "ohms, whole, part",
    [
        (19.0, [], []),
        (25.0, [], ["bulk"]),
        (31.0, ["bulk"], []),
        (50.0, ["bulk", "low"], ["normal"]),
        (95.0, ["bulk", "low", "normal", "high"], ["critical"]),
    ],
)
def test_tiers_are_refused_from_the_bottom(ohms: float, whole: list[str], part: list[str]) -> None:
    assert refused_tiers({"mode": "operational", "resistance": ohms}) == (whole, part)


def test_leases_near_the_end_of_their_budgets_and_beyond_it_are_told() -> None:
    engine, _ = fed([OK] * 30)
    with engine.lease("pay", budget={"memory": 100.0}) as lease:
        lease.heartbeat(memory=99.0)
        row = row_of(engine)
        assert (row["leases"], row["in_flight"], row["lease_ohms"]) == (1, 1, 38.0)
        assert sum(row["parts"].values()) == pytest.approx(row["resistance"], abs=0.1)
        sentence = why(row)
        assert sentence is not None
        assert "leases have used most of their budgets, which adds 38.0 Ω" in sentence
        lease.heartbeat(memory=190.0)
    row = row_of(engine)
    assert row["leases"] == 0
    sentence = why(row)
    assert sentence is not None
    assert "leases that used more than their budgets left scar tissue of 27.0 Ω" in sentence
