"""The hypotheses: decided by the real engine, the same for a seed, and told as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from atrion.cli import main
from atrion.errors import ConfigurationError
from atrion_lab.hypotheses import HYPOTHESES, Hypothesis, Measure, Trial, findings


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, Any]]:
    return {row["measure"]: row for row in findings(list(HYPOTHESES.values()), range(1, 4))}


def test_every_target_is_met_by_the_shipped_engine(rows: dict[str, dict[str, Any]]) -> None:
    assert [name for name, row in rows.items() if row["met"] is False] == []
    assert sum(row["met"] is True for row in rows.values()) >= 10


def test_hysteresis_is_what_keeps_a_breaker_from_flapping(rows: dict[str, dict[str, Any]]) -> None:
    def transitions(name: str) -> float:
        return float(rows[f"transitions, {name}"]["value"])

    assert transitions("threshold") > transitions("neither") > 5 * transitions("hysteresis")
    assert transitions("both") > transitions("hysteresis") - 5


def test_a_breaker_is_open_about_as_long_as_the_dependency_is_dead(rows: dict[str, dict[str, Any]]) -> None:
    dead = rows["share of time dead"]["value"]
    assert 0.2 < dead < 0.8
    assert rows["share of time open, both"]["value"] == pytest.approx(dead, abs=0.05)


def test_without_decay_a_route_stays_shut(rows: dict[str, dict[str, Any]]) -> None:
    assert rows["share of the time after the longest broken, without decay"]["value"] == 1.0


@pytest.mark.parametrize("name", HYPOTHESES)
def test_a_seed_decides_a_trial(name: str) -> None:
    play = HYPOTHESES[name].play
    assert play(7).values == play(7).values
    assert play(7).values != play(8).values


def test_rows_carry_mean_interval_and_verdict() -> None:
    hypothesis = Hypothesis(
        "toy",
        "toys behave",
        (Measure("low", 2.0, most=True), Measure("high", 3.0), Measure("beside")),
        lambda seed: Trial({"low": float(seed), "high": float(seed), "beside": 1.0}),
    )
    low, high, beside = findings([hypothesis], [1, 2, 3])
    assert (low["value"], low["met"], low["sense"]) == (2.0, True, "at most")
    assert low["low"] < 2.0 < low["high"]
    assert (high["met"], high["sense"]) == (False, "at least")
    assert (beside["target"], beside["met"]) == (None, None)


def test_no_seed_is_refused_in_words() -> None:
    with pytest.raises(ConfigurationError, match="seeds"):
        findings([], [])


def test_the_command_prints_json_and_plots(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    target = tmp_path / "hypotheses.svg"
    assert main(["lab", "hypotheses", "--seeds", "1", "--json", "--plot", str(target)]) == 0
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["hypothesis"] for row in printed} == set(HYPOTHESES)
    assert set(printed[0]) >= {"measure", "value", "low", "high", "target", "met"}
    assert target.read_text().startswith("<?xml")


def test_the_command_speaks_to_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "hypotheses", "--only", "decay", "--seeds", "2"]) == 0
    printed = capsys.readouterr().out
    assert "decay prevents deadlock" in printed
    assert "2 of 2 targets met" in printed


@pytest.mark.parametrize("arguments", [["--seeds", "0"], ["--plot", "hypotheses.pdf"]])
def test_unusable_options_end_with_a_sentence(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lab", "hypotheses", *arguments]) == 2
    assert arguments[0] in capsys.readouterr().err
