from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from atrion.cli import main
from atrion_lab.arrivals import Profile
from atrion_lab.commands.published import NAMES, table
from atrion_lab.measures import NEVER
from atrion_lab.metrics import Run
from atrion_lab.published import EXPERIMENTS, lines, play, random_shedding, settles
from atrion_lab.scenarios import described
from atrion_lab.scenarios.published import BREAKWATER, DAGOR, METASTABLE, STEP, TARGET, VULNERABLE


def peak(arrivals: object) -> float:
    assert isinstance(arrivals, Profile)
    return arrivals.points[-1][1]


@pytest.mark.parametrize(
    "scenario, factor, calls",
    [
        (each, factor, calls)
        for each, (factor, calls) in zip(DAGOR, itertools.product((2.0, 4.0), (1, 2, 3, 4)), strict=True)
    ],
    ids=[each.name for each in DAGOR],
)
def test_dagors_tasks_call_m_once_to_four_times_at_twice_and_four_times_750_a_second(
    scenario: object, factor: float, calls: int
) -> None:
    from atrion_lab.scenario import Scenario

    assert isinstance(scenario, Scenario)
    assert scenario.capacity == pytest.approx(750.0)
    assert scenario.routes["a"].calls == ("m",) * calls
    assert calls * peak(scenario.traffic[0].arrivals) == pytest.approx(factor * 750.0)
    assert scenario.traffic[0].deadline == 0.5


def test_netflix_has_twelve_times_the_prefetches_and_as_many_user_requests_as_ever() -> None:
    user, prefetch = described("netflix-prefetch").scenario.traffic
    assert user.mix[4] == prefetch.mix[0] == 1.0
    assert isinstance(prefetch.arrivals, Profile)
    before, spike, after = (rate for _, rate in prefetch.arrivals.points)
    assert spike == 12.0 * before == 12.0 * after


def test_breakwater_steps_on_services_of_10_microseconds_that_promise_200() -> None:
    for scenario, factor in zip(BREAKWATER, (1.4, 2.0, 1.4, 1.4), strict=True):
        server = scenario.servers["rpc"]
        assert (server.workers, server.law.mean) == (10, 1e-5)
        assert scenario.slo is not None
        assert scenario.slo.latency == scenario.traffic[0].deadline == TARGET == pytest.approx(2e-4)
        assert peak(scenario.traffic[0].arrivals) == pytest.approx(factor * 1e6)


def test_topfulls_five_apis_share_services_and_two_of_these_are_overloaded() -> None:
    scenario = described("topfull-boutique").scenario
    asked = dict.fromkeys(scenario.servers, 0.0)
    for traffic in scenario.traffic:
        rate = peak(traffic.arrivals)
        asked["frontend"] += rate
        for name in scenario.route(traffic.to[0]).calls or ():
            assert isinstance(name, str)
            asked[name] += rate
    over = {name for name, rate in asked.items() if rate > 0.9 * scenario.servers[name].capacity}
    assert len(scenario.traffic) == 5
    assert over == {"recommendation", "checkout"}


def test_the_metastable_experiments_lose_what_the_artifact_takes_away() -> None:
    lost = []
    for scenario in METASTABLE:
        server, traffic = scenario.servers["mongo"], scenario.traffic[0]
        begin, end = server.phases
        lost.append((end.start - begin.start, (begin.workers or 0) / server.workers))
        assert traffic.retries == 4
    assert lost == [(10.0, 0.225), (10.0, 0.2), (9.0, 0.2), (10.0, 0.2)]
    rates = [scenario.traffic[0].arrivals.rate / scenario.capacity for scenario in METASTABLE]  # type: ignore[attr-defined]  # Poisson
    assert rates == pytest.approx([VULNERABLE, VULNERABLE, VULNERABLE, 0.7 * VULNERABLE])


@pytest.mark.parametrize(
    "calls, factor, success", [(1, 2.0, 0.5), (2, 2.0, 0.382), (2, 4.0, 0.134), (1, 4.0, 0.25)]
)
def test_random_shedding_loses_what_the_last_call_needed(calls: int, factor: float, success: float) -> None:
    assert random_shedding(calls, factor) == pytest.approx(success, abs=1e-3)


def test_a_server_has_one_policy_for_all_calls_of_a_task() -> None:
    from atrion_lab.policies.catalog import controller
    from atrion_lab.scenario import World

    gate = World(DAGOR[1], controller("dagor"), 1).pods[0].gates["a"]
    first, second = gate.wanted
    assert first.policy is second.policy  # type: ignore[union-attr]  # gates, not tuples


def test_settling_ends_with_the_last_poor_span() -> None:
    scenario = BREAKWATER[0]
    every = 1.0 / scenario.capacity
    count = round((scenario.seconds - STEP) / every)
    arrived = [STEP + (index + 0.5) * every for index in range(count)]
    latencies = [2.0 * TARGET if at < STEP + 0.025 else 0.5 * TARGET for at in arrived]
    run = Run("", "", 1, scenario.seconds, scenario.capacity, {}, arrived, latencies)
    assert settles(scenario, run) == pytest.approx(30.0)
    run.latencies = [2.0 * TARGET] * count
    assert settles(scenario, run) == NEVER


def test_retries_keep_an_unprotected_database_down_and_atrion_brings_it_back() -> None:
    down = play(("metastable", "metastable-large", "none", 2))
    back = play(("metastable", "metastable-large", "atrion", 2))
    assert down["success"] < 0.01
    assert down["s to recover"] == NEVER
    assert back["success"] > 0.99


def test_rows_name_what_was_published_and_what_the_lab_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "published.svg"
    arguments = ["netflix", "--seeds", "1", "--processes", "1", "--json", "--plot", str(target)]
    assert main(["lab", "published", *arguments]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["measure"] for row in rows] == ["critical success", "bulk success"]
    assert all(row["published"] and row["source"] and row["seeds"] == 1 for row in rows)
    assert set(rows[0]["values"]) == set(EXPERIMENTS["netflix"].controllers)
    assert rows[0]["values"]["atrion"][0] > 0.994
    assert target.stat().st_size > 1000
    assert "0.20 at the lowest" in table(rows)


def test_success_is_also_told_over_the_controller_that_was_compared_with() -> None:
    each = EXPERIMENTS["topfull"]
    (row,) = each.rows
    found = {
        (each.name, row.scenario.name, name, row.measure): [0.1 * place, 0.3 * place]
        for place, name in enumerate(each.controllers, 1)
    }
    success, over = lines(each, found)
    assert [value[0] for value in success["values"].values()] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.2])
    assert over["values"]["atrion"][0] == pytest.approx(0.5)
    assert over["optimum"] == pytest.approx(row.optimum / 0.4 if row.optimum else 0.0)


def test_what_one_seed_never_reaches_is_never_reached() -> None:
    each = EXPERIMENTS["metastable"]
    found = {
        (each.name, row.scenario.name, name, row.measure): [1.0, NEVER]
        for row in each.rows
        for name in each.controllers
    }
    assert "never" in table(list(lines(each, found)))


def test_the_command_knows_every_experiment_and_refuses_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert tuple(EXPERIMENTS) == NAMES
    with pytest.raises(SystemExit) as ended:
        main(["lab", "published", "nothing"])
    assert ended.value.code == 2
    assert "dagor" in capsys.readouterr().err
