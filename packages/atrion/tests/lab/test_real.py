from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from atrion.cli import main
from atrion.cli.lab_real_http import play, served
from atrion.lab.policies.catalog import controller
from atrion.lab.scenario import simulate
from atrion.lab.scenarios.real import REAL


@pytest.mark.slow
def test_reality_resembles_the_simulation() -> None:
    scenario = replace(REAL["steady-4x"].scenario, seconds=6.0, window=(2.0, 5.0))
    simulated = simulate(scenario, controller("atrion"), 1)
    with served("steady-4x", protected=True) as (port, start):
        real = asyncio.run(play(scenario, port, start, 1))
    # The same requests, a few milliseconds apart.
    assert real.count("offered", 0, 5, 4) == pytest.approx(simulated.count("offered", 0, 5, 4), abs=5)
    assert real.goodput(2.0, 5.0) == pytest.approx(simulated.goodput(2.0, 5.0), abs=0.3)
    assert real.count("rejected", 2, 5) > 0.5 * real.count("offered", 2, 5)


def test_an_unknown_scenario_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "real", "--only", "mars"]) == 1
    assert "flash-crowd" in capsys.readouterr().err


@pytest.mark.parametrize("name", REAL)
def test_each_is_measured_by_the_usual_and_its_own(name: str) -> None:
    each = REAL[name]
    found = each.measured(simulate(each.scenario, controller("atrion"), 1))
    assert "goodput / capacity" in found
    assert set(each.measures) <= set(found)
