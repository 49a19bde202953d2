"""The demo's service: HTTP handlers of one of its shapes, with or without Atrion in front."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from typing import Any

from atrion.engine import Atrion
from atrion.integrations.asgi import AtrionMiddleware
from atrion_lab.demo.processes import event_loop, say, tied_to_parent
from atrion_lab.demo.services import SHAPES, Shape, slots_of

__all__ = ["BACKLOG"]

BACKLOG = 4096
"""Connections that wait to be taken, at most."""
REPORT = 0.25
"""Seconds between lines for the parent."""
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"2")]


class Service:
    """The work of a shape behind every path; abandoned requests are worked on all the same."""

    def __init__(self, shape: Shape, slots: int) -> None:
        self._work = shape.make(slots)
        self._factors = {ask.path: ask.work for ask in shape.asks}
        self._inside = 0
        self.atrion: Atrion | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        self._inside += 1
        try:
            await self._work(self._factors.get(scope["path"], 1.0))
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


async def serve(listener: socket.socket, service: Service, app: Any) -> None:
    """Serve on a socket; tells when it is listened on."""
    import uvicorn  # an optional extra; the parent has checked that it is there

    config = uvicorn.Config(
        app, log_level="critical", access_log=False, lifespan="off", backlog=BACKLOG, timeout_keep_alive=600
    )
    server = uvicorn.Server(config)
    if service.atrion is not None:
        await service.atrion.connect()
    reporting = asyncio.create_task(service.report())
    say(ready=True)  # who connects from now on waits in the socket's backlog until it is taken
    await server.serve(sockets=[listener])
    reporting.cancel()


def main() -> None:
    """One worker: its shape, number, how many there are, the socket's descriptor, and a provider to be protected."""
    tied_to_parent()
    shape = SHAPES[sys.argv[1]]
    worker, workers, descriptor = (int(number) for number in sys.argv[2:5])
    service = Service(shape, slots_of(worker, workers, shape.slots))
    app: Any = service
    if len(sys.argv) > 5:
        service.atrion = Atrion(provider=sys.argv[5])
        app = AtrionMiddleware(service, service.atrion, trust_tier_header=True)
    with event_loop() as runner:
        runner.run(serve(socket.socket(fileno=descriptor), service, app))


if __name__ == "__main__":
    main()
