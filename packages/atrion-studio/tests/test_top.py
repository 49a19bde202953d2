"""``atrion top``: the overview as text."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import Any

import pytest
from rich.console import Console
from starlette.applications import Starlette
from starlette.routing import Mount

from atrion import Atrion
from atrion.testing import force_open
from atrion_studio import AtrionStudio
from atrion_studio.overview import overview
from studio_server import serving


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "atrion", "top", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def shown(frame: dict[str, Any], width: int = 110, height: int | None = None) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(overview(frame, width, height))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture
def frame() -> dict[str, Any]:
    engine = Atrion(node="n1")
    engine.find("search")
    engine.find("payments")
    with force_open("payments", engine=engine):
        studio = AtrionStudio(engine)
        found = studio.read()
        studio.close()
    return found


def test_the_worst_route_comes_first_with_mark_word_and_sentence(frame: dict[str, Any]) -> None:
    text = shown(frame)
    assert "1 of 2 routes refuse requests" in text
    assert text.index("payments") < text.index("search")
    assert "✕ breaker open" in text
    assert "● flowing" in text
    assert "payments: The breaker is open" in text


def test_it_fits_a_small_terminal(frame: dict[str, Any]) -> None:
    for width in (60, 80):
        assert all(len(line) <= width for line in shown(frame, width).splitlines())
    assert "payments" in shown(frame, 80)
    assert {*"BLNHC"} <= {*shown(frame, 80).split("flowing")[1].split("\n")[0]}
    short = shown(frame, 110, 7)
    assert "and 1 more" in short
    frame["routes"].clear()
    assert "no route has been asked yet" in shown(frame)


def test_it_reads_a_studio_over_http() -> None:
    engine = Atrion()
    with engine.flow("search"):
        pass
    studio = AtrionStudio(engine, token="correct horse battery")
    with serving(Starlette(routes=[Mount("/studio", studio)])) as url:
        without = command(f"{url}/studio/")
        done = command(f"{url}/studio/", "--token", "correct horse battery")
        other = command(f"{url}/nothing/")
    studio.close()
    assert (without.returncode, "--token" in without.stderr) == (1, True)
    assert done.returncode == 0, done.stderr
    assert "search" in done.stdout
    assert other.returncode == 1
    assert "Traceback" not in without.stderr + other.stderr


def test_without_a_studio_it_says_what_to_do() -> None:
    done = command("http://127.0.0.1:9/studio/")
    assert done.returncode == 1
    assert "no Studio answers" in done.stderr
    assert "redis://" in done.stderr
