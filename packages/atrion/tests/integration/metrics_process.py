"""A worker for the tests: ``python metrics_process.py FOLDER`` serves on a free port, which it prints.

``/call`` makes a guarded call, ``/shed`` one that is shed, ``/lease`` a lease that overruns its budget, and
``/metrics`` tells.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

import uvicorn

from atrion import Atrion, FlowRejected, Tier
from atrion.integrations.prometheus import metrics_asgi_app
from atrion.testing import force_shed


async def main(folder: str) -> None:
    atrion = Atrion(provider=f"workers://{folder}")
    metrics = metrics_asgi_app(atrion)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/metrics":
            await metrics(scope, receive, send)
            return
        try:
            if scope["path"] == "/shed":
                with force_shed("low", "search", atrion), atrion.flow("search", Tier.LOW):
                    pass
            elif scope["path"] == "/lease":
                with atrion.lease("job", budget={"tokens": 1.0}) as lease:
                    lease.spend(tokens=2.0)
            else:
                with atrion.flow("search"):
                    pass
        except FlowRejected:
            pass
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        async with atrion:
            print(listening.getsockname()[1], flush=True)
            await server.serve(sockets=[listening])


asyncio.run(main(sys.argv[1]))
