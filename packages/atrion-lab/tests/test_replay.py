from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from atrion.cli import main
from atrion.errors import AtrionError, ConfigurationError
from atrion_lab import fifo
from atrion_lab.expectations import rows
from atrion_lab.metrics import Run
from atrion_lab.policies.catalog import controller
from atrion_lab.replay import BadTelemetry, read, recorded
from atrion_lab.scenario import simulate


def write(folder: Path, text: str) -> Path:
    path = folder / "calls.csv"
    path.write_text(text, encoding="utf-8")
    return path


def outage(folder: Path) -> Path:
    """20 calls a second for 30 seconds; from 10 to 20 s all of them fail."""
    lines = ["timestamp,latency,error,tier"]
    for index in range(600):
        at = index / 20.0
        failed = 10.0 <= at < 20.0
        lines.append(f"{1.7e9 + at:.3f},0.040,{int(failed)},{'critical' if index % 5 == 0 else 'normal'}")
    return write(folder, "\n".join(lines))


def played(path: Path, name: str = "atrion", **options: Any) -> Run:
    return simulate(recorded(read(path), "calls.csv", **options), controller(name), 1)


def queued(folder: Path, workers: int = 2, columns: str = "timestamp,latency,tier") -> Path:
    """40 calls a second of 100 ms, twice what two workers carry, as their latencies were in order of arrival."""
    free = [0.0] * workers
    lines = [columns]
    for index in range(400):
        at = index / 40.0
        begun = max(at, min(free))
        free[free.index(min(free))] = begun + 0.1
        lines.append(f"{at:.3f},{begun + 0.1 - at:.3f},{'critical' if index % 5 == 0 else 'bulk'}")
    return write(folder, "\n".join(lines))


def test_it_shows_what_atrion_would_have_spared(tmp_path: Path) -> None:
    run = played(outage(tmp_path))
    assert run.count("rejected", 0, 10) == 0
    assert run.count("rejected", 12, 20) > 0.5 * run.count("attempts", 12, 20)
    assert run.transitions() >= 1
    assert run.count("rejected", 28, 30) == 0


def test_the_order_of_lines_and_absent_columns_do_not_matter(tmp_path: Path) -> None:
    entries = read(write(tmp_path, "latency,timestamp\n0.2,12\n0.1,10.5\n"))
    assert [(entry.at, entry.latency, entry.service, entry.error, entry.tier) for entry in entries] == [
        (0.0, 0.1, None, False, 2),
        (1.5, 0.2, None, False, 2),
    ]


def test_as_recorded_every_call_takes_its_latency_whoever_else_is_refused(tmp_path: Path) -> None:
    path = queued(tmp_path)
    latencies = [entry.latency for entry in read(path)]
    for name in ("none", "aimd"):
        run = played(path, name)
        taken = dict(zip(run.arrived, run.latencies, strict=True))
        recording = {entry.at: entry.latency for entry in read(path)}
        assert all(latency == pytest.approx(recording[at]) for at, latency in taken.items())
    assert max(latency or 0.0 for latency in latencies) > 8.0


def test_the_wait_is_taken_out_of_latencies_and_comes_back_when_nobody_refuses(tmp_path: Path) -> None:
    path = queued(tmp_path)
    entries = read(path)
    scenario = recorded(entries, "calls.csv", workers=2)
    assert scenario.servers["api"].law.mean == pytest.approx(0.1, abs=0.001)
    run = simulate(scenario, controller("none"), 1)
    assert sorted(run.latencies) == pytest.approx(sorted(entry.latency or 0.0 for entry in entries), abs=0.01)


def test_with_workers_refusing_shortens_the_queue(tmp_path: Path) -> None:
    scenario = recorded(read(queued(tmp_path)), "calls.csv", workers=2, deadline=1.0)
    found = {name: row for name, _, row in rows(scenario, [controller("none"), controller("pid")], [1])}
    assert found["none"]["p99_seconds"] > 8.0
    assert found["pid"]["p99_seconds"] < 1.0
    assert found["pid"]["good_over_possible"] > 4.0 * found["none"]["good_over_possible"]


def test_a_column_of_service_needs_no_latency_and_one_number_needs_neither(tmp_path: Path) -> None:
    path = write(tmp_path, "timestamp,service\n0,0.5\n0.1,0.25\n")
    entries = read(path)
    run = simulate(recorded(entries, "calls.csv", workers=1), controller("none"), 1)
    assert list(run.latencies) == pytest.approx([0.5, 0.65])
    run = simulate(recorded(entries, "calls.csv", workers=1, service=1.0), controller("none"), 1)
    assert list(run.latencies) == pytest.approx([1.0, 1.9])
    run = simulate(recorded(entries, "calls.csv", workers=1, scale=0.1), controller("none"), 1)
    assert list(run.latencies) == pytest.approx([0.5, 0.25])


def test_recorded_failures_fail_whatever_is_admitted_beside_them(tmp_path: Path) -> None:
    run = played(outage(tmp_path), "none", workers=4)
    assert run.count("failed", 0.0, run.seconds) == 200
    assert run.count("good", 0.0, run.seconds) == 400
    scenario = recorded(read(outage(tmp_path)), "calls.csv", workers=4)
    ((_, _, row),) = rows(scenario, [controller("atrion")], [1])
    # Refused while all fails is no false alarm.
    assert row["idle_rejects"] < 0.02


def test_too_few_workers_are_told_with_how_many_it_takes(tmp_path: Path) -> None:
    lines = [f"{second},0.1\n" * 3 for second in range(20)]
    entries = read(write(tmp_path, "timestamp,latency\n" + "".join(lines)))
    with pytest.raises(ConfigurationError, match=r"40 of 60 calls ended before .* give --workers 3 or more"):
        recorded(entries, "calls.csv", workers=1)
    assert recorded(entries, "calls.csv", workers=3).servers["api"].law.mean == pytest.approx(0.1)


@pytest.mark.parametrize(
    "header, options, cure",
    [
        ("timestamp,service", {}, "--workers N"),
        ("timestamp,latency", {"service": 0.1}, "--workers N"),
        ("timestamp,latency", {"scale": 2.0}, "--workers N"),
        ("timestamp,user", {"workers": 1}, "--service SECONDS"),
    ],
)
def test_what_is_missing_is_told_with_its_cure(
    tmp_path: Path, header: str, options: dict[str, Any], cure: str
) -> None:
    entries = read(write(tmp_path, f"{header}\n1,0.1\n2,0.1\n"))
    with pytest.raises(ConfigurationError, match=cure):
        recorded(entries, "calls.csv", **options)


def test_calls_in_flight_are_counted_by_overlap() -> None:
    assert fifo.in_flight([0.0, 1.0, 2.0], [1.0, 1.0, 1.0]) == 1
    assert fifo.in_flight([0.0, 0.5, 0.9], [1.0, 1.0, 0.0]) == 3
    assert fifo.drained([0.0, 0.0, 0.0], [1.0, 2.0, 1.0], 2) == 2.0


def test_dates_are_understood(tmp_path: Path) -> None:
    entries = read(
        write(tmp_path, "timestamp,latency\n2026-01-09T12:00:00.5Z,0.1\n2026-01-09 12:00:02,0.1\n")
    )
    assert [entry.at for entry in entries] == [0.0, 1.5]


@pytest.mark.parametrize(
    "text, line, column",
    [
        ("latency,error\n1,0\n", 1, "timestamp"),
        ("timestamp,latency\n1,0.1\nsoon,0.1\n", 3, "timestamp"),
        ("timestamp,latency\n1,-0.1\n", 2, "latency"),
        ("timestamp,service\n1,0\n", 2, "service"),
        ("timestamp,latency\n1,nan\n", 2, "latency"),
        ("timestamp,latency,error\n1,0.1,perhaps\n", 2, "error"),
        ("timestamp,latency,tier\n1,0.1,vip\n", 2, "tier"),
        ("timestamp,latency\n", 2, "timestamp"),
        ("timestamp,latency\n1\n", 2, "all"),
        ("timestamp,latency\n1,2,3\n", 2, "all"),
        ("timestamp,latency\n1700000000000,2\n1700900000000,3\n", 2, "timestamp"),
    ],
)
def test_a_bad_line_is_named_with_its_column_and_cure(
    tmp_path: Path, text: str, line: int, column: str
) -> None:
    with pytest.raises(BadTelemetry, match=r"is not usable: \w+") as caught:
        read(write(tmp_path, text))
    assert (caught.value.line, caught.value.column) == (line, column)


def test_what_is_no_text_or_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AtrionError, match="cannot be read"):
        read(tmp_path / "nothing.csv")
    path = tmp_path / "binary.csv"
    path.write_bytes(b"timestamp,latency\n\xff\xfe\x00\n")
    with pytest.raises(AtrionError, match="no CSV text"):
        read(path)


def test_the_command_replays_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = outage(tmp_path)
    assert main(["lab", "run", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["summary"]["break_transitions"] >= 1
    assert main(["lab", "run", str(path), "--controller", "gradient2"]) == 0
    assert "with gradient2" in capsys.readouterr().out
    assert main(["lab", "run", str(tmp_path / "absent.csv")]) == 1
    assert "absent.csv cannot be read" in capsys.readouterr().err


def test_the_command_says_what_refusing_can_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(queued(tmp_path))
    assert main(["lab", "run", path]) == 0
    assert "cannot shorten" in capsys.readouterr().err
    assert main(["lab", "run", path, "--workers", "2", "--deadline", "1", "--controller", "none,atrion"]) == 0
    printed = capsys.readouterr()
    assert "cannot shorten" not in printed.err
    assert "none" in printed.out
    assert main(["lab", "run", path, "--seeds", "2"]) == 2
    assert "recording has no randomness" in capsys.readouterr().err
    assert main(["lab", "run", "steady-2x", "--workers", "2"]) == 2
    assert "--workers = 2" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["lab", "run", path, "--workers", "0"])
    assert "'0' is not usable" in capsys.readouterr().err
