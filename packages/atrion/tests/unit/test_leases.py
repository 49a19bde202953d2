"""Leases: long work with a budget, on virtual time."""

from __future__ import annotations

import gc
import pickle
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from atrion import (
    SLO,
    Atrion,
    AtrionError,
    ConfigurationError,
    FlowRejected,
    LeaseCancelled,
    Profile,
    Reason,
    Tier,
)
from atrion.propagation import RequestContext, use
from atrion.testing import VirtualClock, force_shed

JOB = "genome/sequence"


def serve(engine: Atrion, clock: VirtualClock, route: str, calls: int = 20, seconds: float = 0.05) -> None:
    for _ in range(calls):
        with engine.flow(route):
            clock.advance(seconds)


# --- admission and counting ----------------------------------------------------------------------------------


def test_a_lease_is_in_flight_until_it_ends(engine: Atrion) -> None:
    with engine.lease(JOB) as lease:
        seen = engine.snapshot()[JOB]
        assert (seen.in_flight, seen.leases, seen.admitted) == (1, 1, 1)
        assert lease.active
    seen = engine.snapshot()[JOB]
    assert (seen.in_flight, seen.leases) == (0, 0)
    assert not lease.active


def test_a_lease_is_admitted_like_a_call(engine: Atrion) -> None:
    with force_shed("normal", JOB, engine=engine):
        with pytest.raises(FlowRejected), engine.lease(JOB):
            pytest.fail("it was shed")
        with engine.lease(JOB, "critical"):
            pass
    seen = engine.snapshot()[JOB]
    assert (seen.shed, seen.in_flight) == (1, 0)


def test_a_lease_has_the_tier_of_the_request_that_it_is_made_for(engine: Atrion) -> None:
    with use(RequestContext(tier=Tier.HIGH)), engine.lease(JOB), engine.lease(JOB, "low"):
        assert [lease.tier for lease in engine.leases()] == [Tier.HIGH, Tier.LOW]


def test_exceptions_and_interrupts_end_a_lease(engine: Atrion) -> None:
    for error in (ValueError, KeyboardInterrupt, GeneratorExit):
        with pytest.raises(error), engine.lease(JOB):
            raise error
    assert engine.snapshot()[JOB].in_flight == 0


def test_failures_of_leases_count_as_failures(engine: Atrion, clock: VirtualClock) -> None:
    for _ in range(30):
        clock.advance(1.0)
        lease = engine.lease(JOB, "critical")
        try:
            with lease:
                raise OSError
        except (OSError, FlowRejected):
            pass
    assert engine.snapshot()[JOB].reason is Reason.FAILING


def test_a_lease_begins_only_once(engine: Atrion) -> None:
    lease = engine.lease(JOB)
    with lease, pytest.raises(AtrionError, match="only once"), lease:
        pass


def test_long_leases_do_not_make_the_service_look_slow(engine: Atrion, clock: VirtualClock) -> None:
    engine.configure("*", pool="database")
    leases = [engine.lease(JOB) for _ in range(4)]
    for lease in leases:
        lease.__enter__()
    for _ in range(40):
        serve(engine, clock, "orders")
        for lease in leases:
            lease.heartbeat()
    before = engine.snapshot()["orders"]
    for lease in leases:
        lease.__exit__(None, None, None)
    serve(engine, clock, "orders")
    after = engine.snapshot()
    assert before.capacity <= after["orders"].capacity * 1.01
    assert after["orders"].service_time == pytest.approx(0.05)
    assert after[JOB].service_time == 0.0
    assert (after["orders"].shed, after[JOB].reason) == (0, None)


def test_leases_take_the_place_of_calls_up_to_half_of_the_capacity(engine: Atrion) -> None:
    held = [engine.lease(JOB) for _ in range(500)]
    for lease in held:
        lease.__enter__()
    # Leases that wait for something else are no reason to refuse the calls of a new route.
    with engine.flow("orders"), engine.flow(JOB):
        assert engine.snapshot()[JOB].in_flight == 501
    for lease in held:
        lease.__exit__(None, None, None)
    assert engine.snapshot()[JOB].in_flight == 0


def test_a_route_with_leases_is_not_evicted(clock: VirtualClock) -> None:
    engine = Atrion(clock=clock, max_routes=2)
    with engine.lease(JOB):
        for number in range(10):
            engine.decide(f"other/{number}")
        assert JOB in engine.snapshot()


# --- heartbeats and expiry -----------------------------------------------------------------------------------


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


# --- budgets -------------------------------------------------------------------------------------------------


def test_a_lease_near_the_end_of_its_budget_raises_resistance(engine: Atrion, clock: VirtualClock) -> None:
    with engine.lease(JOB, budget={"memory": 100.0}) as lease:
        serve(engine, clock, "anything")
        base = engine.snapshot()[JOB].resistance
        ohms = []
        for used in (79.0, 85.0, 95.0, 99.9):
            lease.heartbeat(memory=used)
            ohms.append(engine.snapshot()[JOB].resistance - base)
        assert ohms == [pytest.approx(value) for value in (0.0, 10.0, 30.0, 39.8)]
        assert engine.snapshot()[JOB].reason is Reason.SATURATED
        with pytest.raises(FlowRejected), engine.lease(JOB, "low"):
            pass
        lease.heartbeat(memory=10.0)
        assert engine.snapshot()[JOB].resistance == base


def test_one_of_many_leases_raises_it_by_its_share(engine: Atrion) -> None:
    others = [engine.lease(JOB) for _ in range(9)]
    for other in others:
        other.__enter__()
    base = engine.snapshot()[JOB].resistance
    with engine.lease(JOB, budget={"memory": 100.0}) as lease:
        lease.heartbeat(memory=99.99)
        assert engine.snapshot()[JOB].resistance - base == pytest.approx(4.0, abs=0.01)
    assert engine.snapshot()[JOB].resistance == pytest.approx(base)
    for other in others:
        other.__exit__(None, None, None)


@pytest.mark.parametrize("resource", ["seconds", "memory", "tokens"])
def test_a_used_up_budget_cancels(engine: Atrion, clock: VirtualClock, resource: str) -> None:
    with engine.lease(JOB, budget={resource: 10.0}) as lease:
        lease.check()
        if resource == "seconds":
            clock.advance(10.0)
        else:
            lease.spend(**{resource: 10.0})
        with pytest.raises(LeaseCancelled) as caught:
            lease.check()
    error = caught.value
    assert (error.route, error.reason, error.resource) == (JOB, "budget", resource)
    assert str(error) == f"{JOB}: the lease was cancelled after 10 of 10 {resource}"
    assert lease.cancelled.is_set()
    assert lease.should_stop
    assert pickle.loads(pickle.dumps(error)) == error
    assert error.as_dict()["used"] == 10.0
    seen = engine.snapshot()[JOB]
    assert (seen.in_flight, seen.scar_tissue) == (0, 0.0)


def test_what_is_spent_adds_up_and_memory_may_fall(engine: Atrion) -> None:
    with engine.lease(JOB, budget={"tokens": 100.0}) as lease:
        for _ in range(9):
            lease.spend(tokens=10.0)
            lease.heartbeat(memory=5.0)
        lease.heartbeat(memory=3.0)
        assert (lease.used["tokens"], lease.used["memory"]) == (90.0, 3.0)
        assert not lease.should_stop


def test_scars_are_in_proportion_to_the_overrun(clock: VirtualClock) -> None:
    scars = []
    for used in (100.0, 110.0, 150.0, 900.0):
        engine = Atrion(clock=clock)
        with engine.lease(JOB, budget={"tokens": 100.0}) as lease:
            lease.spend(tokens=used)
        scars.append(engine.snapshot()[JOB].scar_tissue)
    assert scars == [0.0, pytest.approx(3.0), pytest.approx(15.0), pytest.approx(30.0)]


def test_scars_of_overruns_heal(engine: Atrion, clock: VirtualClock) -> None:
    with engine.lease(JOB, budget={"tokens": 1.0}) as lease:
        lease.spend(tokens=2.0)
    clock.advance(20.0)
    assert engine.snapshot()[JOB].scar_tissue < 0.01


def test_shadow_mode_cancels_nothing(clock: VirtualClock) -> None:
    engine = Atrion(clock=clock, enforce=False)
    with (
        engine.lease(JOB, budget={"tokens": 1.0}) as lease,
        engine.swarm("agents", budget={"members": 1, "tokens": 1.0}) as swarm,
        swarm.member() as first,
        swarm.member() as second,
    ):
        for holder in (lease, first, second):
            holder.spend(tokens=5.0)
            holder.check()
        assert not lease.should_stop
        assert not second.should_stop


def test_a_disabled_engine_measures_nothing(monkeypatch: pytest.MonkeyPatch, clock: VirtualClock) -> None:
    monkeypatch.setenv("ATRION_DISABLED", "1")
    engine = Atrion(clock=clock)
    with engine.lease(JOB, budget={"tokens": 1.0}) as lease, lease.holding():
        lease.spend(tokens=5.0)
        lease.heartbeat(1.0)
        lease.check()
        assert engine.leases() == ()


# --- swarms --------------------------------------------------------------------------------------------------


def test_a_swarm_has_as_many_members_as_it_may(engine: Atrion) -> None:
    with engine.swarm("agents", budget={"members": 2}) as swarm:
        with swarm.member(), swarm.member("bulk"):
            assert (swarm.members, swarm.left("members")) == (2, 0.0)
            with pytest.raises(FlowRejected) as caught, swarm.member("critical"):
                pass
            assert caught.value.decision.retry_after > 0.0
        with swarm.member():
            assert engine.snapshot()["agents"].in_flight == 1
    with pytest.raises(AtrionError, match="entered"):
        swarm.member()
    assert engine.snapshot()["agents"].in_flight == 0


def test_the_lowest_tiers_of_a_swarm_are_asked_to_stop_and_refused_first(engine: Atrion) -> None:
    tiers = ("bulk", "low", "normal", "high", "critical")
    with engine.swarm("agents", budget={"tokens": 1000.0}) as swarm:
        members = [swarm.member(tier) for tier in tiers]
        for member in members:
            member.__enter__()
        asked: list[list[str]] = []
        while not members[-1].cancelled.is_set():
            swarm.spend(tokens=10.0)
            asked.append([tier for tier, member in zip(tiers, members, strict=True) if member.should_stop])
            for tier in tiers:
                try:
                    with swarm.member(tier):
                        admitted = True
                except FlowRejected:
                    admitted = False
                assert admitted or tier not in tiers[:0]
                if tier == "critical" and not members[-1].should_stop:
                    assert admitted
        assert swarm.left("tokens") == 0.0
        assert asked == sorted(asked, key=len)
        assert asked[79] == []
        assert ["bulk"] in asked
        assert ["bulk", "low"] in asked
        assert list(tiers[:4]) in asked
        assert asked[-1] == list(tiers)
        with pytest.raises(LeaseCancelled, match="1000 of 1000 tokens"):
            members[0].check()
        for member in members:
            member.__exit__(None, None, None)


def test_members_share_one_budget_and_may_have_their_own(engine: Atrion) -> None:
    with (
        engine.swarm("agents", budget={"tokens": 100.0, "memory": 50.0}) as swarm,
        swarm.member(budget={"tokens": 20.0}) as first,
        swarm.member() as second,
    ):
        second.heartbeat(memory=30.0)
        first.heartbeat(memory=10.0)
        assert swarm.used["memory"] == 40.0
        first.spend(tokens=20.0)
        assert first.cancelled.is_set()
        assert not second.cancelled.is_set()
        with pytest.raises(LeaseCancelled, match="20 of 20 tokens"):
            first.check()
        first.__exit__(None, None, None)
        assert (swarm.used["memory"], swarm.used["tokens"]) == (30.0, 20.0)
        second.spend(tokens=80.0)
        with pytest.raises(LeaseCancelled, match="100 of 100 tokens"):
            second.check()


def test_the_seconds_of_a_swarm_are_those_since_it_began(engine: Atrion, clock: VirtualClock) -> None:
    with engine.swarm("agents", budget={"seconds": 100.0}) as swarm:
        clock.advance(50.0)
        with swarm.member("critical", profile="heavy") as member:
            clock.advance(49.0)
            engine.leases()
            assert not member.cancelled.is_set()
            clock.advance(1.0)
            engine.leases()
            assert member.cancelled.is_set()


def test_no_new_members_where_the_route_is_overloaded(engine: Atrion) -> None:
    with engine.swarm("agents") as swarm, swarm.member(), force_shed("high", "agents", engine=engine):
        with pytest.raises(FlowRejected), swarm.member():
            pass
        with swarm.member("critical"):
            assert swarm.members == 2


# --- culprits ------------------------------------------------------------------------------------------------


class Shop:
    """Calls of 50 ms on a database that nobody answers while it is locked."""

    def __init__(self, engine: Atrion, clock: VirtualClock) -> None:
        engine.configure("*", pool="database")
        self.engine, self.clock = engine, clock
        self.waiting: list[Any] = []
        self.locked = False

    def run(self, seconds: float, done: Callable[[], bool] = lambda: False) -> float:
        """Serve forty calls a second; returns for how long, at most until ``done``."""
        began = self.clock.now
        while self.clock.now - began < seconds and not done():
            for _ in range(2):
                call = self.engine.flow("orders", "high")
                if call.try_begin():
                    self.waiting.append(call)
            self.clock.advance(0.05)
            if not self.locked:
                while self.waiting:
                    self.waiting.pop().finish()
            elif len(self.waiting) > 15:
                call = self.waiting.pop(0)
                call.drop()
                call.finish()
            self.engine.leases()
        return self.clock.now - began


@pytest.fixture
def shop(engine: Atrion, clock: VirtualClock) -> Shop:
    return Shop(engine, clock)


def test_the_holder_of_what_everybody_waits_for_is_asked_to_stop(engine: Atrion, shop: Shop) -> None:
    with engine.lease("report", profile="extreme") as old:
        shop.run(120.0)
        with engine.lease("migration", "low", profile="heavy") as whale:
            shop.locked = True
            waited = shop.run(20.0, lambda: whale.should_stop)
            assert whale.should_stop
            assert waited < 3.0
            assert engine.leases()[1].asked == "culprit"
        shop.locked = False
        shop.run(30.0)
        assert not old.should_stop
        assert not whale.cancelled.is_set()


def test_holders_that_mark_what_they_hold_are_suspected_alone(engine: Atrion, shop: Shop) -> None:
    with engine.lease("export", "critical", profile="heavy") as whale:
        shop.run(60.0)
        with engine.lease("import", "bulk", profile="heavy") as waits, whale.holding():
            shop.locked = True
            shop.run(20.0, lambda: whale.should_stop or waits.should_stop)
            assert whale.should_stop
            assert not waits.should_stop


@pytest.mark.parametrize("interruptible", [False, True])
def test_a_lease_that_does_not_stop_is_cancelled_only_if_it_allows_that(
    engine: Atrion, shop: Shop, interruptible: bool
) -> None:
    shop.run(30.0)
    with engine.lease("migration", profile=Profile(grace=4.0), interruptible=interruptible) as lease:
        shop.locked = True
        shop.run(20.0, lambda: lease.should_stop)
        assert lease.should_stop
        assert not lease.cancelled.is_set()
        shop.run(6.0)
        assert lease.cancelled.is_set() is interruptible
        if interruptible:
            with pytest.raises(LeaseCancelled, match="holds what other calls wait for"):
                lease.check()


def test_nobody_is_asked_because_of_more_demand_or_in_a_lull(
    engine: Atrion, clock: VirtualClock, shop: Shop
) -> None:
    with engine.lease("report", "bulk", profile="extreme") as lease:
        shop.run(60.0)
        waiting: list[Any] = []
        for _ in range(2000):  # more than the database answers, which answers as many as before
            for _ in range(6):
                call = engine.flow("orders", "high")
                if call.try_begin():
                    waiting.append(call)
            clock.advance(0.05)
            for call in waiting[:2]:
                call.finish()
            del waiting[:2]
            engine.leases()
        for call in waiting:
            call.finish()
        for _ in range(100):  # nobody comes
            clock.advance(0.5)
            engine.leases()
        assert not lease.should_stop


def test_where_asking_does_not_help_few_are_asked(engine: Atrion, shop: Shop) -> None:
    shop.run(60.0)
    leases = [engine.lease(f"job/{number}", profile=Profile(heartbeat=1e6, grace=1.0)) for number in range(6)]
    for lease in leases:
        lease.__enter__()
    shop.locked = True  # by nobody of them
    shop.run(300.0)
    assert 1 <= sum(lease.should_stop for lease in leases) <= 3
    for lease in leases:
        lease.__exit__(None, None, None)


# --- unusable values -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, text",
    [
        ({"budget": {"seconds": 0.0}}, r"budget\['seconds'\]"),
        ({"budget": {"memory": float("nan")}}, r"budget\['memory'\]"),
        ({"budget": {3: 1.0}}, "resources by name"),
        ({"budget": [1]}, "mapping"),
        ({"budget": {str(n): 1.0 for n in range(17)}}, "at most 16"),
        ({"profile": "huge"}, "profile"),
        ({"soft": 0.0}, "soft"),
        ({"soft": 1.1}, "soft"),
        ({"tier": "urgent"}, "tier"),
    ],
)
def test_unusable_options_are_refused(engine: Atrion, options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        engine.lease(JOB, **options)


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


def test_a_soft_budget_of_all_raises_resistance_only_at_the_end(engine: Atrion) -> None:
    with engine.lease(JOB, budget={"memory": 10.0}, soft=1.0) as lease:
        before = engine.snapshot()[JOB].resistance
        lease.heartbeat(memory=9.99)
        assert engine.snapshot()[JOB].resistance == before


def test_the_slo_of_a_route_does_not_judge_its_leases(engine: Atrion, clock: VirtualClock) -> None:
    engine.configure(JOB, slo=SLO(latency=1.0))
    for _ in range(20):
        with engine.lease(JOB, profile="heavy"):
            clock.advance(100.0)
    assert engine.snapshot()[JOB].reason is None
