"""A gRPC server with threads: calls wait for a thread before any handler is asked."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import grpc
import pytest

from atrion import Outcome, Tier
from atrion.integrations.grpc import AioServerInterceptor
from atrion.testing import force_shed
from packages.atrion.tests.conformance.subject import Recorder

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


def test_plain_functions_under_asyncio_are_guarded_in_their_threads() -> None:
    def get(request: bytes, context: Any) -> bytes:
        return b"ok"

    def missing(request: bytes, context: Any) -> None:
        context.abort(grpc.StatusCode.NOT_FOUND, "no")

    def coded(request: bytes, context: Any) -> bytes:
        context.set_code(grpc.StatusCode.INTERNAL)
        context.set_trailing_metadata((("x-cost", "3"),))
        return b""

    def fail(request: bytes, context: Any) -> None:
        raise RuntimeError("boom")

    def several(request: bytes, context: Any) -> Iterator[bytes]:
        yield b"1"
        yield b"2"

    unary = {"Get": get, "Missing": missing, "Coded": coded, "Fail": fail}
    handlers: dict[str, Any] = {
        name: grpc.unary_unary_rpc_method_handler(method) for name, method in unary.items()
    }
    handlers["Several"] = grpc.unary_stream_rpc_method_handler(several)
    engine = Recorder()

    async def call() -> dict[str, str]:
        guards = [AioServerInterceptor(engine, load_reports=True)]
        server = grpc.aio.server(migration_thread_pool=ThreadPoolExecutor(2), interceptors=guards)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.Items", handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        codes = {}
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            for name in unary:
                answer = channel.unary_unary(f"/shop.Items/{name}")(b"", timeout=20.0)
                codes[name] = (await answer.code()).name
                if name == "Coded":
                    assert dict(await answer.trailing_metadata())["x-cost"] == "3"
            stream = channel.unary_stream("/shop.Items/Several")(b"", timeout=20.0)
            assert [each async for each in stream] == [b"1", b"2"]
            with force_shed(Tier.CRITICAL, engine=engine):
                codes["shed"] = (await channel.unary_unary("/shop.Items/Get")(b"", timeout=20.0).code()).name
        await server.stop(1.0)
        return codes

    assert asyncio.run(call()) == {
        "Get": "OK",
        "Missing": "NOT_FOUND",
        "Coded": "INTERNAL",
        "Fail": "UNKNOWN",
        "shed": "RESOURCE_EXHAUSTED",
    }
    assert [call.outcome for call in engine.calls] == [
        Outcome.SUCCESS,
        Outcome.IGNORED,
        Outcome.FAILURE,
        Outcome.FAILURE,
        Outcome.SUCCESS,
        None,
    ]
    assert engine.in_flight() == 0
