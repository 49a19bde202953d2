from __future__ import annotations

import json
from dataclasses import replace

import pytest

from atrion.cli import main
from atrion.errors import ConfigurationError
from atrion_lab.policies.catalog import CONTROLLERS, controller
from atrion_lab.scenario import simulate
from atrion_lab.scenarios import scenario


def test_a_seed_decides_everything() -> None:
    first, again, other = (simulate(scenario("steady-2x"), controller("atrion"), seed) for seed in (1, 1, 2))
    assert first.series == again.series
    assert list(first.latencies) == list(again.latencies)
    assert first.series != other.series


def test_policies_meet_the_same_requests() -> None:
    runs = [simulate(scenario("steady-2x"), controller(name), 3) for name in ("none", "atrion")]
    assert runs[0].series["offered"] == runs[1].series["offered"]


def test_without_admission_control_overload_serves_nobody_in_time() -> None:
    run = simulate(scenario("steady-4x"), controller("none"), 1)
    assert run.goodput(8, 24) < 0.05


def test_the_engine_keeps_goodput_and_serves_what_matters() -> None:
    run = simulate(scenario("steady-4x"), controller("atrion"), 1)
    assert run.goodput(8, 24) > 0.9
    assert run.success(8, 24, 4) > 0.95
    assert run.transitions() == 0


@pytest.mark.parametrize("seed", [6, 10])
def test_a_small_overload_after_a_calm_is_no_slower_service(seed: int) -> None:
    """What was learnt in calm is checked by new unloaded calls before the capacity may grow."""
    run = simulate(scenario("steady-1.2x"), controller("atrion"), seed)
    assert run.success(8, 24, 4) > 0.95


def test_half_a_load_is_left_alone() -> None:
    run = simulate(scenario("steady-0.5x"), controller("none"), 1)
    assert run.count("rejected", 0, 30) == 0
    assert run.success(1, 24) > 0.99


@pytest.mark.parametrize("name", ["steady-0x", "steady-x", "nonsense"])
def test_an_unknown_scenario_is_named(name: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        scenario(name)


def test_the_command_prints_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "run", "steady-4x", "--seed", "1", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["summary"]["goodput_per_capacity"] > 0.9
    assert printed["controller"] == "atrion"


@pytest.mark.parametrize("name", [each.name for each in CONTROLLERS.values() if each.spans])
def test_every_form_of_atrion_plays_a_scenario_with_pools(name: str) -> None:
    sale = replace(scenario("black-friday"), seconds=2.0, window=(0.0, 2.0))
    assert simulate(sale, controller(name), 1).count("offered", 0.0, 2.0) > 0
