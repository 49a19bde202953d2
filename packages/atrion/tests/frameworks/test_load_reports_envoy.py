"""Envoy heeds the load reports of the pods behind it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from packages.atrion.tests.conformance.subject import eventually

POD = """
import asyncio, sys

import uvicorn

from atrion import Atrion
from atrion.integrations.asgi import AtrionMiddleware

port, seconds = int(sys.argv[1]), float(sys.argv[2])

async def app(scope, receive, send):
    if scope["type"] == "http":
        await asyncio.sleep(seconds)
        headers = [(b"content-length", b"2"), (b"x-pod", sys.argv[1].encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})

uvicorn.run(AtrionMiddleware(app, Atrion(), load_reports=True), port=port, log_level="critical")
"""


def free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        found = []
        for _ in range(number):
            free = stack.enter_context(socket.socket())
            free.bind(("127.0.0.1", 0))
            found.append(free.getsockname()[1])
    return found


@contextmanager
def running(*commands: list[str]) -> Iterator[None]:
    processes = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for command in commands]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def envoy(port: int, pods: list[int]) -> dict[str, Any]:
    """The settings that the documentation shows, for a listener in front of the pods."""
    page = Path(__file__).parents[4] / "docs" / "load-reports.md"
    text = page.read_text().partition("```yaml\n")[2].partition("```")[0]
    found: dict[str, Any] = yaml.safe_load(text)
    resources = found["static_resources"]
    resources["listeners"][0]["address"] = address(port)
    endpoints = [{"endpoint": {"address": address(pod)}} for pod in pods]
    resources["clusters"][0]["type"] = "STATIC"
    resources["clusters"][0]["load_assignment"]["endpoints"] = [{"lb_endpoints": endpoints}]
    policy = resources["clusters"][0]["load_balancing_policy"]["policies"][0]["typed_extension_config"]
    policy["typed_config"]["blackout_period"] = "1s"
    return found


def address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


@pytest.mark.slow
def test_envoy_sends_a_slow_pod_less(tmp_path: Path) -> None:
    front, quick, slow = free_ports(3)
    settings = tmp_path / "envoy.json"
    settings.write_text(json.dumps(envoy(front, [quick, slow])))
    pods = [[sys.executable, "-c", POD, str(quick), "0.02"], [sys.executable, "-c", POD, str(slow), "0.2"]]
    command = [str(Path(sys.executable).with_name("envoy")), "-c", str(settings), "--log-level", "off"]
    with (
        running(*pods, [*command, "--concurrency", "1", "--use-dynamic-base-id"]),
        httpx.Client(base_url=f"http://127.0.0.1:{front}", timeout=20.0, trust_env=False) as http,
        ThreadPoolExecutor(4) as callers,
    ):

        def pod(_: int) -> str:
            try:
                return http.get("/").headers.get("x-pod", "")
            except httpx.TransportError:
                return ""

        def shares() -> Counter[str]:
            return Counter(callers.map(pod, range(60)))

        eventually(lambda: shares().keys() == {str(quick), str(slow)}, 60.0)
        # Ten times as quick with the same capacity: ten times as much, once it is reported.
        eventually(lambda: (seen := shares())[str(quick)] > 3 * seen[str(slow)] > 0, 60.0)
