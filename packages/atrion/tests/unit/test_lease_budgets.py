"""Budgets of leases: resistance near their end, cancellation at it, and scars beyond it."""

from __future__ import annotations

import pickle

import pytest

from atrion import Atrion, FlowRejected, LeaseCancelled, Reason
from atrion.testing import VirtualClock
from packages.atrion.tests.unit.calling import serve

JOB = "genome/sequence"


def test_a_lease_near_the_end_of_its_budget_raises_resistance(engine: Atrion, clock: VirtualClock) -> None:
    with engine.lease(JOB, budget={"memory": 100.0}) as lease:
        serve(engine, clock, "anything", 0.05, 20)
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


def test_a_soft_budget_of_all_raises_resistance_only_at_the_end(engine: Atrion) -> None:
    with engine.lease(JOB, budget={"memory": 10.0}, soft=1.0) as lease:
        before = engine.snapshot()[JOB].resistance
        lease.heartbeat(memory=9.99)
        assert engine.snapshot()[JOB].resistance == before


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
