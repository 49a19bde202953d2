"""A gRPC server with threads: calls wait for a thread before any handler is asked."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import grpc
import pytest

SERVER = """
import sys, time
from concurrent.futures import ThreadPoolExecutor

import grpc

from atrion import Atrion
from atrion.integrations.grpc import ServerInterceptor

def get(request, context):
    time.sleep(0.05)
    return b"ok"

guards = [ServerInterceptor(Atrion(), trust_tier_header=True)] if sys.argv[2] == "guarded" else []
server = grpc.server(ThreadPoolExecutor(4), interceptors=guards)
handlers = {"Get": grpc.unary_unary_rpc_method_handler(get)}
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("shop.Items", handlers)])
server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
server.start()
server.wait_for_termination()
"""
DEADLINE = 1.0
"""Seconds after which a caller gives up."""


@contextmanager
def served(kind: str) -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(port), kind])
    try:
        yield port
    finally:
        server.kill()
        server.wait()


async def clients(port: int, count: int, seconds: float) -> list[tuple[str, str]]:
    """So many callers, of whom every tenth is critical, call again as soon as they are answered, or after a while."""
    answers: list[tuple[str, str]] = []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        get = channel.unary_unary("/shop.Items/Get")
        with suppress(grpc.aio.AioRpcError):  # also a refusal shows that it is there
            await get(b"", timeout=30.0, wait_for_ready=True)
        until = time.monotonic() + seconds

        async def caller(tier: str) -> None:
            while time.monotonic() < until:
                try:
                    await get(b"", timeout=DEADLINE, metadata=(("x-atrion-tier", tier),))
                    answers.append((tier, "OK"))
                except grpc.aio.AioRpcError as error:
                    answers.append((tier, error.code().name))
                    await asyncio.sleep(0.2)

        await asyncio.gather(*(caller("bulk" if i % 10 else "critical") for i in range(count)))
    return answers


def share(answers: list[tuple[str, str]], code: str, tier: str = "") -> float:
    of_tier = [each for each in answers if not tier or each[0] == tier]
    return sum(each[1] == code for each in of_tier) / len(of_tier)


@pytest.mark.slow
@pytest.mark.alone
def test_what_cannot_be_answered_in_time_is_refused() -> None:
    with served("guarded") as port:
        calm = asyncio.run(clients(port, 2, 2.0))
        asyncio.run(clients(port, 150, 4.0))  # until it knows
        crowd = asyncio.run(clients(port, 150, 5.0))
    with served("alone") as port:
        alone = asyncio.run(clients(port, 150, 5.0))
    refused = "RESOURCE_EXHAUSTED"
    assert share(calm, refused) < 0.05
    assert share(crowd, refused) > 0.3
    assert share(crowd, "DEADLINE_EXCEEDED") < 0.3
    assert share(alone, "DEADLINE_EXCEEDED") > 0.5
    assert share(crowd, "OK", "critical") > 0.5
    assert sum(code == "OK" for _, code in crowd) > sum(code == "OK" for _, code in alone)
