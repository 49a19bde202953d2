from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from atrion.cli import main
from atrion_lab.bench import ROWS, bench
from atrion_lab.measures import MEASURES
from atrion_lab.metrics import interval, jain, percentile
from atrion_lab.policies.catalog import CONTROLLERS
from atrion_lab.scenarios import SCENARIOS, scenario
from small_scenario import PLAIN

PROMISED = (
    "steady-0.5x steady-10x cold-start-in-overload flash-crowd slow-ramp diurnal retry-storm capacity-loss "
    "dead-dependency gray-failure-20% gray-failure-50% hung-dependency flapping-dependency low-flood critical-only "
    "black-friday microservice-domino ddos-tarpit llm-router iot-sampling game-lod cluster-outage cluster-partition "
    "poisoned-pod rolling-restart"
)


def test_every_promised_scenario_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "list", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert set(PROMISED.split()) <= set(printed["scenarios"])
    assert set(printed["controllers"]) == set(CONTROLLERS)
    assert main(["lab", "list"]) == 0
    assert "flash-crowd" in capsys.readouterr().out


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_is_sound(name: str) -> None:
    chosen = scenario(name)
    start, end = chosen.window
    assert 0.0 <= start < end <= chosen.seconds
    assert chosen.about
    for traffic in chosen.traffic:
        assert all(chosen.route(route).server in chosen.servers for route in traffic.to)


def test_every_row_can_be_measured() -> None:
    for row in ROWS:
        assert row.measure in MEASURES
        assert scenario(row.scenario)
        assert row.against in ("", "best", "ratio") or scenario(row.against)


def test_rows_have_what_a_program_reads() -> None:
    rows = [row for row in ROWS if row.scenario in ("steady-0.8x", "cold-start-in-overload")]
    found = bench(rows=rows, seeds=2, workers=1)
    assert len(found) == len(rows)
    for row in found:
        assert {"measure", "scenario", "controller", "value", "low", "high", "target", "met"} <= set(row)
        assert row["low"] <= row["value"] <= row["high"]
        assert row["seeds"] == 2


def test_processes_find_what_one_finds() -> None:
    rows = [row for row in ROWS if row.scenario == "cold-start-in-overload"]
    assert bench(rows=rows, seeds=2, workers=1) == bench(rows=rows, seeds=2, workers=2)


def test_the_table_names_what_was_missed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "bench", "--quick", "--only", "cold-start"]) == 0
    printed = capsys.readouterr().out
    assert "goodput after 2 s" in printed
    assert "rows met" in printed


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "no-such-scenario"],
        ["run", "steady-4x", "--controller", "magic"],
        ["run", "steady-4x", "--plot", "picture.gif"],
        ["cluster", "steady-4x"],
        ["cluster", "--pods", "1"],
        ["cluster", "--loss", "2"],
        ["compare", "steady-4x", "--controllers", "atrion,magic"],
        ["compare", "steady-4x", "--seeds", "0"],
        ["bench", "--only", "no-such-row"],
        ["bench", "--seeds", "0"],
        ["bench", "--controller", "none"],
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lab", *arguments]) == 2
    assert re.search(r" must be .*, got | = .*: ", capsys.readouterr().err)


@pytest.mark.parametrize(
    "words", [["lab"], ["lab", "rnu"], ["demo", "--secs", "9"], ["demo", "--seconds", "x"]]
)
def test_what_is_not_understood_ends_with_a_sentence_and_status_2(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert "error:" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_run_is_drawn(suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / f"run.{suffix}"
    assert main(["lab", "run", "cold-start-in-overload", "--plot", str(target)]) == 0
    assert target.stat().st_size > 5000
    assert "in time" in capsys.readouterr().out


def test_a_cluster_is_played_with_the_numbers_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "cluster", "--pods", "3", "--delay", "0.01", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)["summary"]
    assert summary["pods"] == 3
    assert summary["pulses_until_others_follow"] < 20


def test_controllers_are_compared_on_the_same_requests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "bars.svg"
    arguments = ["lab", "compare", "cold-start-in-overload", "--controllers", "none,atrion,atrion"]
    assert main([*arguments, "--seeds", "2", "--workers", "1", "--plot", str(target)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["atrion", "none"]
    assert target.stat().st_size > 5000


def test_claims_are_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "claims.png"
    assert (
        main(
            [
                "lab",
                "bench",
                "--only",
                "false rejects",
                "--seeds",
                "2",
                "--workers",
                "1",
                "--json",
                "--plot",
                str(target),
            ]
        )
        == 0
    )
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 2
    assert target.stat().st_size > 5000


def test_statistics() -> None:
    assert interval([1.0]) == (1.0, 1.0, 1.0)
    mean, low, high = interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert mean == 3.0
    assert high - mean == pytest.approx(2.776 * 1.5811 / 5**0.5, rel=0.01)  # t of 4 degrees
    assert mean - low == pytest.approx(high - mean)
    assert jain([1.0, 1.0, 1.0]) == pytest.approx(1.0)
    assert jain([1.0, 0.0, 0.0, 0.0]) == pytest.approx(0.25)
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([], 0.99) == 0.0


@pytest.mark.parametrize(
    "words, meant",
    [
        (["lab", "rnu"], "run"),
        (["lab", "run", "flash-crowd", "--sede", "1"], "--seed"),
        (["lab", "published", "dagro"], "dagor"),
        (["lab", "run", "flash-crwod"], "flash-crowd"),
        (["lab", "run", "flash-crowd", "--controller", "brekaer"], "breaker"),
    ],
)
def test_what_is_misspelt_is_told_what_was_meant(
    words: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status: object = main(words)
    except SystemExit as end:
        status = end.code
    assert status == 2
    assert f"did you mean {meant}?" in capsys.readouterr().err


def test_only_files_are_scaled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "run", "steady-2x", "--scale", "2"]) == 2
    assert "--scale" in capsys.readouterr().err
    path = tmp_path / "mine.toml"
    path.write_text(PLAIN, encoding="utf-8")
    assert main(["lab", "run", str(path), "--scale", "2", "--json"]) == 0
    twice = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert main(["lab", "run", str(path), "--json"]) == 0
    once = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert twice["goodput_ratio"] == pytest.approx(2.0 * once["goodput_ratio"], rel=0.3)


def test_rows_for_programs_and_an_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "mine.toml"
    target.write_text("expect = { critical_success = 0.9 }\n" + PLAIN, encoding="utf-8")
    command = ["lab", "run", str(target), "--controller", "none,possible", "--seeds", "2"]
    assert main([*command, "--json"]) == 0
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["controller"], row["seed"]) for row in printed] == [
        ("none", 1),
        ("possible", 1),
        ("none", 2),
        ("possible", 2),
        ("none", "mean"),
        ("possible", "mean"),
    ]
    assert printed[-1]["met"] is True
    assert printed[-1]["worst"]["good_over_possible"] == 1.0
    assert "met" not in printed[0]
    target.write_text("expect = { late_share = 0.1 }\n" + PLAIN.replace("20", "200"), encoding="utf-8")
    assert main(command) == 1
    shown = capsys.readouterr().out
    assert "✗ none" in shown
    assert "✓ possible" in shown
    assert "worst" in shown


def test_a_file_that_comes_along_is_played_and_drawn_by_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "run.svg"
    assert main(["lab", "run", "cold-wide-128", "--controller", "none", "--plot", str(target)]) == 0
    assert target.stat().st_size > 5000
    assert "✓ none" in capsys.readouterr().out


def test_a_built_in_scenario_is_measured_over_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["lab", "run", "cold-start-in-overload", "--seeds", "2", "--controller", "none", "--json"]) == 0
    )
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["seed"] == "mean"
    assert "met" not in last


def test_a_recording_has_no_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "run", "calls.csv", "--seeds", "2"]) == 2
    assert "--seeds = 2: leave it out" in capsys.readouterr().err
