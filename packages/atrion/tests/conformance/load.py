"""The demo's load on every guarded server: its capacity, a calm at half of it, then four times as much."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from typing import Any, Self

import grpc

from atrion import Atrion
from atrion_lab.demo.load import DEADLINE, SETTLED, Load, Phase, Request
from atrion_lab.demo.processes import event_loop, say
from atrion_lab.demo.services import MIX, SHAPES, Ask, Shape
from packages.atrion.tests.conformance.django_services import DJANGO
from packages.atrion.tests.conformance.grpc_services import GRPC, METHODS, Grpc
from packages.atrion.tests.conformance.http_services import HTTP
from packages.atrion.tests.conformance.incoming import Incoming
from packages.atrion.tests.conformance.subject import Slots

__all__ = ["SERVERS", "Loaded", "loaded", "table"]

SERVERS: tuple[Incoming, ...] = (*HTTP, *DJANGO, *GRPC)
SLOTS = 8
HOLD = 0.1
"""Mean seconds for which a request holds a slot."""
CROWD = 3 * SLOTS
"""Requests always under way while the capacity is measured."""
CALM, OVERLOAD = 0.5, 4.0
FIRST = 1.0
"""Seconds of calm that are counted apart: the guard has just begun, and knows nothing of the route."""
GOODPUT, CRITICAL = 0.95, 0.99
CHANNELS = 8
"""Connections of the load over gRPC."""


class GrpcLoad(Load):
    """The same load over gRPC."""

    def __init__(self, port: int, shape: Shape, seed: int) -> None:
        super().__init__(port, shape, seed)
        self._turn = 0
        # A subchannel of the process is shared by channels with the same options.
        self._channels = [
            grpc.aio.insecure_channel(f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)])
            for _ in range(CHANNELS)
        ]
        self._running: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        await asyncio.gather(*(channel.channel_ready() for channel in self._channels))

    async def close(self) -> None:
        await super().close()
        await asyncio.gather(*self._running)
        for channel in self._channels:
            await channel.close()

    def ask(self, request: Request, ask: Ask) -> None:
        self._turn += 1
        task = asyncio.create_task(self._ask(request, ask, self._channels[self._turn % CHANNELS]))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _ask(self, request: Request, ask: Ask, channel: grpc.aio.Channel) -> None:
        try:
            await channel.unary_unary(ask.path)(
                b"", timeout=DEADLINE, metadata=(("x-atrion-tier", ask.tier),)
            )
        except grpc.aio.AioRpcError as error:
            shed = "grpc-retry-pushback-ms" in dict(error.trailing_metadata() or ())
            request.heard(503 if shed else 0)
        else:
            request.heard(200)


@dataclass(frozen=True)
class Loaded:
    """What the clients of one server saw: shares, the p99 in seconds, and shares of a core in the overload."""

    capacity: float
    goodput: float
    critical: float
    refused_at_first: float
    refused: float
    p99: float
    sent: float
    serving: float
    sending: float

    def kept(self) -> bool:
        """Whether all bounds are met."""
        return (
            self.goodput >= GOODPUT
            and self.critical >= CRITICAL
            and self.refused_at_first == self.refused == 0.0
        )

    def cells(self) -> list[str]:
        return [
            f"{self.capacity:.0f}/s",
            f"{self.goodput:.1%}",
            f"{self.critical:.1%}",
            f"{self.refused_at_first:.2%}",
            f"{self.refused:.2%}",
            f"{self.p99:.2f} s",
            f"{self.sent:.1f}",
            f"{self.serving:.0%}",
            f"{self.sending:.0%}",
            "✓" if self.kept() else "✗",
        ]


COLUMNS = (
    "integration",
    "capacity",
    "goodput / capacity",
    "critical answered",
    "refused in calm: first second",
    "later",
    "p99 of admitted",
    "sent / capacity",
    "server, of a core",
    "load, of a core",
    "bounds met",
)


class Server:
    """A service in a process of its own, guarded or in shadow mode."""

    def __init__(self, service: Incoming, mode: str) -> None:
        command = [sys.executable, "-m", "packages.atrion.tests.conformance.load", service.title, mode]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self._told()["port"])

    def _told(self) -> dict[str, float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the server ended early"
        told: dict[str, float] = json.loads(line)
        return told

    def cpu(self) -> float:
        """Seconds of CPU that it has used."""
        print(file=self._process.stdin, flush=True)
        return self._told()["cpu"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.communicate()


def _refused(phase: Phase) -> float:
    tallies = phase.tiers.values()
    return sum(tally.shed for tally in tallies) / max(sum(tally.sent for tally in tallies), 1)


async def _drive(service: Incoming, server: Server, capacity: float, seconds: float) -> float | Loaded:
    """Measure the capacity if it is 0, else drive both phases."""
    over_grpc = isinstance(service, Grpc)
    path = f"/{METHODS['hold']}" if over_grpc else "/hold"
    asks = tuple(Ask(path, tier, share) for tier, share in MIX.items())
    shape = replace(SHAPES["pooled"], asks=asks, slots=SLOTS, crowd=CROWD)
    load = (GrpcLoad if over_grpc else Load)(server.port, shape, 1)
    await load.open()
    if not capacity:
        found = await load.closed(seconds)
        await load.close()
        return found
    first = Phase("calm", CALM * capacity, FIRST)
    await load.poisson(first)
    calm = Phase("calm", CALM * capacity, seconds)
    await load.poisson(calm)
    overload, before = Phase("overload", OVERLOAD * capacity, seconds), server.cpu()
    took = await load.poisson(overload)
    sending, serving = overload.row()["cpu"], (server.cpu() - before) / took
    await asyncio.sleep(2.0 * SETTLED)  # until all requests have ended
    await load.close()

    tiers, latencies = overload.tiers.values(), sorted(overload.latencies)
    return Loaded(
        capacity=capacity,
        goodput=sum(tally.good for tally in tiers) / took / capacity,
        critical=overload.tiers["critical"].good / max(overload.tiers["critical"].sent, 1),
        refused_at_first=_refused(first),
        refused=_refused(calm),
        p99=latencies[int(0.99 * (len(latencies) - 1))] if latencies else 0.0,
        sent=sum(tally.sent for tally in tiers) / took / capacity,
        serving=serving,
        sending=sending,
    )


def loaded(service: Incoming, seconds: float, measuring: float = 3.0) -> Loaded:
    """Measure a server's capacity in shadow mode, then drive it for ``seconds`` in calm and in overload."""
    found: float | Loaded = 0.0
    for mode, lasts in (("shadow", measuring), ("guarded", seconds)):
        with Server(service, mode) as server, redirect_stdout(io.StringIO()), event_loop() as runner:
            found = runner.run(_drive(service, server, float(found), lasts))  # type: ignore[arg-type]
    assert isinstance(found, Loaded)
    return found


def table(services: Iterable[Incoming], seconds: float = 10.0) -> Iterator[str]:
    """What the load made of the servers, line by line."""
    yield "| " + " | ".join(COLUMNS) + " |"
    yield "|---" * len(COLUMNS) + "|"
    for service in services:
        yield "| " + " | ".join([service.title, *loaded(service, seconds).cells()]) + " |"


def main() -> None:
    """The server's process: tells its port, then its CPU time at every line it reads, and ends with its parent."""
    title, mode = sys.argv[1:]
    service = next(each for each in SERVERS if each.title == title)
    logging.disable(logging.CRITICAL)
    engine: Any = Atrion(enforce=mode == "guarded")
    with service.serve(engine, Slots(SLOTS, HOLD), {"trust_tier_header": True}) as client:
        say(port=client.port)  # type: ignore[attr-defined]  # both clients have one
        for _ in sys.stdin:
            say(cpu=time.process_time())
        os._exit(0)  # not after the requests that are left


if __name__ == "__main__":
    main()
