"""Rajomon's prices rise and fall with the queue, and travel to the callers."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace

import pytest

from atrion_lab.arrivals import Poisson
from atrion_lab.clients import Traffic
from atrion_lab.policies import Call
from atrion_lab.policies.catalog import controller
from atrion_lab.policies.rajomon import Rajomon
from atrion_lab.scenario import Route, Scenario, World
from atrion_lab.services import Fixed, Server
from policy_calls import ask


def waiting(policy: Rajomon, now: float, wait: float) -> None:
    """A worker takes a call that has waited, whatever the price."""
    policy.start(Call("api", 4, "user", now - wait, now + 1.0, 0.05), now)


def steady(policy: Rajomon, start: float, updates: int, wait: float) -> list[float]:
    """The price after each update, while calls wait for ``wait`` seconds."""
    prices = []
    for i in range(updates):
        waiting(policy, start + 0.05 * i, wait)
        ask(policy, start + 0.05 * (i + 1))
        prices.append(policy.own)
    return prices


def test_the_price_rises_by_the_excess_of_the_wait_and_ever_less_in_a_row() -> None:
    policy = Rajomon(Random(1), threshold=0.02, step=1000.0)
    prices = steady(policy, 0.0, 5, 0.12)
    rises = [100.0, 100.0, 100.0 * 0.8**2, 100.0 * 0.8**3, 100.0 * 0.8**4]
    assert prices == pytest.approx([sum(rises[: i + 1]) for i in range(5)])


def test_the_longest_wait_since_the_last_update_counts() -> None:
    policy = Rajomon(Random(1), threshold=0.02, step=1000.0)
    for wait in (0.0, 0.07, 0.01):
        waiting(policy, 0.01, wait)
    ask(policy, 0.05)
    assert policy.own == pytest.approx(50.0)


def test_the_price_falls_without_a_queue_to_nothing_and_rises_undamped_again() -> None:
    policy = Rajomon(Random(1), threshold=0.02, step=1000.0)
    high = steady(policy, 0.0, 8, 0.12)[-1]
    assert steady(policy, 0.4, 3, 0.0) == pytest.approx([high - 20.0, high - 40.0, high - 60.0])
    assert steady(policy, 0.55, 1, 0.12) == pytest.approx([high + 40.0])
    ask(policy, 60.0)
    assert policy.own == 0.0


def test_who_has_the_price_is_admitted_and_important_requests_have_more() -> None:
    policy = Rajomon(Random(1))
    policy.own = 2.5 * 128  # half of the middle tier
    shares = [
        sum(ask(policy, 0.0, tier, f"user-{i}") is not None for i in range(500)) / 500 for tier in range(5)
    ]
    assert shares[:2] == [0.0, 0.0]
    assert shares[2] == pytest.approx(0.5, abs=0.1)
    assert shares[3:] == [1.0, 1.0]


def test_callers_learn_the_price_from_one_answer_in_five_and_charge_the_dearest() -> None:
    cheap, dear, caller = (Rajomon(Random(seed)) for seed in range(3))
    wanted = (SimpleNamespace(policy=cheap), (SimpleNamespace(policy=dear),))
    cheap.own, dear.own, caller.own = 50.0, 300.0, 100.0
    call = Call("home", 0, None, 0.0, 1.0, 0.05)
    call.gate = SimpleNamespace(wanted=wanted)
    caller.arrive(call, 0.0)
    assert caller.price == 100.0
    told = []
    for i in range(500):
        dear.announced = 0.0
        ask(dear, 0.0, 2, f"user-{i}")
        told.append(dear.announced)
    assert set(told) == {0.0, 300.0}
    assert told.count(300.0) / 500 == pytest.approx(0.2, abs=0.06)
    dear.announced = 300.0
    assert caller.price == 300.0
    assert not caller.arrive(call, 0.0)


def test_a_graphs_front_turns_away_what_its_database_could_not_serve() -> None:
    scenario = Scenario(
        name="graph",
        about="a front with room, a database without",
        seconds=8.0,
        servers={"db": Server(workers=4, law=Fixed(0.05)), "web": Server(workers=1000, law=Fixed(0.05))},
        routes={"home": Route("web", "db")},
        traffic=(Traffic(arrivals=Poisson(240.0), to=("home",), deadline=0.5),),
    )
    world = World(scenario, controller("rajomon"), 1)
    world.simulation.run(8.0)
    gate = world.pods[0].gates["home"]
    assert gate.policy.own == 0.0  # type: ignore[attr-defined]  # its own workers never queue
    assert gate.policy.price > 0.0  # type: ignore[attr-defined]
    rejected = sum(world.recorder.rejected)
    assert rejected > 4 * sum(world.inner.rejected)
