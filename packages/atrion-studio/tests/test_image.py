"""The image of the Studio: what its Dockerfile installs exists, and what it starts and asks works here too."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest

from atrion import Atrion
from benchmarks.stores.redis_server import RedisServer, free_port
from studio_server import until

LINES = re.sub(
    r"\\\n\s*", "", (Path(__file__).parents[3] / "examples/studio/Dockerfile").read_text(encoding="utf-8")
).splitlines()
PORT = "8766"
TOKEN = "a-token-for-viewers"


def told(instruction: str) -> str:
    """The only line of the Dockerfile with an instruction."""
    (line,) = [line for line in LINES if line.startswith(f"{instruction} ")]
    return line.removeprefix(f"{instruction} ")


@contextmanager
def started(url: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The image's program with a store's URL, as ``docker run`` starts it, on another port."""
    program, *words = [word if word != PORT else str(port) for word in json.loads(told("ENTRYPOINT"))]
    command = [Path(sys.executable).with_name(program), *words, url]
    environment = os.environ | {"ATRION_STUDIO_TOKEN": TOKEN, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.mark.slow
def test_what_the_image_starts_serves_viewers_with_a_token_and_is_healthy() -> None:
    port = free_port()
    health = json.loads(told("HEALTHCHECK").partition(" CMD ")[2])
    ask = [sys.executable, *[word.replace(PORT, str(port)) for word in health[1:]]]

    def healthy() -> bool:
        return subprocess.run(ask, check=False, capture_output=True).returncode == 0

    assert health[0] == "python"
    assert not healthy()
    with RedisServer() as server, started(server.url, port) as process:
        until(lambda: process.poll() is not None or healthy())
        assert process.poll() is None, process.stderr.read() if process.stderr is not None else ""
        studio = f"http://127.0.0.1:{port}/studio"
        assert httpx.get(f"{studio}/api/snapshot").status_code == 401
        with Atrion(provider=server.url, node="pod-1") as engine, engine.flow("search"):
            headers = {"authorization": f"Bearer {TOKEN}"}
            until(lambda: "search" in httpx.get(f"{studio}/api/snapshot", headers=headers).json()["routes"])


def test_the_image_installs_this_version_as_nobody() -> None:
    assert told("ARG") == f"VERSION={version('atrion-studio')}"
    installed = next(line for line in LINES if "pip install" in line)
    assert re.findall(r'"([\w-]+)==\$\{VERSION\}"', installed) == ["atrion-studio", "atrion-cluster"]
    assert told("USER") == "65534:65534"
    assert told("EXPOSE") == PORT
    # The environment is copied between images of one interpreter, and to the path it was made at.
    images = [line.split()[1] for line in LINES if line.startswith("FROM ")]
    assert len(images) == 2
    assert len(set(images)) == 1
    assert told("COPY").split() == ["--from=build", "/opt/atrion", "/opt/atrion"]
    assert "python -m venv /opt/atrion" in installed
