"""Heartbeats of leases: what they tell, and what becomes of a lease that sends none."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import pytest

from atrion import Atrion, AtrionError, ConfigurationError, Profile, Tier
from atrion.testing import VirtualClock

JOB = "genome/sequence"


def test_without_heartbeats_a_lease_expires_and_the_next_one_revives_it(
    engine: Atrion, clock: VirtualClock
) -> None:
    with engine.lease(JOB, profile="heavy") as lease:
        clock.advance(119.0)
        assert len(engine.leases()) == 1
        clock.advance(2.0)
        assert engine.leases() == ()
        assert lease.expired
        assert engine.snapshot()[JOB].in_flight == 0
        lease.heartbeat(0.5)
        assert not lease.expired
        assert engine.snapshot()[JOB].in_flight == 1
    assert engine.snapshot()[JOB].in_flight == 0


def test_the_seconds_of_a_lease_without_heartbeats_are_used_up_all_the_same(
    engine: Atrion, clock: VirtualClock
) -> None:
    with engine.lease(JOB, budget={"seconds": 100.0}) as lease:
        clock.advance(40.0)
        engine.leases()
        assert lease.expired
        clock.advance(60.0)
        engine.leases()
        assert lease.cancelled.is_set()


def test_leases_that_have_ended_are_forgotten(engine: Atrion) -> None:
    tracemalloc.start()
    try:
        before = 0
        for turn in range(4):
            for _ in range(1000):
                with engine.lease(JOB, "critical", profile="extreme"):
                    pass
            gc.collect()
            size = tracemalloc.get_traced_memory()[0]
            if turn == 1:
                before = size
        assert size - before < 100_000
    finally:
        tracemalloc.stop()


def test_a_crash_without_release_leaves_no_scar(engine: Atrion, clock: VirtualClock) -> None:
    lease = engine.lease(JOB, budget={"seconds": 10.0})
    lease.__enter__()
    clock.advance(3600.0)
    assert engine.leases() == ()
    del lease
    gc.collect()
    engine.leases()
    seen = engine.snapshot()[JOB]
    assert (seen.in_flight, seen.scar_tissue, seen.reason) == (0, 0.0, None)


def test_a_lost_lease_is_released_before_it_expires(engine: Atrion) -> None:
    lease = engine.lease(JOB, profile="extreme")
    lease.__enter__()
    assert len(engine.leases()) == 1
    del lease
    gc.collect()
    assert engine.leases() == ()
    assert engine.snapshot()[JOB].in_flight == 0


def test_a_clock_that_is_set_back_neither_ends_nor_prolongs_a_lease(
    engine: Atrion, clock: VirtualClock
) -> None:
    with engine.lease(JOB, budget={"seconds": 100.0}, profile=Profile(heartbeat=1000.0)) as lease:
        clock.advance(60.0)
        engine.leases()
        clock.advance(-500.0)
        assert lease.used["seconds"] == 60.0
        engine.leases()
        clock.advance(39.0)
        engine.leases()
        assert not lease.cancelled.is_set()
        clock.advance(1.0)
        engine.leases()
        assert lease.cancelled.is_set()


def test_a_snapshot_tells_what_a_lease_does(engine: Atrion, clock: VirtualClock) -> None:
    with engine.lease(JOB, Tier.LOW, profile="heavy", budget={"seconds": 3600, "memory": 8e9}) as lease:
        clock.advance(36.0)
        lease.heartbeat(0.25, memory=2e9)
        clock.advance(4.0)
        (seen,) = engine.leases()
        assert seen.as_dict() == {
            "route": JOB,
            "tier": "low",
            "profile": "heavy",
            "used": {"seconds": 40.0, "memory": 2e9},
            "budget": {"seconds": 3600.0, "memory": 8e9},
            "load": 0.25,
            "progress": 0.25,
            "silent": 4.0,
            "asked": None,
            "cancelled": False,
        }
        assert (lease.progress, lease.used) == (0.25, {"seconds": 40.0, "memory": 2e9})


@pytest.mark.parametrize(
    "told",
    [{"progress": -0.1}, {"progress": float("nan")}, {"memory": -1.0}, {"memory": "8 GB"}, {"seconds": 1.0}],
)
def test_unusable_heartbeats_are_refused(engine: Atrion, told: dict[str, Any]) -> None:
    with engine.lease(JOB) as lease:
        with pytest.raises(ConfigurationError, match=next(iter(told))):
            lease.heartbeat(**told)
        lease.heartbeat(1.0000001)
        assert lease.progress == 1.0


def test_telling_a_lease_that_has_not_begun_or_has_ended_does_nothing(engine: Atrion) -> None:
    lease = engine.lease(JOB)
    lease.heartbeat(0.5)
    lease.check()
    with pytest.raises(AtrionError, match="enter it first"), lease.holding():
        pass
    with lease:
        pass
    lease.heartbeat(0.5)
    lease.spend(tokens=5)
    lease.check()
    assert engine.snapshot()[JOB].in_flight == 0
