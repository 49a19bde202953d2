"""What Atrion promises of whole histories, held against a simulated server through the public API, on virtual time."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atrion import Outcome, Reason
from packages.atrion.tests.property.world import PROVEN, TIERS, World

pytestmark = pytest.mark.slow

ASKED = 3000
"""Most requests of one phase, so that a history is played in a fraction of a second."""

seeds = st.integers(0, 2**32 - 1)

SERVICES: dict[str, Callable[[random.Random], float]] = {
    "alike": lambda dice: 1.0,
    "random": lambda dice: dice.expovariate(1.0),
    "uniform": lambda dice: dice.uniform(0.0, 2.0),
    "rarely long": lambda dice: 100.0 if dice.random() < 0.01 else 1.0,
    "heavy tails": lambda dice: min(dice.paretovariate(1.5) / 3.0, 1000.0),
}
"""Lengths of a call's work, in means; none depends on what else is in flight."""


@dataclass(frozen=True)
class Phase:
    """A share of the clients that there may be makes so many ``calls``, ``think`` means after the last one.

    ``mean`` is the power of ten by which the mean differs from the usual one; nobody asks for ``pause`` seconds before.
    """

    clients: float
    calls: int
    work: str
    mean: float
    think: float
    tiers: tuple[str, ...]
    pause: float


phases = st.builds(
    Phase,
    clients=st.floats(0.0, 1.0),
    calls=st.sampled_from([20, 100, 400, 1000]),
    work=st.sampled_from(sorted(SERVICES)),
    mean=st.floats(-0.7, 0.7),
    think=st.sampled_from([0.0, 0.1, 1.0, 10.0]),
    tiers=st.sampled_from([("bulk",), TIERS]),
    pause=st.sampled_from([0.0, 1.0, 60.0]),
)


def play(world: World, phase: Phase, usual: float, most: int) -> None:
    """Let clients ask one after the other, never with more than ``most`` in flight; all are served."""
    left = phase.calls
    mean = usual * 10.0**phase.mean

    def client() -> None:
        nonlocal left
        if left > 0:
            left -= 1
            assert len(world.begun) < most
            work = mean * SERVICES[phase.work](world.dice)
            decision = world.ask(world.dice.choice(phase.tiers), work, Outcome.SUCCESS, rest)
            assert decision.allowed, str(decision)

    def rest() -> None:
        world.later(phase.think * mean * world.dice.random(), client)

    for _ in range(max(round(phase.clients * most), 1)):
        world.later(mean * world.dice.random(), client)
    while left > 0 or world.begun:
        world.run(world.time + mean)
        world.check()


@settings(max_examples=60)
@given(st.integers(1, PROVEN), st.floats(-3.0, 0.7), st.booleans(), st.lists(phases, max_size=4), seeds)
def test_what_succeeds_with_no_more_in_flight_than_was_completed_side_by_side_is_never_refused(
    proven: int, scale: float, promised: bool, plan: list[Phase], seed: int
) -> None:
    usual = 10.0**scale
    world = World(proven, 1e5 * usual if promised else None, seed)
    for _ in range(proven):
        assert world.ask("bulk", usual, Outcome.SUCCESS)
    world.run(world.time + usual)
    for phase in plan:
        world.run(world.time + phase.pause)
        play(world, phase, usual, proven)
    assert world.engine.snapshot()["r"].shed == 0


HAPPENINGS = (
    "calm",
    "failures",
    "some fail",
    "hang",
    "slow",
    "overload",
    "burst",
    "given up",
    "callers' faults",
    "idle",
    "pause",
    "clock goes back",
)
histories = st.lists(
    st.tuples(
        st.sampled_from(HAPPENINGS), st.sampled_from([0.3, 0.8, 1.5, 5.0]), st.sampled_from([1.0, 5.0, 20.0])
    ),
    max_size=6,
)


def happen(world: World, what: str, load: float, seconds: float, service: float) -> None:
    """Play a phase of a history: of ``seconds``, with ``load`` times what the server can serve."""
    dice = world.dice
    if what == "pause":  # of this process, in which nothing of it ran
        world.clock.advance(seconds)
        world.paused += seconds
        return
    if what == "clock goes back":
        world.clock.advance(-seconds if load < 1.0 else -3600.0)
        return
    if what == "idle":
        world.run(world.time + seconds)
        return
    if what == "burst":
        for _ in range(min(20 * world.workers + 50, 400)):
            world.ask(dice.choice(TIERS), service, Outcome.SUCCESS)
        world.run(world.time + seconds)
        return
    load = {"calm": 0.5, "overload": max(load, 1.5)}.get(what, load)
    rate = load * world.workers / service
    end = world.time + min(seconds, ASKED / rate)
    while world.time < end:
        work = service * dice.uniform(0.8, 1.2)
        outcome = Outcome.SUCCESS
        if what == "failures" or (what == "some fail" and dice.random() < 0.5):
            outcome = Outcome.FAILURE
        elif what == "hang":
            work, outcome = dice.choice([10.0 * service, 30.0]), Outcome.DROPPED
        elif what == "slow":
            work *= 5.0
        elif what == "given up":
            outcome = Outcome.DROPPED
        elif what == "callers' faults":
            outcome = Outcome.IGNORED
        world.ask(dice.choice(TIERS), work, outcome)
        world.check()
        world.run(world.time + dice.expovariate(rate))
        world.check()


@given(st.sampled_from([1, 2, 4, 8, 16]), st.floats(-3.0, 0.3), st.booleans(), histories, seeds)
def test_resistance_rises_for_one_of_three_reasons_only_and_names_it_truly(
    workers: int, scale: float, promised: bool, history: list[tuple[str, float, float]], seed: int
) -> None:
    service = 10.0**scale
    world = World(workers, 5.0 * service + 0.05 if promised else None, seed)
    for what, load, seconds in history:
        happen(world, what, load, seconds, service)
    assert {decision.reason for _, decision in world.decisions} <= world.truth | {Reason.FLOWS, Reason.PROBE}


@given(
    st.sampled_from([1, 2, 4, 8, 16, 64]),
    st.floats(-3.0, 0.3),
    st.booleans(),
    histories,
    st.floats(-1.0, 2.3),
    seeds,
)
def test_calm_is_served_in_full_after_ten_seconds_whatever_happened(
    workers: int,
    scale: float,
    promised: bool,
    history: list[tuple[str, float, float]],
    pace: float,
    seed: int,
) -> None:
    """After 10 s, ten service times and ten requests: a dead route that is asked once in a while tries one in five."""
    service = 10.0**scale
    world = World(workers, 5.0 * service + 0.05 if promised else None, seed)
    for what, load, seconds in history:
        happen(world, what, load, seconds, service)
    world.mend()
    world.decisions.clear()
    rate = min(10.0**pace, 0.5 * workers / service)
    began = world.time
    grace = max(10.0, 10.0 * service, 10.0 / rate)
    number = 0
    while number < 200 or world.time < began + grace + 10.0:
        world.run(began + number / rate)
        world.ask(world.dice.choice(TIERS), service * world.dice.uniform(0.8, 1.2), Outcome.SUCCESS)
        number += 1
    refused = [str(decision) for at, decision in world.decisions if at > began + grace and not decision]
    assert not refused
