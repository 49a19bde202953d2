"""Swarms: leases of one route that share a budget and a number of members."""

from __future__ import annotations

import pytest

from atrion import Atrion, AtrionError, FlowRejected, LeaseCancelled
from atrion.testing import VirtualClock, force_shed


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
            refused = []
            for tier in tiers:
                try:
                    with swarm.member(tier):
                        pass
                except FlowRejected:
                    refused.append(tier)
            assert refused == list(tiers[: len(refused)])
            assert members[-1].should_stop or "critical" not in refused
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
