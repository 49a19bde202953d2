"""The examples of servers run as their first lines say."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import httpx
import pytest

from benchmarks.stores.redis_server import RedisServer, free_port, valkey_binary
from packages.atrion.tests.conformance.http_clients import http_upstream
from packages.atrion.tests.conformance.subject import eventually

FOLDER = Path(__file__).parents[4] / "examples/servers"
EXAMPLES = sorted(FOLDER.glob("*.py"))


def answers(path: Path, port: int) -> bool:
    try:
        if path.stem.startswith("grpc"):
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                return channel.unary_unary("/shop.Items/Get")(b"7", timeout=5.0) == b"item 7"  # type: ignore[no-any-return]
        answer = httpx.get(f"http://127.0.0.1:{port}/items/7", trust_env=False, timeout=5.0)
        return answer.json() == {"item": 7}
    except (httpx.TransportError, grpc.RpcError):  # it is about to begin
        return False


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_serves(path: Path) -> None:
    assert f"python examples/servers/{path.name} 8000" in path.read_text()
    port = free_port()
    server = subprocess.Popen([sys.executable, path, str(port)], stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: answers(path, port), 60.0)
    finally:
        server.kill()
        server.wait()


ROOT = Path(__file__).parents[4]


def run(path: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, ROOT / path, *arguments],
        capture_output=True,
        text=True,
        timeout=60.0,
        check=False,
        env={**os.environ, "NO_PROXY": "*"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_example_of_http_clients_calls_by_all_of_them() -> None:
    with http_upstream() as upstream:
        said = run("examples/clients/http_clients.py", f"http://127.0.0.1:{upstream.port}/")
    for client in ("httpx", "requests", "urllib3", "httpx, async", "aiohttp"):
        assert f"{client} 200\n" in said
    assert "not sent: 127.0.0.1:" in said


@pytest.mark.slow
def test_the_example_of_stores_reads_from_them() -> None:
    with RedisServer(binary=valkey_binary()) as server:
        said = run("examples/clients/stores.py", f"redis://127.0.0.1:{server.port}/0")
    assert "database 7\n" in said
    assert "cache b'7'\n" in said


@pytest.mark.slow
def test_the_example_of_models_falls_back_to_the_other_one() -> None:
    said = run("examples/llm/fallback.py")
    answered = ast.literal_eval(said.splitlines()[0])
    assert answered["large"] + answered["small"] == 100
    assert answered["large"] < 60  # half a minute's worth, and what came back meanwhile
    assert "/large: " in said


@pytest.mark.slow
def test_the_example_of_a_gateway_answers_or_says_when_to_retry() -> None:
    port = free_port()
    command = [sys.executable, FOLDER.parent / "llm/gateway.py", str(port)]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    # The server closes an idle connection after five seconds, and the client must have given it up before.
    limits = httpx.Limits(max_connections=100, keepalive_expiry=1.0)
    with httpx.Client(
        base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60.0, limits=limits
    ) as client:

        def ask(tier: str) -> httpx.Response:
            question = {"prompt": "What is an ohm?", "tokens": 20}
            return client.post("/ask", json=question, headers={"x-atrion-tier": tier})

        def answers() -> bool:
            try:
                return ask("normal").json() == {"answer": "ohm " * 20}
            except httpx.TransportError:  # it is about to begin
                return False

        try:
            eventually(answers, 60.0)
            with ThreadPoolExecutor(60) as callers:
                replies = list(callers.map(ask, ["critical", *["normal"] * 9] * 60))
        finally:
            server.kill()
            server.wait()
    assert {reply.status_code for reply in replies} <= {200, 503}
    assert all("retry-after" in reply.headers for reply in replies if reply.status_code == 503)
    assert sum(reply.status_code == 200 for reply in replies) > 60


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((ROOT / "examples/tasks").glob("*.py")), ids=lambda path: path.stem)
def test_the_examples_of_tasks_load(path: Path) -> None:
    said = run(str(path.relative_to(ROOT)))
    assert said == ("receipt of 7\n" if path.stem == "taskiq_shop" else "")
