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


class Service:
    """A pool of slots behind every path; abandoned requests are worked on all the same."""

    def __init__(self) -> None:
        self._pool = asyncio.Semaphore(SLOTS)
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


def main() -> None:
    """Serve on a free port, printed on the first line; the argument ``protected`` puts Atrion in front."""
    import uvicorn  # an optional extra; the parent has checked that it is there

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    service = Service()
    app: Any = service
    if "protected" in sys.argv[1:]:
        service.atrion = Atrion()
        app = AtrionMiddleware(service, service.atrion, trust_tier_header=True, exclude=("/-/",))
    config = uvicorn.Config(app, log_level="critical", access_log=False, lifespan="off", backlog=4096)
    print(listener.getsockname()[1], flush=True)
    asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))


if __name__ == "__main__":
    main()
