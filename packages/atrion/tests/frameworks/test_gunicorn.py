"""Flask under gunicorn: its queue stands before the threads of its workers, where no view is asked."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from packages.atrion.tests.integration.open_loop import Answer, clients, share, traffic

APP = """
import time

from flask import Flask

from atrion import Atrion
from atrion.integrations.flask import install

app = Flask(__name__)


@app.get("/")
def page():
    time.sleep(0.1)
    return "ok"


alone = app.wsgi_app
install(app, Atrion(), trust_tier_header=True)
"""
CAPACITY = 2 * 4 / 0.1
"""Requests that two workers of four threads can answer in a second."""


@contextmanager
def gunicorn(folder: Path, app: str) -> Iterator[int]:
    (folder / "shop.py").write_text(APP)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "-k", "gthread", "-w", "2", "--threads", "4"]
    options = ["-b", f"127.0.0.1:{port}", "--log-level", "critical", "--no-control-socket"]
    server = subprocess.Popen([*command, *options, f"shop:{app}"], cwd=folder)
    try:
        asyncio.run(_until_it_answers(port))
        yield port
    finally:
        server.terminate()
        try:
            server.wait(10.0)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


async def _until_it_answers(port: int) -> None:
    async with asyncio.timeout(30.0):
        while share(await traffic(port, 20.0, 0.3), b"200") < 1.0:  # noqa: ASYNC110  # another process
            await asyncio.sleep(0.05)


def served(answers: list[Answer]) -> int:
    return sum(status == b"200" for _, status in answers)


@pytest.mark.slow
@pytest.mark.alone
def test_what_cannot_be_answered_in_time_is_refused(tmp_path: Path) -> None:
    with gunicorn(tmp_path, "app") as port:
        calm = asyncio.run(traffic(port, 0.4 * CAPACITY, 3.0))
        asyncio.run(clients(port, 150, 4.0))  # until it knows
        crowd = asyncio.run(clients(port, 150, 5.0))
        critical = asyncio.run(traffic(port, 3.0 * CAPACITY, 5.0))
        after = asyncio.run(traffic(port, 0.4 * CAPACITY, 3.0))
    with gunicorn(tmp_path, "alone") as port:
        alone = asyncio.run(clients(port, 150, 5.0))
    assert share(calm, b"503") < 0.05
    assert share(crowd, b"503") > 0.3
    assert share(crowd, b"") < 0.1
    assert share(alone, b"") > 0.5
    assert served(crowd) > max(2 * served(alone), 0.3 * CAPACITY * 5.0)
    assert share(critical, b"200", "critical") > 0.8
    assert share(after, b"200") > 0.8
