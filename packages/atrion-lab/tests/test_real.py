from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from atrion.cli import main
from atrion_lab.commands.real import _table
from atrion_lab.demo.result import Service
from atrion_lab.demo.view import Scene
from atrion_lab.policies.catalog import controller
from atrion_lab.real import process
from atrion_lab.real.http import play, served
from atrion_lab.real.process import PROCESS, possible
from atrion_lab.real.streams import Companions
from atrion_lab.scenario import simulate
from atrion_lab.scenarios.real import REAL


@pytest.mark.slow
def test_reality_resembles_the_simulation() -> None:
    scenario = replace(REAL["steady-4x"].scenario, seconds=6.0, window=(2.0, 5.0))
    simulated = simulate(scenario, controller("atrion"), 1)
    with served("steady-4x", protected=True) as (port, start):
        real, _ = asyncio.run(play(scenario, port, start, 1))
    # The same requests, a few milliseconds apart.
    assert real.count("offered", 0, 5, 4) == pytest.approx(simulated.count("offered", 0, 5, 4), abs=5)
    assert real.goodput(2.0, 5.0) == pytest.approx(simulated.goodput(2.0, 5.0), abs=0.3)
    assert real.count("rejected", 2, 5) > 0.5 * real.count("offered", 2, 5)


def test_an_unknown_scenario_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "real", "--only", "mars"]) == 2
    assert "flash-crowd" in capsys.readouterr().err


@pytest.mark.parametrize("name", REAL)
def test_each_is_measured_by_the_usual_and_its_own(name: str) -> None:
    each = REAL[name]
    found = each.measured(simulate(each.scenario, controller("atrion"), 1))
    assert "goodput / capacity" in found
    assert set(each.measures) <= set(found)


@pytest.mark.parametrize("name", REAL)
def test_what_is_held_to_a_bound_is_measured(name: str) -> None:
    each = REAL[name]
    measured = {*each.measured(simulate(each.scenario, controller("none"), 1))}
    if each.streams:
        measured |= {*Companions(0).measured()}
    assert set(each.bounds) <= measured


@pytest.mark.slow
def test_streams_and_ordinary_routes_are_served_side_by_side() -> None:
    scenario = replace(REAL["streams"].scenario, seconds=4.0)
    with served("streams", protected=True) as (port, start):
        beside = Companions(port)
        run, _ = asyncio.run(play(scenario, port, start, 1, beside))
    assert run.count("rejected", 0.0, 4.0) == 0
    assert set(run.routes) == {"checkout", "search"}
    assert beside.measured() == {"streams answered": 1.0, "streams refused": 0.0}


@pytest.mark.slow
def test_every_route_of_a_scenario_is_served() -> None:
    scenario = replace(REAL["seven-routes"].scenario, seconds=2.0)
    with served("seven-routes", protected=False) as (port, start):
        run, _ = asyncio.run(play(scenario, port, start, 1))
    assert set(run.routes) == set("abcdefg")
    assert run.count("good", 0.0, 2.0) > 0


def test_a_process_is_measured_then_overloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    tally = {"sent": 100, "good": 90, "work": 90.0, "shed": 5, "late": 5}
    row = {"tiers": {"critical": tally}, "latencies": [0.1], "seconds": 1.0, "cpu": 0.1, "lag": 0.0}
    asked: list[float] = []

    def play(view: object, scene: Scene, *rest: object) -> tuple[dict[str, Any], Service]:
        asked.append(scene.overload * scene.capacity)
        loaded = {**row, "offered": scene.overload * scene.capacity}
        return dict.fromkeys(("calm", "overload", "recovery"), loaded), Service(cpu=0.5, computes=True)

    def measure(view: object, shape: str, *rest: object) -> float:
        return 2000.0 if shape == "empty" else 100.0

    monkeypatch.setattr(process, "measure", measure)
    monkeypatch.setattr(process, "play", play)
    told: list[float] = []
    found, notes = PROCESS["cpu-threads"].played(1, protected=True, tell=told.append)
    assert asked == [300.0, 600.0] * 2
    assert told == [0.25, 0.5, 0.75, 1.0]
    assert found["compute capacity, 1/s"] == 100.0
    assert found["compute 6x: goodput / possible"] == pytest.approx(0.9 * 0.95 / 0.7)
    assert found["hold 6x: goodput / possible"] == 0.9
    assert len(notes) == 4
    assert "50% of a core" in notes[0]


@pytest.mark.parametrize("overload", [1.0, 3.0, 6.0, 100.0])
def test_what_is_possible_is_what_refusing_the_rest_leaves(overload: float) -> None:
    share = possible(200.0, overload, 10000.0)
    assert 0.0 <= share <= 1.0
    busy = share * 200.0 / 200.0 + (overload - share) * 200.0 / 10000.0
    assert busy == pytest.approx(1.0) or share == 0.0
    assert possible(200.0, 3.0, 100.0) == 1.0


def test_the_table_says_where_there_is_no_simulation_and_what_is_held() -> None:
    lines = _table(
        {
            "cpu-async": {"3x: goodput / possible": [None, 0.5], "3x: critical success": [None, 0.99]},
            "outage": {"seconds to full service": [0.5, 0.4], "rejected": [0.1, 0.2]},
        }
    ).splitlines()
    assert "no simulation" in lines[1]
    assert lines[1].endswith("✗ ≥ 0.9")
    assert lines[2].endswith("✓ ≥ 0.95")
    assert lines[3].endswith("✓ ≤ 1")
    assert lines[4].endswith("0.200")
