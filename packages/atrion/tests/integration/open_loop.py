"""Clients over HTTP for the tests: one request a connection, and a tenth of an open loop's are critical."""

from __future__ import annotations

import asyncio
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

DEADLINE = 1.0
"""Seconds after which a client leaves."""
Answer = tuple[str, bytes]
"""The tier, and the status or nothing."""


@contextmanager
def served(program: str, *arguments: str) -> Iterator[int]:
    """The port on which a program serves that is told it as its first argument."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-c", program, str(port), *arguments])
    try:
        asyncio.run(_until_it_answers(port))
        yield port
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
    """Random arrivals, so many a second."""
    rng, answers = random.Random(1), list[Answer]()
    began, due = time.monotonic(), 0.0
    async with asyncio.TaskGroup() as group:
        while (due := due + rng.expovariate(rate)) < seconds:
            await asyncio.sleep(began + due - time.monotonic())
            group.create_task(ask(port, "critical" if rng.random() < 0.1 else "bulk", answers))
    return answers


async def clients(port: int, count: int, seconds: float) -> list[Answer]:
    """So many that ask again as soon as they have an answer."""
    answers = list[Answer]()
    until = time.monotonic() + seconds

    async def client() -> None:
        while time.monotonic() < until:
            await ask(port, "bulk", answers)

    await asyncio.gather(*(client() for _ in range(count)))
    return answers


async def _until_it_answers(port: int) -> None:
    async with asyncio.timeout(30.0):
        answers: list[Answer] = []
        while not answers or answers[-1][1] != b"200":
            await ask(port, "critical", answers)
            await asyncio.sleep(0.05)


def share(answers: list[Answer], status: bytes, tier: str = "") -> float:
    """The share of the answers, or of a tier's, that have a status."""
    of_tier = [each for each in answers if not tier or each[0] == tier]
    return sum(each[1] == status for each in of_tier) / len(of_tier)
