"""The tutorial is followed to the letter in an empty folder: its files, its commands, in this order."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
BLOCK = re.compile(
    r'^```(?:python title="(?P<file>[\w.]+)"|console)[^\n]*\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL
)
COUNTED = re.compile(r"^/(\w+) +(\d+) answered +(\d+) refused +(\d+) too late$", re.MULTILINE)

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(420)]


def wheel(name: str, folder: Path) -> Path:
    """The wheel of a package of the checkout, built from a copy of its folder as pip would build it."""
    source = folder / name
    ignored = shutil.ignore_patterns("build", "*.egg-info", "__pycache__", "*.so", "node_modules")
    shutil.copytree(ROOT / "packages" / name, source, ignore=ignored)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--skip-dependency-check"]
    done = subprocess.run(
        [*command, "--outdir", folder / "wheels", source],
        env=os.environ | {"ATRION_COMPILE": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = (folder / "wheels").glob(f"{name.replace('-', '_')}-[0-9]*.whl")
    return found


UV = Path(sys.executable).with_name("uv")


class Reader:
    """Does what the page says, in a folder, but with uv for pip, which is faster, and a free port."""

    def __init__(self, folder: Path, wheels: dict[str, Path], port: int) -> None:
        self.folder = folder
        self.wheels = wheels
        self.port = port
        self.server: subprocess.Popen[bytes] | None = None
        self.runs: list[dict[str, tuple[int, int, int]]] = []
        self.said = ""
        kept = {
            name: os.environ[name]
            for name in os.environ
            if not name.startswith(("ATRION_", "PYTHON", "VIRTUAL"))
        }
        self.environment = kept | {
            "UV_CONSTRAINT": str(ROOT / "constraints.txt"),
            "NO_PROXY": "*",
            "COLUMNS": "100",
        }

    def here(self, text: str) -> str:
        text = text.replace("127.0.0.1:8000", f"127.0.0.1:{self.port}")
        return re.sub(r"~/atrion/packages/([\w-]+)", lambda match: str(self.wheels[match[1]]), text)

    def save(self, name: str, text: str) -> None:
        (self.folder / name).write_text(self.here(text), encoding="utf-8")

    def shell(self, command: str) -> str:
        active = ". .venv/bin/activate && " if (self.folder / ".venv").exists() else ""
        command = re.sub("^python3 -m venv", f"{UV} venv", re.sub("^pip", f"{UV} pip", command))
        return f"{active}exec {self.here(command)}"

    def type(self, command: str) -> str:
        """What a command prints, which must succeed."""
        if command.startswith(". "):  # each command activates the environment
            return ""
        done = subprocess.run(
            ["bash", "-c", self.shell(command)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def serve(self, command: str) -> None:
        """Start the server, after Ctrl-C for the one before."""
        self.stop()
        with (self.folder / "log").open("ab") as log:
            self.server = subprocess.Popen(
                ["bash", "-c", f"{self.shell(command)} --port {self.port}"],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + 30.0
        while not self.answers():
            assert self.server.poll() is None, self.log()
            assert time.monotonic() < until, self.log()
            time.sleep(0.1)

    def answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/openapi.json", trust_env=False).is_success
        except httpx.TransportError:
            return False

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def stop(self) -> None:
        if self.server is not None:
            self.server.send_signal(signal.SIGINT)
            try:
                self.server.wait(10.0)
            except subprocess.TimeoutExpired:  # it waits for the requests of its queue
                self.server.kill()
                self.server.wait()

    def run(self, command: str) -> None:
        """Run one command of the page."""
        if command.startswith("uvicorn"):
            self.serve(command)
        elif command.startswith("atrion top"):  # "while a load runs"
            load = threading.Thread(target=self.type, args=("python load.py 100 6",))
            load.start()
            time.sleep(1.0)
            self.said = self.type(command)
            load.join()
        elif command.startswith("python load.py"):
            self.send(command)
        else:
            self.type(command)

    def send(self, command: str) -> None:
        """Send a load, and again where the machine was too busy to send it at its rate: that was another load."""
        seconds = float(command.rpartition(" ")[2])
        for _ in range(6):
            began = time.monotonic()
            said = self.type(command)
            if time.monotonic() - began < 1.3 * seconds + 3.0:
                break
        self.runs.append({path: (int(a), int(b), int(c)) for path, a, b, c in COUNTED.findall(said)})


@contextmanager
def reader(folder: Path, wheels: dict[str, Path]) -> Iterator[Reader]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = Reader(folder, wheels, port)
    try:
        yield found
    finally:
        found.stop()


def steps(page: str) -> Iterator[Callable[[Reader], None]]:
    """What a reader does, from top to bottom."""
    for block in BLOCK.finditer(page):
        name, text = block["file"], block["text"]
        if name:
            yield lambda reader, name=name, text=text: reader.save(name, text)
        else:
            for command in re.findall(r"^\$ (.+)$", text, re.MULTILINE):
                yield lambda reader, command=command: reader.run(command)


def test_who_follows_the_tutorial_sees_what_it_shows(tmp_path: Path) -> None:
    names = ("atrion", "atrion-studio")
    with ThreadPoolExecutor() as pool:
        wheels = dict(
            zip(names, pool.map(lambda name: wheel(name, tmp_path / "checkout"), names), strict=True)
        )
    folder = tmp_path / "tutorial"
    folder.mkdir()
    with reader(folder, wheels) as it:
        for step in steps(PAGE):
            step(it)
        calm, alone, still_calm, protected = it.runs
        assert calm == still_calm == {"checkout": (8, 0, 0), "search": (67, 0, 0)}
        assert alone["checkout"][0] < 0.5 * sum(alone["checkout"])
        assert alone["checkout"][1] == alone["search"][1] == 0
        assert protected["checkout"][0] > 0.5 * sum(protected["checkout"])
        assert protected["search"][1] > 0.1 * sum(protected["search"])
        assert "GET /search" in it.said
        assert "refusing" in it.said
        assert "GET /search begins shedding" in it.log()
        assert httpx.get(f"http://127.0.0.1:{it.port}/studio/", trust_env=False).status_code == 200
        assert httpx.post(f"http://127.0.0.1:{it.port}/checkout", trust_env=False).json() == {"paid": True}


def test_what_the_page_shows_has_the_form_of_what_is_printed() -> None:
    shown = COUNTED.findall(PAGE)
    assert [path for path, *_ in shown] == ["checkout", "search"] * 4
    assert [sum(map(int, counts)) for _, *counts in shown] == [8, 67, 80, 720, 8, 67, 80, 720]
