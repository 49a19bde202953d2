from __future__ import annotations

import json
import re
import statistics
from pathlib import Path
from random import Random

import pytest

from atrion.cli import main
from atrion_lab import harm as module
from atrion_lab.arrivals import Poisson
from atrion_lab.harm import FULL, IDLE, QUICK, WORK, Cell, cells, harm, missed

SMALL = ["--workers", "4", "--load", ".5,2", "--spread", "1", "--slow", "1", "--processes", "1"]
GRID = {"workers": (4.0,), "load": (0.5, 2.0), "spread": (1.0,), "slow": (1.0, 2.0)}
KEYS = {
    "workers",
    "load",
    "spread",
    "slow",
    "controller",
    "idle_rejects",
    "work_over_possible",
    "seeds",
    "worst",
}


@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0])
def test_the_spread_is_the_coefficient_of_variation(spread: float) -> None:
    law = Cell(1, 0.5, spread, 1.0).law
    draw = law.sampler(Random(1))
    drawn = [draw() for _ in range(20_000)]
    assert law.mean == 0.05
    assert statistics.stdev(drawn) / statistics.fmean(drawn) == pytest.approx(spread, abs=0.02)


def test_the_load_is_that_of_the_slower_server() -> None:
    calm, slower = Cell(8, 2.0, 1.0, 1.0).scenario(), Cell(8, 2.0, 1.0, 4.0).scenario()
    assert [traffic.arrivals for traffic in calm.traffic] == [Poisson(2.0 * 8 / 0.05)]
    assert [traffic.arrivals for traffic in slower.traffic] == [Poisson(2.0 * 8 / 0.2)]
    assert not calm.servers["api"].phases
    (phase,) = slower.servers["api"].phases
    assert phase.slow == 4.0
    assert phase.start == pytest.approx(slower.seconds / 3.0)


@pytest.mark.parametrize("grid", [QUICK, FULL])
def test_every_run_is_measured_whole_and_far_longer_than_its_clients_wait(
    grid: dict[str, tuple[float, ...]],
) -> None:
    for cell in cells(grid):
        scenario = cell.scenario()
        start, end = scenario.window
        deadline = scenario.traffic[0].deadline
        assert (start, end) == (0.0, scenario.seconds)
        assert end > 5.0 * deadline


def test_rows_are_the_same_from_one_process_and_from_two() -> None:
    grid = {**GRID, "slow": (1.0,)}
    found = harm(grid, ["none", "possible"], [1], 1)
    assert found == harm(grid, ["none", "possible"], [1], 2)
    assert all(set(row) == KEYS for row in found)
    assert [(row["load"], row["controller"]) for row in found] == [
        (load, name) for load in (0.5, 2.0) for name in ("none", "possible")
    ]


def test_who_refuses_nothing_loses_only_work_and_who_knows_all_loses_nothing() -> None:
    found = harm(GRID, ["none", "possible"], [1], 1)
    assert all(row["idle_rejects"] == 0.0 for row in found if row["controller"] == "none")
    assert all(row["work_over_possible"] == 1.0 for row in found if row["controller"] == "possible")
    assert [(row["controller"], row["load"]) for row in missed(found)] == [("none", 2.0), ("none", 2.0)]


@pytest.mark.parametrize(
    "load, idle, work, misses",
    [
        (0.9, IDLE, 0.5, False),
        (0.9, IDLE + 0.0001, 1.0, True),
        (1.2, 0.5, WORK, False),
        (1.2, 0.0, WORK - 0.001, True),
    ],
)
def test_each_side_of_the_capacity_has_its_bound(load: float, idle: float, work: float, misses: bool) -> None:
    row = {"workers": 4, "load": load, "spread": 0.0, "slow": 1.0}
    row |= {"idle_rejects": idle, "work_over_possible": work}
    assert bool(list(missed([row]))) is misses


def test_work_of_calls_that_are_too_long_for_their_clients_is_not_asked_for() -> None:
    assert Cell(1, 2.0, 0.0, 1.0).least_work == WORK
    assert Cell(1, 2.0, 1.0, 1.0).least_work == pytest.approx(WORK, rel=0.001)
    cell = Cell(1, 2.0, 3.0, 1.0)
    draw = cell.law.sampler(Random(1))
    drawn = [draw() for _ in range(200_000)]
    short = sum(each for each in drawn if each <= 0.5) / sum(drawn)
    assert cell.least_work == pytest.approx(WORK * short, rel=0.02)


def test_the_command_prints_rows_and_draws_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "harm.png"
    arguments = ["lab", "harm", *SMALL, "--controller", "none,aimd", "--json", "--plot", str(target)]
    assert main(arguments) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [set(row) == KEYS for row in rows] == [True] * 4
    assert target.stat().st_size > 5000


def test_only_check_makes_a_missing_cell_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "WORK", 9.0)
    arguments = ["lab", "harm", *SMALL, "--controller", "atrion"]
    assert main(arguments) == 0
    assert "MISSED workers 4, load 2, spread 1, slow 1: work_over_possible" in capsys.readouterr().out
    assert main([*arguments, "--check"]) == 1
    monkeypatch.setattr(module, "WORK", 0.0)
    monkeypatch.setattr(module, "IDLE", 1.0)
    assert main([*arguments, "--check"]) == 0
    assert "atrion: 2 of 2 cells met" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [["--workers", "1.5"], ["--workers", "0"], ["--load", "much"], ["--slow", ".5"], ["--spread", "11"]],
)
def test_a_list_that_makes_no_sense_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["lab", "harm", *arguments])
    assert refused.value.code == 2
    printed = capsys.readouterr().err
    assert repr(arguments[1]) in printed
    assert "separated by commas" in printed


@pytest.mark.parametrize("arguments", [["--controller", "magic"], ["--seeds", "0"], ["--processes", "65"]])
def test_an_unusable_option_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("harm", "recovery"):
        assert main(["lab", command, *arguments]) != 0
        assert re.search(r" must be .*, got | = .*: ", capsys.readouterr().err)


@pytest.mark.parametrize("seed", [0, 2])
def test_one_worker_at_four_times_its_load_keeps_answering(seed: int) -> None:
    """Dips are rare after a long overload; until the next one, a full worker is not taken for a free one."""
    cell = Cell(1, 4.0, 0.0, 1.0)
    (row,) = harm_of(cell, seed)
    assert row["work_over_possible"] > 0.85


def test_a_wide_service_far_below_its_capacity_may_become_three_times_slower() -> None:
    """Departures that grow with the calls in flight prove free workers, although no call was ever unloaded."""
    (row,) = harm_of(Cell(256, 0.5, 0.0, 3.0), 1)
    assert row["idle_rejects"] <= IDLE


def harm_of(cell: Cell, seed: int) -> list[dict[str, float]]:
    _, found = module.play((cell, ("atrion",), seed))
    return list(found.values())
