"""Handlers that compute: their queue stands in the event loop, and before it, where no guard sees it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
import trio

from atrion import Atrion
from atrion.integrations.asgi import AtrionMiddleware
from packages.atrion.tests.integration.open_loop import clients, served, share, traffic

SERVER = """
import asyncio, sys, time
import uvicorn
from atrion import Atrion
from atrion.integrations.asgi import AtrionMiddleware

def compute():
    end = time.thread_time() + 0.005
    while time.thread_time() < end:
        pass

async def app(scope, receive, send):
    if sys.argv[2] == "loop":
        compute()
    else:
        await asyncio.to_thread(compute)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})

guarded = AtrionMiddleware(app, Atrion(), trust_tier_header=True)
uvicorn.run(guarded, port=int(sys.argv[1]), loop=sys.argv[3], log_level="critical", lifespan="off", backlog=4096)
"""


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("where, loop", [("loop", "asyncio"), ("loop", "uvloop"), ("threads", "asyncio")])
def test_a_process_that_computes_all_the_time_serves_what_is_critical(where: str, loop: str) -> None:
    with served(SERVER, where, loop) as port:
        calm = asyncio.run(traffic(port, 50.0, 2.0))
        over = asyncio.run(traffic(port, 500.0, 8.0))
        after = asyncio.run(traffic(port, 50.0, 3.0))
    assert share(calm, b"503") == 0.0
    assert share(over, b"503") > 0.2
    assert share(over, b"200", "critical") > 0.6
    assert share(after, b"503") <= 0.1


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("where", ["loop", "threads"])
def test_clients_that_wait_for_their_answers_are_never_refused(where: str, count: int) -> None:
    with served(SERVER, where, "auto") as port:
        answers = asyncio.run(clients(port, count, 2.0))
    assert len(answers) > 20
    assert share(answers, b"503") == 0.0


@pytest.mark.slow
def test_a_trio_run_has_a_queue_too() -> None:
    statuses: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        end = time.thread_time() + 0.005
        while time.thread_time() < end:
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    guarded = AtrionMiddleware(app, Atrion())

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        if "status" in message:
            statuses.append(message["status"])

    async def play(rate: float, seconds: float) -> list[int]:
        statuses.clear()
        sent, began = 0, time.monotonic()
        async with trio.open_nursery() as nursery:
            while (passed := time.monotonic() - began) < seconds:
                while sent < passed * rate:
                    sent += 1
                    nursery.start_soon(
                        guarded, {"type": "http", "method": "GET", "path": "/", "headers": []}, receive, send
                    )
                await trio.sleep(0.001)
        return [*statuses]

    async def both() -> tuple[list[int], list[int]]:
        return await play(50.0, 2.0), await play(600.0, 4.0)

    calm, over = trio.run(both)
    assert set(calm) == {200}
    assert over.count(503) > 0.2 * len(over)
