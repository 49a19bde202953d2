"""What all baselines share, and how they play in scenarios."""

from __future__ import annotations

import math
from random import Random

import pytest

from atrion.errors import ConfigurationError
from atrion_lab.policies import BASELINES, BasePolicy, Call, Facts
from atrion_lab.policies.baselines import ABOUT
from atrion_lab.policies.catalog import controller
from atrion_lab.policies.common import Rolling, failed, level
from atrion_lab.scenario import simulate
from atrion_lab.scenarios import scenario
from policy_calls import DROPPED, FAILURE, IGNORED, SUCCESS, crowd


def test_a_late_answer_has_failed_and_a_clients_fault_has_not() -> None:
    call = Call("api", 2, None, 1.0, 1.5, 0.05)
    assert not failed(call, SUCCESS, 1.4)
    assert failed(call, SUCCESS, 1.6)
    assert failed(call, FAILURE, 1.1)
    assert failed(call, DROPPED, 1.1)
    assert not failed(call, IGNORED, 1.1)


def test_rolling_counts_forget_what_is_older_than_their_window() -> None:
    rolling = Rolling(10.0, 10)
    for second in range(30):
        rolling.add(float(second), 2.0)
    assert (rolling.count, rolling.total) == (10, 20.0)
    assert list(rolling.closed(29.5)) == [(1, 2.0)] * 9
    rolling.roll(100.0)
    assert (rolling.count, rolling.total) == (0, 0.0)


def test_levels_follow_the_tier_and_then_the_key_for_an_hour() -> None:
    rng = Random(1)
    calls = [Call("api", tier, "user-1", 0.0, 1.0, 0.05) for tier in range(5)]
    places = [level(call, 10.0, rng) for call in calls]
    assert [place // 128 for place in places] == [4, 3, 2, 1, 0]
    assert len({place % 128 for place in places}) == 1
    assert level(calls[2], 3500.0, rng) == places[2]
    assert level(calls[2], 3700.0, rng) != places[2]


@pytest.mark.parametrize(
    "wrong", [{"deadline": 0.0}, {"deadline": math.nan}, {"workers": 0}, {"service": 0.0}]
)
def test_absurd_facts_are_refused_in_words(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=f"Facts.{next(iter(wrong))}"):
        Facts(**wrong)  # type: ignore[arg-type]  # absurd on purpose


def test_every_baseline_is_described() -> None:
    assert list(ABOUT) == list(BASELINES)


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_bears_its_name_and_plays_the_same_twice(name: str) -> None:
    assert BASELINES[name](Random(1), Facts()).name == name
    played = scenario("steady-2x")
    first, again = (simulate(played, controller(name), 1) for _ in range(2))
    for kind in ("attempts", "rejected"):
        assert first.count(kind, 0.0, 30.0) == again.count(kind, 0.0, 30.0)
    assert first.goodput(0.0, 30.0) == again.goodput(0.0, 30.0)


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_no_baseline_sheds_a_quiet_service(name: str) -> None:
    run = simulate(scenario("steady-0.5x"), controller(name), 1)
    noisy = {"vegas", "vegas-windowed", "aioadaptive", "bbr-keen", "codel", "codel-facebook", "bbr"}
    # Those that compare single latencies with a minimum take the spread of exponential services for a queue.
    rejected = run.count("rejected", 5.0, 28.0) / run.count("attempts", 5.0, 28.0)
    assert rejected < (0.7 if name in noisy else 0.001)


@pytest.mark.parametrize(
    "name",
    [
        "gradient2",
        "vegas-windowed",
        "codel-facebook",
        "pid",
        "failsafe-limiter",
        "token-bucket",
        "bounded-queue",
    ],
)
def test_the_good_ones_hold_goodput_at_four_times_the_capacity(name: str) -> None:
    played = scenario("steady-4x")
    run = simulate(played, controller(name), 1)
    assert run.goodput(*played.window) > 0.95


def test_the_neutral_policy_admits_everything() -> None:
    policy = BasePolicy()
    assert crowd(policy, 0.0, 1000, 9.0, FAILURE) == 1000
