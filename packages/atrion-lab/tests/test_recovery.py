from __future__ import annotations

import json
from pathlib import Path

import pytest

from atrion.cli import main
from atrion_lab import recovery as module
from atrion_lab.metastable import Patience, Trigger, amplification, seconds_to_recover, state
from atrion_lab.recovery import FULL, QUICK, Cell, agrees, cells, missed, recoveries

PAUSE = Trigger(10.0, 2.0, capacity=0.0)
ONE = {
    "load": (0.6,),
    "trigger": ("pause",),
    "seconds": (2.0,),
    "retries": (0, 1),
    "budget": (None, 0.1),
    "backoff": (0.05,),
}


@pytest.mark.parametrize(
    "clients, attempts",
    [(Patience(0), 1.0), (Patience(3), 4.0), (Patience(3, 0.1), 1.1), (Patience(0, 0.1), 1.0)],
)
def test_a_request_in_vain_makes_all_its_attempts(clients: Patience, attempts: float) -> None:
    assert amplification(clients) == pytest.approx(attempts)


def test_the_state_follows_from_load_and_attempts() -> None:
    assert state(0.9, Patience(0), None) == "stable"
    assert state(0.49, Patience(1), None) == "stable"
    assert state(0.5, Patience(1), 1.0) == "vulnerable"
    assert state(0.5, Patience(1), None) == "metastable"
    assert state(0.9, Patience(5, 0.1), None) == "stable"
    assert state(1.0, Patience(0), None) == "overloaded"


@pytest.mark.parametrize("load, seconds", [(0.3, 5.0), (0.6, 2.0), (0.8, 3.0)])
def test_without_retries_the_queue_of_a_pause_drains_with_what_capacity_is_left(
    load: float, seconds: float
) -> None:
    after = seconds_to_recover(load, Trigger(10.0, seconds, capacity=0.0), Patience(0), service=0.05)
    # ρ·d seconds of work wait at its end and shrink by 1 − ρ a second, until a call begins in time again.
    assert after == pytest.approx((load * seconds - (0.5 - 0.05)) / (1.0 - load), abs=0.05)


def test_retries_keep_a_queue_that_its_trigger_has_left() -> None:
    assert seconds_to_recover(0.6, PAUSE, Patience(1)) is None
    assert seconds_to_recover(0.6, PAUSE, Patience(1, 0.1)) is not None
    assert seconds_to_recover(0.4, PAUSE, Patience(1)) is not None


def test_a_trigger_that_makes_nobody_late_tips_nothing() -> None:
    short = Trigger(10.0, 0.3, capacity=0.0)
    assert seconds_to_recover(0.6, short, Patience(3)) == 0.0


def test_an_outage_brings_its_retries_only_where_they_exceed_the_capacity() -> None:
    outage = Trigger(10.0, 5.0, fails=True)
    assert seconds_to_recover(0.4, outage, Patience(1)) == 0.0
    assert seconds_to_recover(0.9, outage, Patience(1)) is None


@pytest.mark.parametrize("grid", [QUICK, FULL])
def test_every_cell_can_be_played_once(grid: dict[str, tuple[object, ...]]) -> None:
    found = cells(grid)
    assert len(found) == len(set(found))
    for cell in found:
        scenario = cell.scenario()
        assert scenario.window[0] == pytest.approx(10.0 + cell.seconds)
        assert scenario.seconds > scenario.window[1]


def test_a_service_does_what_theory_says_of_it() -> None:
    found = recoveries(ONE, ["none"], [1], 1)
    assert [row["predicted"] for row in found] == ["stable", "metastable", "stable"]
    assert [row["back"] for row in found] == [1.0, 0.0, 1.0]
    assert all(agrees(row) for row in found)
    assert [row["retries"] for row in missed(found)] == [1]
    for row in found:
        if row["predicted"] == "stable":
            assert row["recovery_seconds"] == pytest.approx(row["predicted_seconds"], abs=1.0)


def test_control_brings_back_what_would_have_stayed_away() -> None:
    (row,) = recoveries({**ONE, "retries": (1,), "budget": (None,)}, ["atrion"], [1], 1)
    assert row["predicted"] == "metastable"
    assert row["back"] == 1.0
    assert row["recovery_seconds"] < 5.0


def test_processes_find_the_same() -> None:
    grid = {**ONE, "retries": (0,)}
    assert recoveries(grid, ["none"], [1, 2], 1) == recoveries(grid, ["none"], [1, 2], 2)


def test_each_trigger_does_what_it_is_called() -> None:
    servers = {
        name: Cell(0.5, name, 2.0, 0, None, 0.0).scenario().servers["api"].phases for name in module.TRIGGERS
    }
    assert servers["burst"] == ()
    assert servers["pause"][0].workers == 0
    assert servers["slow"][0].slow == module.SLOW
    assert servers["outage"][0].fail == 1.0
    assert all(phases[1].start == 12.0 for phases in servers.values() if phases)


def test_the_command_prints_rows_draws_them_and_checks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "recovery.png"
    cell = ["--load", ".6", "--trigger", "pause", "--seconds", "1", "--processes", "1"]
    arguments = ["lab", "recovery", *cell, "--retries", "1", "--budget", "none", "--controller", "none"]
    assert main([*arguments, "--json", "--plot", str(target)]) == 0
    (row,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (row["predicted"], row["predicted_seconds"], row["worst_seconds"]) == ("metastable", None, None)
    assert target.stat().st_size > 5000
    assert main([*arguments, "--check"]) == 0  # only Atrion is held to it
    assert "none: back in 0 of 1 cells; theory agrees in 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    "option, value", [("--trigger", "storm"), ("--budget", "some"), ("--budget", "2"), ("--budget", "")]
)
def test_an_unknown_trigger_or_budget_is_refused(
    option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["lab", "recovery", option, value])
    assert refused.value.code == 2
    assert option in capsys.readouterr().err
