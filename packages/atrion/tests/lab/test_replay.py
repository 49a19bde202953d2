from __future__ import annotations

import json
from pathlib import Path

import pytest

from atrion.cli import main
from atrion.errors import AtrionError
from atrion.lab.replay import BadTelemetry, read, replay


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


def test_it_shows_what_atrion_would_have_spared(tmp_path: Path) -> None:
    run = replay(read(outage(tmp_path)), "calls.csv")
    assert run.count("rejected", 0, 10) == 0
    assert run.count("rejected", 12, 20) > 0.5 * run.count("attempts", 12, 20)
    assert run.transitions() >= 1
    assert run.count("rejected", 28, 30) == 0


def test_the_order_of_lines_and_absent_columns_do_not_matter(tmp_path: Path) -> None:
    entries = read(write(tmp_path, "latency,timestamp\n0.2,12\n0.1,10.5\n"))
    assert [(entry.at, entry.latency, entry.error, entry.tier) for entry in entries] == [
        (0.0, 0.1, False, 2),
        (1.5, 0.2, False, 2),
    ]


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
