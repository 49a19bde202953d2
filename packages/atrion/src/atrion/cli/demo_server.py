"""The demo's service: HTTP handlers that share a bounded pool, with or without Atrion in front."""

from __future__ import annotations

import asyncio
import math
import random
import socket
import sys
import time
from typing import Any

from atrion.cli.demo_crew import event_loop, say, tied_to_parent
from atrion.engine import Atrion
from atrion.integrations.asgi import AtrionMiddleware

SLOTS = 40
"""Requests the pool works on at once."""
SERVICE_SECONDS = 0.1
"""Mean time a request holds a slot; lognormal with this spread."""
SPREAD = 0.4
BACKLOG = 4096
"""Connections that wait to be taken, at most."""
REPORT = 0.25
"""Seconds between lines for the parent."""
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"2")]


class Service:
    """A pool of slots behind every path; abandoned requests are worked on all the same."""

    def __init__(self, slots: int = SLOTS) -> None:
        self._pool = asyncio.Semaphore(slots)
        self._random = random.Random(7)
        self._inside = 0
        self.atrion: Atrion | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        work = self._random.lognormvariate(math.log(SERVICE_SECONDS) - SPREAD**2 / 2.0, SPREAD)
        self._inside += 1
        try:
            async with self._pool:
                await asyncio.sleep(work)
        finally:
            self._inside -= 1
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send({"type": "http.response.body", "body": b"{}"})

    def state(self) -> dict[str, Any]:
        """What the parent shows: requests inside, working or waiting, and every route's ohms and calls."""
        routes = {} if self.atrion is None else self.atrion.snapshot()
        return {
            "inside": self._inside,
            "routes": {name: [route.resistance, route.in_flight] for name, route in sorted(routes.items())},
        }

    async def report(self) -> None:
        """Tell the parent for ever; ``lag`` is how late this loop is, in seconds, ``cpu`` a share of one core."""
        then, cpu = time.perf_counter(), time.process_time()
        while True:
            await asyncio.sleep(REPORT)
            now, used = time.perf_counter(), time.process_time()
            say(**self.state(), lag=now - then - REPORT, cpu=(used - cpu) / (now - then))
            then, cpu = now, used


def slots_of(worker: int, workers: int) -> int:
    """This worker's part of the pool: one host works on as much, however many processes it has."""
    return SLOTS // workers + (worker < SLOTS % workers)


class FairSocket(socket.socket):
    """A listening socket of which a loop takes one connection at a time, so that several workers get equal shares.

    asyncio takes as many at once as the backlog it asks for, and would leave nothing for the others.
    """

    def listen(self, backlog: int = BACKLOG, /) -> None:
        """Listen, with a backlog of our own."""
        super().listen(max(backlog, BACKLOG))


async def serve(listener: socket.socket, service: Service, app: Any) -> None:
    """Serve on a socket that others may serve on as well; tells when it is listened on."""
    import uvicorn  # an optional extra; the parent has checked that it is there

    backlog = 1 if isinstance(listener, FairSocket) else BACKLOG
    config = uvicorn.Config(
        app, log_level="critical", access_log=False, lifespan="off", backlog=backlog, timeout_keep_alive=600
    )
    server = uvicorn.Server(config)
    if service.atrion is not None:
        await service.atrion.connect()
    reporting = asyncio.create_task(service.report())
    say(ready=True)  # who connects from now on waits in the socket's backlog until it is taken
    await server.serve(sockets=[listener])
    reporting.cancel()


def main() -> None:
    """One worker: its number, how many there are, the socket's descriptor, and the provider's URL to be protected."""
    tied_to_parent()
    worker, workers, descriptor = (int(number) for number in sys.argv[1:4])
    service = Service(slots_of(worker, workers))
    app: Any = service
    if len(sys.argv) > 4:
        service.atrion = Atrion(provider=sys.argv[4])
        app = AtrionMiddleware(service, service.atrion, trust_tier_header=True)
    if (
        workers > 1
    ):  # uvloop takes as many connections at once as there are, and would leave none for the others
        asyncio.run(serve(FairSocket(fileno=descriptor), service, app))
        return
    with event_loop() as runner:
        runner.run(serve(socket.socket(fileno=descriptor), service, app))


if __name__ == "__main__":
    main()
