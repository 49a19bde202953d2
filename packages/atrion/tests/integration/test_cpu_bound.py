"""An async handler that computes: its queue stands in the event loop, before any guard."""

from __future__ import annotations

import asyncio
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

SERVER = """
import sys, time
import uvicorn
from atrion import Atrion
from atrion.integrations.asgi import AtrionMiddleware

async def app(scope, receive, send):
    end = time.thread_time() + 0.005
    while time.thread_time() < end:
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})

guarded = AtrionMiddleware(app, Atrion(), trust_tier_header=True)
uvicorn.run(guarded, port=int(sys.argv[1]), log_level="critical", lifespan="off", backlog=4096)
"""
DEADLINE = 1.0
Answer = tuple[str, bytes]


@pytest.fixture
def port() -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(number)])
    try:
        yield number
    finally:
        server.kill()
        server.wait()


async def ask(port: int, tier: str, answers: list[Answer]) -> None:
    status = b""
    try:
        async with asyncio.timeout(DEADLINE):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                head = f"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-atrion-tier: {tier}\r\n\r\n"
                writer.write(head.encode())
                status = (await reader.readline())[9:12]
            finally:
                writer.close()
    except (OSError, TimeoutError):
        pass
    answers.append((tier, status))


async def traffic(port: int, rate: float, seconds: float) -> list[Answer]:
    rng, answers = random.Random(1), list[Answer]()
    began, due = time.monotonic(), 0.0
    async with asyncio.TaskGroup() as group:
        while (due := due + rng.expovariate(rate)) < seconds:
            await asyncio.sleep(began + due - time.monotonic())
            group.create_task(ask(port, "critical" if rng.random() < 0.1 else "bulk", answers))
    return answers


async def until_it_answers(port: int) -> None:
    async with asyncio.timeout(30.0):
        answers: list[Answer] = []
        while not answers or answers[-1][1] != b"200":
            await ask(port, "critical", answers)
            await asyncio.sleep(0.05)


@pytest.mark.slow
def test_a_process_that_computes_all_the_time_serves_what_is_critical(port: int) -> None:
    async def play() -> list[list[Answer]]:
        await until_it_answers(port)
        return [
            await traffic(port, rate, seconds) for rate, seconds in ((50.0, 3.0), (500.0, 8.0), (50.0, 3.0))
        ]

    calm, over, after = asyncio.run(play())
    assert [status for _, status in calm].count(b"503") == 0
    assert [status for _, status in over].count(b"503") > 0.2 * len(over)
    critical = [status for tier, status in over if tier == "critical"]
    assert critical.count(b"200") > 0.6 * len(critical)
    assert [status for _, status in after].count(b"503") <= 0.1 * len(after)
