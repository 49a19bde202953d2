from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from atrion.cli import main
from atrion_lab.demo.play import server
from atrion_lab.demo.processes import Processes
from atrion_lab.demo.services import SHAPES, Shape

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "atrion"]
RATIOS = {"goodput_ratio", "critical_success"}


def children_of(parent: int) -> dict[int, str]:
    """The command lines of the living processes below one."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                status = (folder / "stat").read_text().rpartition(")")[2].split()
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if int(status[1]) == parent and status[0] != "Z":
                found[int(folder.name)] = line
    return found


def await_children(parent: int, wanted: str) -> dict[int, str]:
    until = time.monotonic() + 30.0
    while True:
        found = children_of(parent)
        if any(wanted in line for line in found.values()):
            return found
        assert time.monotonic() < until, found
        time.sleep(0.02)


def await_end(processes: dict[int, str]) -> None:
    until = time.monotonic() + 10.0
    while any(Path(f"/proc/{number}").exists() for number in processes):
        assert time.monotonic() < until, processes
        time.sleep(0.02)


def heeds_control_c() -> None:
    """As from a terminal: what runs in the background ignores it, and so does whatever it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def demo() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*COMMAND, "demo", "--seconds", "20"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heeds_control_c,  # noqa: PLW1509 - no thread of the tests holds a lock that it takes
    )
    with process:
        yield process
        process.kill()


@pytest.mark.slow
def test_a_short_demo_prints_one_json_object_and_nothing_else() -> None:
    done = subprocess.run(
        [*COMMAND, "demo", "--seconds", "8", "--json"], capture_output=True, text=True, timeout=50, check=True
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 1
    result = json.loads(lines[0])
    assert set(result) == {"capacity_rps", "offered_rps", "unprotected", "protected"}
    assert set(result["unprotected"]) == RATIOS | {"p99_seconds"}
    assert set(result["protected"]) == RATIOS | {"p99_seconds", "false_reject_ratio"}
    assert result["capacity_rps"] > 0.0
    assert result["offered_rps"] > 2.0 * result["capacity_rps"]
    for run in (result["unprotected"], result["protected"]):
        assert 0.0 <= run["critical_success"] <= 1.0
        assert 0.0 <= run["goodput_ratio"] <= 1.5  # the capacity was measured, and is a rate as well
        assert 0.0 < run["p99_seconds"] < 5.0
    assert 0.0 <= result["protected"]["false_reject_ratio"] <= 1.0
    assert result["protected"]["goodput_ratio"] > result["unprotected"]["goodput_ratio"]
    assert result["protected"]["critical_success"] > result["unprotected"]["critical_success"]


@pytest.mark.slow
def test_without_a_terminal_it_prints_plain_lines_and_a_table() -> None:
    done = subprocess.run(
        [*COMMAND, "demo", "--seconds", "8", "--overload", "2"],
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    assert "\x1b" not in done.stdout
    for text in ("requests a second", "unprotected", "with Atrion", "calm", "overload", "recovery", "Ω"):
        assert text in done.stdout
    assert " ".join(done.stdout.split()).endswith("of the critical requests.")


@pytest.mark.slow
def test_on_a_terminal_it_draws_a_picture_that_fits_and_leaves_the_table() -> None:
    import pty

    leader, follower = pty.openpty()
    size = {"LINES": "24", "COLUMNS": "80", "TERM": "xterm-256color"}
    with subprocess.Popen(
        [*COMMAND, "demo", "--seconds", "8"], stdout=follower, stderr=follower, env={**os.environ, **size}
    ) as process:
        os.close(follower)
        seen = b""
        try:
            while piece := os.read(leader, 65536):
                seen += piece
        except OSError:  # how Linux says that the other side has closed
            pass
        os.close(leader)
        assert process.wait(10) == 0
    text = seen.decode()
    for part in ("\x1b[", "critical", "GET /checkout", "█", "in service", "━"):
        assert part in text
    assert "answers in time / capacity" in text[text.rindex("\x1b[") :]  # the table is plain and comes last


@pytest.mark.slow
def test_control_c_ends_it_and_its_processes(demo: subprocess.Popen[str]) -> None:
    children = await_children(demo.pid, "demo.load")
    demo.send_signal(signal.SIGINT)
    _, err = demo.communicate(timeout=20)
    assert demo.returncode == 130
    assert err == "stopped\n"
    await_end(children)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_no_process_outlives_it(demo: subprocess.Popen[str], number: signal.Signals) -> None:
    children = await_children(demo.pid, "demo.load")
    demo.send_signal(number)
    demo.communicate(timeout=20)
    await_end(children)


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["demo.server", "demo.load"])
def test_a_process_that_dies_is_a_plain_sentence(demo: subprocess.Popen[str], victim: str) -> None:
    children = await_children(demo.pid, "demo.load")
    os.kill(next(number for number, line in children.items() if victim in line), signal.SIGKILL)
    _, err = demo.communicate(timeout=20)
    assert demo.returncode == 1
    assert "process ended early (killed by SIGKILL)" in err
    assert len(err.splitlines()) == 1
    await_end(children)


@pytest.mark.slow
def test_a_reader_that_leaves_ends_it_quietly(demo: subprocess.Popen[str]) -> None:
    assert demo.stdout is not None
    demo.stdout.readline()
    children = await_children(demo.pid, "demo.load")
    demo.stdout.close()
    assert demo.wait(20) == 141
    assert demo.stderr is not None
    assert demo.stderr.read() == ""
    await_end(children)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--seconds", "3"),
        ("--seconds", "nan"),
        ("--seconds", "1e9"),
        ("--overload", "0"),
        ("--overload", "inf"),
        ("--workers", "0"),
    ],
)
def test_arguments_that_make_no_sense_are_told_with_their_cure(
    arguments: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert arguments[0] in err
    assert " must be " in err


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_request_is_one_work_on_average(shape: Shape) -> None:
    assert sum(ask.share for ask in shape.asks) == pytest.approx(1.0)
    assert sum(ask.share * ask.work for ask in shape.asks) == pytest.approx(1.0)


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_is_served(name: str) -> None:
    with Processes() as processes, server(processes, name, 1, "memory:") as port:
        for path in {ask.path for ask in SHAPES[name].asks}:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10.0) as reply:
                assert reply.status == 200


def test_a_missing_extra_is_told_with_the_pip_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)  # as if it were not installed
    assert main(["demo"]) == 1
    assert 'pip install "atrion[demo]"' in capsys.readouterr().err


def test_an_unknown_shape_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--shape", "mars"])
    assert ended.value.code == 2
    assert "seven-routes" in capsys.readouterr().err


def test_a_plot_that_cannot_be_written_is_refused_before_anything_runs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["demo", "--plot", "demo.txt"]) == 2
    assert ".png or .svg" in capsys.readouterr().err
