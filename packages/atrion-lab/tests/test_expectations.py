"""What a run of a scenario is measured by, and what is expected of it."""

from __future__ import annotations

import pytest

from atrion_lab.expectations import keeps, mean, worst
from small_scenario import HEAD, PLAIN, SERVER, TRAFFIC, measured


def test_in_calm_all_is_answered_by_everybody() -> None:
    row = measured(PLAIN)
    assert row["good_over_possible"] == row["work_over_possible"] == row["critical_success"] == 1.0
    assert row["idle_rejects"] == row["late_share"] == row["break_transitions"] == 0
    assert row["goodput_ratio"] == pytest.approx(0.5, abs=0.1)
    assert row["p50_seconds"] >= 0.05
    assert row["p99_over_deadline"] == pytest.approx(row["p99_seconds"] / 0.5)
    assert set(row["success"]) == {"bulk", "low", "normal", "high", "critical"}


def test_in_overload_the_clairvoyant_is_what_others_are_measured_by() -> None:
    crowd = PLAIN.replace("rate = 20", "rate = 200")
    assert measured(crowd)["good_over_possible"] < 0.2
    assert measured(crowd)["late_share"] > 0.8
    possible = measured(crowd, "possible")
    assert possible["good_over_possible"] == 1.0
    assert possible["late_share"] == 0.0
    assert possible["goodput_ratio"] > 0.95


def test_a_refusal_beside_a_free_worker_is_idle() -> None:
    broken = "[[servers.api.phases]]\nstart = 0\nfail = {}\n".format
    # It opens after half of a hundred calls failed, and stays open although the server is well again.
    text = HEAD + SERVER + broken(1.0) + "[[servers.api.phases]]\nstart = 6\nfail = 0.0\n" + TRAFFIC
    row = measured(text, "breaker")
    assert 0.2 < row["idle_rejects"] < 0.5
    assert measured(HEAD + SERVER + broken(1.0) + TRAFFIC, "breaker")["idle_rejects"] == 0.0


def test_routes_that_are_well_are_measured_alone() -> None:
    text = HEAD + SERVER + SERVER.replace("api", "other") + TRAFFIC.replace("20", "400")
    text += TRAFFIC.replace("api", "other") + '[report]\nwell = ["other"]\n'
    row = measured(text)
    assert row["well_over_possible"] == 1.0
    assert row["good_over_possible"] < 0.5


def test_calls_of_others_take_what_their_own_server_says() -> None:
    below = SERVER.replace("api", "db").replace("0.05", "0.2").replace("= 2", "= 50")
    route = '[routes.front]\nserver = "api"\ncalls = [["db", "db"]]\n'
    row = measured(HEAD + SERVER + below + route + TRAFFIC.replace("api", "front").replace("20", "1"))
    assert row["p50_seconds"] == pytest.approx(0.25)


def test_pods_are_measured_together() -> None:
    pods = PLAIN.replace("rate = 20", "rate = 40") + "[cluster]\npods = 2\nshared = false\n"
    row = measured(pods, "atrion")
    assert row["critical_success"] > 0.95
    assert row["goodput_ratio"] == pytest.approx(0.5, abs=0.1)


def test_a_request_is_answered_when_one_of_its_attempts_is() -> None:
    failing = "[[servers.api.phases]]\nstart = 0\nfail = 1.0\n[[servers.api.phases]]\nstart = 5\nfail = 0.0\n"
    calm = TRAFFIC.replace("20", "4")
    once = measured(HEAD + SERVER + failing + calm)
    again = measured(HEAD + "window = [0, 9]\n" + SERVER + failing + calm + "retries = 20\nbackoff = 0.5\n")
    assert once["good_over_possible"] == 1.0  # nobody can answer what fails
    assert once["success"]["bulk"] < 0.7
    assert again["success"]["bulk"] > 0.95


def test_a_shared_server_is_possible_as_a_queue() -> None:
    crowd = PLAIN.replace("rate = 20", "rate = 200").replace(
        "workers = 2", 'workers = 2\ndiscipline = "shared"'
    )
    assert measured(crowd)["good_over_possible"] < 0.2
    assert measured(crowd, "possible")["goodput_ratio"] > 0.95


def test_calls_tell_the_engine_what_they_cost() -> None:
    mixed = HEAD + SERVER.replace('law = "fixed", mean = 0.05', 'law = "bimodal", mean = 0.05') + TRAFFIC
    busy = mixed.replace("rate = 20", "rate = 120")
    # Without a cost there is nothing to leave out; with one, the engine decides otherwise.
    assert measured(busy, "atrion") == measured(busy, "atrion-no-cost")
    costly = busy + "cost = 4000.0\n"
    assert measured(costly, "atrion-no-cost") == measured(busy, "atrion")
    assert measured(costly, "atrion") != measured(busy, "atrion")
    assert measured(costly + "cost_sigma = 1.0\n", "atrion") != measured(costly, "atrion")


def test_means_and_worst_over_seeds() -> None:
    found = [{"late_share": 0.1, "success": {"bulk": 1.0}}, {"late_share": 0.3, "success": {"bulk": 0.5}}]
    assert mean(found) == {"late_share": pytest.approx(0.2), "success": {"bulk": 0.75}}
    assert worst(found) == {"late_share": 0.3, "success": {"bulk": 0.5}}
    assert keeps(mean(found), {"late_share": 0.1, "success.bulk": 0.7, "success.high": 0.9}) == {
        "late_share": False,
        "success.bulk": True,
        "success.high": True,
    }
