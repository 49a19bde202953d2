"""An engine that counts: decisions by tier and reason, and calls by duration; nothing is lost with an evicted route."""

from __future__ import annotations

import pytest

from atrion import Atrion, Decision, FlowRejected, Reason, Tier
from atrion.control.counters import BOUNDS, SHED_REASONS, Counters
from atrion.control.totals import (
    ADMITTED,
    BUCKETS,
    OUTCOMES,
    SECONDS,
    SHED,
    TRANSITIONS,
    WOULD_SHED,
    counts_of,
)
from atrion.sensing.window import Window
from atrion.testing import VirtualClock
from packages.atrion.tests.unit.calling import scarred


def call(
    engine: Atrion, clock: VirtualClock, tier: Tier = Tier.NORMAL, seconds: float = 0.0, route: str = "r"
) -> bool:
    try:
        with engine.flow(route, tier):
            clock.advance(seconds)
    except FlowRejected:
        return False
    return True


def test_nobody_pays_while_nobody_counts(engine: Atrion, clock: VirtualClock) -> None:
    call(engine, clock)
    assert engine.find("r").counters is None
    assert engine.snapshot()["r"].tiers == {}


def test_admitted_and_shed_are_counted_by_tier(engine: Atrion, clock: VirtualClock) -> None:
    engine.count()
    for _ in range(3):
        assert call(engine, clock)
    scarred(engine)
    for _ in range(4):
        assert not call(engine, clock, Tier.BULK)
    assert call(engine, clock, Tier.CRITICAL)
    tiers = engine.snapshot()["r"].tiers
    assert list(tiers) == ["bulk", "low", "normal", "high", "critical"]
    assert tiers["normal"] == {"admitted": 3, "shed": 0, "would_shed": 0}
    assert tiers["bulk"] == {"admitted": 0, "shed": 4, "would_shed": 0}
    assert tiers["critical"]["admitted"] == 1
    counts = counts_of(engine.find("r"))
    assert counts[SHED + SHED_REASONS.index(Reason.RESISTANCE)] == 4
    seen = engine.snapshot()["r"]
    assert seen.admitted == sum(tier["admitted"] for tier in tiers.values())
    assert seen.shed == sum(tier["shed"] for tier in tiers.values())


def test_routes_that_are_there_already_are_counted_from_then_on(engine: Atrion, clock: VirtualClock) -> None:
    call(engine, clock)
    engine.count()
    engine.count()
    call(engine, clock)
    assert engine.snapshot()["r"].tiers["normal"]["admitted"] == 1


def test_shadow_mode_counts_what_would_be_shed(clock: VirtualClock) -> None:
    engine = Atrion(clock=clock, enforce=False)
    engine.count()
    scarred(engine)
    for _ in range(4):
        assert call(engine, clock, Tier.LOW)
    assert engine.snapshot()["r"].tiers["low"] == {"admitted": 4, "shed": 0, "would_shed": 4}
    counts = counts_of(engine.find("r"))
    assert sum(counts[WOULD_SHED : WOULD_SHED + 40]) == 4
    assert sum(counts[SHED : SHED + 40]) == 0


@pytest.mark.parametrize(
    "seconds, bucket", [(0.0, 0), (0.002, 1), (0.03, 4), (0.6, 9), (9.0, 14), (100.0, 15)]
)
def test_durations_fall_into_the_bucket_below_whose_bound_they_are(
    engine: Atrion, clock: VirtualClock, seconds: float, bucket: int
) -> None:
    engine.count()
    call(engine, clock, seconds=seconds)
    counts = counts_of(engine.find("r"))
    buckets = counts[BUCKETS:SECONDS]
    assert buckets[bucket] == sum(buckets) == 1
    assert counts[SECONDS] == pytest.approx(seconds)


def test_a_duration_on_a_bound_is_within_it() -> None:
    counters = Counters(Window())
    for bound in BOUNDS:
        counters.count_ended(bound)
    assert counters.buckets == [1] * 15 + [0]


def test_a_stream_that_breaks_takes_no_count_back(engine: Atrion) -> None:
    engine.count()
    call = engine.flow("r")
    assert call.try_begin()
    call.answer()
    before = counts_of(engine.find("r"))
    call.fail()
    call.finish()
    after = counts_of(engine.find("r"))
    assert before[OUTCOMES : OUTCOMES + 2] == [1, 0]
    assert after[OUTCOMES : OUTCOMES + 2] == [1, 1]


def test_changes_of_mode_are_counted(engine: Atrion, broken: object) -> None:
    engine.count()
    assert callable(broken)
    broken(engine, "r")
    assert counts_of(engine.find("r"))[TRANSITIONS + 2] == 1


def test_the_counts_of_evicted_routes_are_kept(clock: VirtualClock) -> None:
    engine = Atrion(clock=clock, max_routes=2)
    engine.count()
    for number in range(10):
        call(engine, clock, route=f"r{number}")
    assert engine.evicted is not None
    assert engine.evicted.routes == 8
    kept = [counts_of(route) for route in engine.routes.values()]
    total = sum(counts[ADMITTED + 2] for counts in [*kept, engine.evicted.counts])
    assert total == 10


def test_an_observer_of_sheds_hears_of_nothing_else(engine: Atrion, clock: VirtualClock) -> None:
    heard: list[Decision] = []

    class Sheds:
        def on_shed(self, decision: Decision) -> None:
            heard.append(decision)

    end = engine.observe(Sheds())
    call(engine, clock)
    assert heard == []
    scarred(engine)
    call(engine, clock, Tier.LOW)
    assert [(decision.route, decision.allowed, decision.reason) for decision in heard] == [
        ("r", False, Reason.RESISTANCE)
    ]
    end()
    call(engine, clock, Tier.LOW)
    assert len(heard) == 1
