"""Each starter of ``atrion init`` runs against its real framework, and guards what it says."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import celery
import grpc
import httpx
import pytest

from atrion.cli import main
from atrion.cli.starters import STARTERS
from benchmarks.stores.redis_server import RedisServer, free_port, valkey_binary
from packages.atrion.tests.conformance.subject import eventually

pytestmark = pytest.mark.slow
SERVERS = [name for name in STARTERS if STARTERS[name].run.endswith(" 8000")]
RPC = ("grpc", "grpc-aio")
DRIVER = """
import importlib, runpy, sys, threading
from atrion.testing import force_open

sys.path.insert(0, "")
importlib.import_module(sys.argv[1])  # which has the engine
del sys.argv[:2]

def shed():
    sys.stdin.readline()
    forced.__enter__()
    print("everything is shed")

forced = force_open("*")
threading.Thread(target=shed, daemon=True).start()
run = runpy.run_path if sys.argv[0].endswith(".py") else runpy.run_module
run(sys.argv[0], run_name="__main__")
"""
"""Runs a program or a module, and sheds everything in its process once it gets a line."""


def written(name: str, folder: Path) -> Path:
    """The example service of a starter, written by the command."""
    assert main(["init", str(folder), "--framework", name, "--write"]) == 0
    return folder / f"{name.replace('-', '_')}_service.py"


def guard_of(name: str) -> str:
    return f"atrion_{name.replace('-', '_')}"


class Running:
    """A process of a starter."""

    def __init__(self, folder: Path, *command: str, **environment: str) -> None:
        self.log = folder / "said.txt"
        env = os.environ | {"ATRION_ENFORCE": "1", "PYTHONUNBUFFERED": "1"} | environment
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                command, cwd=folder, env=env, stdin=subprocess.PIPE, stdout=out, stderr=out
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *rest: object) -> None:
        self.process.terminate()
        try:
            self.process.communicate(timeout=10.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()

    def shed(self) -> None:
        """Shed every call from now on."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        eventually(lambda: "everything is shed" in self.log.read_text())


def answer(name: str, port: int, path: str = "/items/7") -> str:
    """The status of an answer, or of the attempt."""
    try:
        if name in RPC:
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                return str(channel.unary_unary("/shop.Items/Get")(b"7", timeout=5.0))
        response = httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False, timeout=5.0)
    except grpc.RpcError as error:
        return str(error.code().name) if "sheds load" in error.details() else "no answer"
    except httpx.TransportError:
        return "no answer"
    return f"{response.status_code} {response.headers.get('retry-after', '')}".strip()


@pytest.mark.parametrize("name", SERVERS)
def test_the_service_of_a_starter_serves_and_is_guarded_but_for_its_health(name: str, tmp_path: Path) -> None:
    service, port = written(name, tmp_path), free_port()
    served, shed = ("b'item 7'", "UNAVAILABLE") if name in RPC else ("200", "503 ")
    command = (sys.executable, "-c", DRIVER, guard_of(name), service.name, str(port))
    with Running(tmp_path, *command) as running:
        eventually(lambda: answer(name, port) != "no answer", 30.0)
        assert answer(name, port) == served, running.log.read_text()
        running.shed()
        assert answer(name, port).startswith(shed), running.log.read_text()
        if name not in RPC:
            assert answer(name, port, "/health") == "200"


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with RedisServer(binary=valkey_binary()) as server:
        yield f"redis://127.0.0.1:{server.port}/0"


def send_celery(url: str) -> Callable[[], str]:
    app = celery.Celery("client", broker=url, backend=url, set_as_current=False)
    app.conf.task_ignore_result = False
    result = app.send_task("shop.receipt", (7,))
    return lambda: f"{result.state} {result.result}"


def send_arq(url: str) -> Callable[[], str]:
    from arq import create_pool
    from arq.connections import RedisSettings
    from arq.jobs import Job

    async def send() -> str:
        pool = await create_pool(RedisSettings.from_dsn(url))
        job = await pool.enqueue_job("receipt", 7)
        await pool.aclose()
        assert job is not None
        return job.job_id

    name = asyncio.run(send())

    async def look() -> str:
        pool = await create_pool(RedisSettings.from_dsn(url))
        info = await Job(name, pool).result_info()
        await pool.aclose()
        return str(info and info.result)

    return lambda: asyncio.run(look())


def send_dramatiq(url: str) -> None:
    import dramatiq
    from dramatiq.brokers.redis import RedisBroker

    broker = RedisBroker(url=url)
    broker.declare_queue("default")
    broker.enqueue(dramatiq.Message("default", "receipt", (7,), {}, {}))
    broker.close()


def test_the_tasks_of_celery_run_and_come_back_when_shed(tmp_path: Path, redis_url: str) -> None:
    module = written("celery", tmp_path).stem
    words = (
        "--app",
        module,
        "worker",
        "--pool",
        "solo",
        "--loglevel",
        "INFO",
        "--without-mingle",
        "--without-gossip",
    )
    command = (sys.executable, "-c", DRIVER, guard_of("celery"), "celery", *words)
    with Running(tmp_path, *command, REDIS_URL=redis_url) as running:
        first = send_celery(redis_url)
        eventually(lambda: first() == "SUCCESS receipt of 7", 30.0)
        running.shed()
        second = send_celery(redis_url)
        eventually(lambda: second().startswith("RETRY"), 30.0)


def test_the_jobs_of_arq_run(tmp_path: Path, redis_url: str) -> None:
    module = written("arq", tmp_path).stem
    with Running(tmp_path, sys.executable, "-m", "arq", f"{module}.WorkerSettings", REDIS_URL=redis_url):
        result = send_arq(redis_url)
        eventually(lambda: result() == "receipt of 7", 30.0)


def test_the_actors_of_dramatiq_run(tmp_path: Path, redis_url: str) -> None:
    module = written("dramatiq", tmp_path).stem
    words = ("-m", "dramatiq", module, "--processes", "1", "--threads", "1")
    with Running(tmp_path, sys.executable, *words, REDIS_URL=redis_url) as running:
        send_dramatiq(redis_url)
        eventually(lambda: "receipt of 7" in running.log.read_text(), 30.0)


def test_the_tasks_of_taskiq_run(tmp_path: Path) -> None:
    service = written("taskiq", tmp_path)
    with Running(tmp_path, sys.executable, service.name) as running:
        eventually(lambda: "receipt of 7" in running.log.read_text(), 30.0)
