"""The examples of servers run as their first lines say."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import grpc
import httpx
import pytest

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
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, path, str(port)], stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: answers(path, port), 60.0)
    finally:
        server.kill()
        server.wait()
