"""The demo's service: HTTP handlers that share a bounded pool, with or without Atrion in front."""

from __future__ import annotations

import asyncio
import json
import math
import random
import socket
import sys
from typing import Any

from atrion.engine import Atrion
from atrion.integrations.asgi import AtrionMiddleware

SLOTS = 10
"""Requests the pool works on at once."""
SERVICE_SECONDS = 0.04
"""Mean time a request holds a slot; lognormal with this spread."""
SPREAD = 0.4
BACKLOG = 4096
"""Connections that wait to be taken, at most."""


class Service:
    """A pool of slots behind every path; abandoned requests are worked on all the same."""

    def __init__(self, slots: int = SLOTS) -> None:
        self._pool = asyncio.Semaphore(slots)
        self._random = random.Random(7)
        self.atrion: Atrion | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        if scope["path"] == "/-/state":
            body = json.dumps(self.state()).encode()
        else:
            body = b"{}"
            service = self._random.lognormvariate(math.log(SERVICE_SECONDS) - SPREAD**2 / 2.0, SPREAD)
            async with self._pool:
                await asyncio.sleep(service)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def state(self) -> list[dict[str, Any]]:
        """Every route for the live view: ohms and calls."""
        if self.atrion is None:
            return []
        return [
            {"route": s.route, "resistance": s.resistance, "in_flight": s.in_flight, "mode": s.mode.name}
            for s in self.atrion.snapshot().values()
        ]


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
    """Serve on a socket that others may serve on as well; prints a line when it is listened on."""
    import uvicorn  # an optional extra; the parent has checked that it is there

    config = uvicorn.Config(app, log_level="critical", access_log=False, lifespan="off", backlog=1)
    server = uvicorn.Server(config)
    if service.atrion is not None:
        await service.atrion.connect()
    print("ready", flush=True)  # who connects from now on waits in the socket's backlog until it is taken
    await server.serve(sockets=[listener])


def main() -> None:
    """One worker: its number, how many there are, the socket's descriptor, and the provider's URL to be protected."""
    worker, workers, descriptor = (int(number) for number in sys.argv[1:4])
    service = Service(slots_of(worker, workers))
    app: Any = service
    if len(sys.argv) > 4:
        service.atrion = Atrion(provider=sys.argv[4])
        app = AtrionMiddleware(service, service.atrion, trust_tier_header=True, exclude=("/-/",))
    asyncio.run(serve(FairSocket(fileno=descriptor), service, app))


if __name__ == "__main__":
    main()
