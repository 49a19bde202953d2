"""The demo's open-loop load: Poisson arrivals that do not wait for answers, each with a deadline."""

from __future__ import annotations

import asyncio
import gc
import json
import random
import sys
import time
from collections import deque
from typing import Any

MIX = {"critical": 0.10, "high": 0.20, "normal": 0.50, "low": 0.15, "bulk": 0.05}
PATHS = ("/checkout", "/search")
DEADLINE = 0.5
"""Seconds after which an answer is worth nothing."""


class Tally:
    """What became of one tier's requests."""

    def __init__(self) -> None:
        self.sent: int = 0
        self.good: int = 0
        self.shed: int = 0
        self.late: int = 0

    def row(self) -> dict[str, int]:
        """The counts."""
        return {"sent": self.sent, "good": self.good, "shed": self.shed, "late": self.late}


class Connection(asyncio.Protocol):
    """One keep-alive HTTP/1.1 connection carrying one request at a time."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.answer: asyncio.Future[int] | None = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Resolve the answer with its status when the whole reply is here."""
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        if len(body) >= length:
            self._buffer = b""
            if self.answer is not None and not self.answer.done():
                self.answer.set_result(int(head[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever waits learns that no answer comes."""
        if self.answer is not None and not self.answer.done():
            self.answer.set_result(0)


class Load:
    """Drives one server through phases and tallies what a client sees."""

    def __init__(self, port: int, seed: int = 1) -> None:
        self._port = port
        self._random = random.Random(seed)
        self._idle: deque[Connection] = deque()  # in turn: the last to answer is often the one that rejected
        self._tasks: set[asyncio.Task[None]] = set()
        self.tiers: dict[str, Tally] = {}
        self.latencies: list[float] = []
        self.begin()

    def begin(self) -> None:
        """A new phase: late answers of the one before still count for that one."""
        self.tiers = {tier: Tally() for tier in MIX}
        self.latencies = []

    async def request(self, tier: str, path: str, tally: Tally, latencies: list[float]) -> None:
        """One request, given up at its deadline."""
        started = time.perf_counter()
        loop = asyncio.get_running_loop()
        connection: Connection | None = None
        status = -1
        try:
            async with asyncio.timeout(DEADLINE):
                while self._idle and connection is None:
                    connection = self._idle.popleft()
                    if connection.transport.is_closing():
                        connection = None
                if connection is None:
                    _, connection = await loop.create_connection(Connection, "127.0.0.1", self._port)
                connection.answer = loop.create_future()
                connection.transport.write(
                    f"GET {path} HTTP/1.1\r\nhost: demo\r\nx-atrion-tier: {tier}\r\n\r\n".encode()
                )
                status = await connection.answer
        except (TimeoutError, OSError):
            pass
        elapsed = time.perf_counter() - started
        if status > 0 and connection is not None:
            self._idle.append(connection)
        elif connection is not None and connection.transport is not None:
            connection.transport.abort()
        if status == 503:
            tally.shed += 1
            return
        latencies.append(elapsed)
        if status == 200 and elapsed <= DEADLINE:
            tally.good += 1
        else:
            tally.late += 1

    async def poisson(self, rate: float, seconds: float, report: Any) -> float:
        """Arrivals at ``rate`` per second for ``seconds``; returns how long it really took."""
        tiers, shares = list(MIX), list(MIX.values())
        began = due = time.perf_counter()
        shown = began
        while due < began + seconds:
            due += self._random.expovariate(rate)
            wait = due - time.perf_counter()
            if wait > 0.001:
                await asyncio.sleep(wait)
            tier = self._random.choices(tiers, shares)[0]
            tally = self.tiers[tier]
            tally.sent += 1
            task = asyncio.create_task(self.request(tier, self._random.choice(PATHS), tally, self.latencies))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            now = time.perf_counter()
            if now - shown >= 0.25:
                shown = now
                report(now - began)
            elif wait <= 0.001 and self._random.random() < 0.1:
                await asyncio.sleep(0)
        return time.perf_counter() - began

    async def closed(self, workers: int, seconds: float) -> float:
        """Answers per second with ``workers`` requests always under way: the capacity."""
        until = time.perf_counter() + seconds
        tally = Tally()

        async def work() -> None:
            while time.perf_counter() < until:
                await self.request("normal", PATHS[0], tally, [])

        await asyncio.gather(*(work() for _ in range(workers)))
        return tally.good / seconds

    async def drain(self) -> None:
        """Wait for what is under way."""
        while self._tasks:
            await asyncio.gather(*list(self._tasks))


def say(**row: Any) -> None:
    """One JSON line for the parent."""
    print(json.dumps(row), flush=True)


async def drive(port: int, capacity: float, overload: float, seconds: float) -> None:
    """Calm, overload, recovery; one line four times a second and one at the end of each phase."""
    load = Load(port)
    if capacity <= 0.0:
        say(capacity=await load.closed(20, 2.0))
        return
    calm, loaded = seconds * 0.25, seconds * 0.5
    for phase, factor, length in (
        ("calm", 0.5, calm),
        ("overload", overload, loaded),
        ("recovery", 0.5, calm),
    ):
        load.begin()
        tiers, latencies = load.tiers, load.latencies

        def report(at: float, phase: str = phase, tiers: dict[str, Tally] = tiers) -> None:
            say(phase=phase, at=at, tiers={tier: tally.row() for tier, tally in tiers.items()})

        took = await load.poisson(factor * capacity, length, report)
        await load.drain()
        say(
            phase=phase,
            end=True,
            seconds=took,
            offered=sum(t.sent for t in tiers.values()) / took,
            tiers={tier: tally.row() for tier, tally in tiers.items()},
            latencies=sorted(latencies),
        )


if __name__ == "__main__":
    gc.freeze()
    asyncio.run(drive(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])))
