"""A Studio beside the demo: a process that watches the workers' store, and ends with the demo."""

from __future__ import annotations

import json
import subprocess
import sys
from urllib.error import URLError
from urllib.request import urlopen

from atrion import Atrion
from atrion_lab.demo.studio import studio_beside
from studio_server import until


def test_it_watches_the_workers_and_ends_with_the_demo() -> None:
    said: list[str] = []
    with studio_beside(said.append) as store, Atrion(provider=store, node="worker") as engine:
        with engine.flow("search"):
            pass
        address = said[0].rpartition(" ")[2]

        def routes() -> dict[str, object]:
            with urlopen(f"{address}api/snapshot", timeout=30) as answer:
                found: dict[str, object] = json.load(answer)["routes"]
            return found

        until(lambda: "search" in routes())
    try:
        urlopen(address, timeout=5)
        raise AssertionError("it still answers")
    except URLError:
        pass


def test_it_ends_with_its_parent_however_that_one_ends() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "atrion", "studio", "--demo", "--scene", "calm", "--port", "0", "--tied"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert "http://127.0.0.1:" in process.stdout.readline()
    process.stdin.close()
    assert process.wait(30) is not None
    process.stdout.close()
