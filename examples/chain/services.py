"""Three services of a chain: python examples/chain/services.py edge|orders|stock PORT [PORT OF THE NEXT].

edge calls orders by HTTP, and orders calls stock by gRPC. Tier, place, deadline and attempt travel along.
"""

import asyncio
import sys
from collections import Counter
from typing import Any

import grpc
import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from atrion import Atrion
from atrion.integrations.asgi import AtrionMiddleware
from atrion.integrations.grpc import AioServerInterceptor
from atrion.integrations.grpc_client import aio_interceptors
from atrion.integrations.httpx import AsyncAtrionTransport
from atrion.integrations.stamina import retry
from atrion.propagation import Peers, current, use

ROLE, PORT, NEXT = sys.argv[1], int(sys.argv[2]), sys.argv[-1]
WORK = 0.005
RECONNECT = [("grpc.initial_reconnect_backoff_ms", 200), ("grpc.max_reconnect_backoff_ms", 500)]
peers = Peers(networks=["127.0.0.0/8"], hosts=["127.0.0.1"])
atrion = Atrion()
counts: Counter[str] = Counter()


async def counted(request: Request) -> Response:
    return JSONResponse(counts)


def serve(*routes: Route, **options: Any) -> None:
    app = Starlette(routes=[*routes, Route("/counts", counted)])
    app.add_middleware(AtrionMiddleware, atrion=atrion, exclude=["/counts"], **options)
    uvicorn.run(app, port=PORT, log_level="error")


def edge() -> None:
    """Two dependencies of one host have a guard each: what is wrong with one does not harm the other."""
    clients = {
        name: httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{NEXT}",
            transport=AsyncAtrionTransport(atrion, dependency=name, peers=peers),
            timeout=1.0,
        )
        for name in ("orders", "prices")
    }

    @retry("orders", attempts=3)
    async def send() -> None:
        counts["attempts"] += 1
        (await clients["orders"].post("/orders")).raise_for_status()

    async def order(request: Request) -> Response:
        counts["requests"] += 1
        try:
            with use(timeout=1.0):
                await send()
        except httpx.HTTPError:
            return PlainTextResponse("no order", 502)
        return PlainTextResponse("ordered")

    async def home(request: Request) -> Response:
        with use(timeout=1.0):
            return PlainTextResponse((await clients["prices"].get("/prices")).text)

    serve(
        Route("/checkout", order, methods=["POST"]),
        Route("/basket", order, methods=["POST"]),
        Route("/home", home),
        tiers={"/checkout": "critical"},
        key=lambda scope: dict(scope["headers"]).get(b"x-user", b"").decode(),
        peers=Peers(),
    )


def orders() -> None:
    channel = None

    @retry("stock", attempts=3)
    async def reserve() -> None:
        nonlocal channel
        if channel is None:
            interceptors = aio_interceptors(atrion, dependency="stock", peers=peers)
            channel = grpc.aio.insecure_channel(
                f"127.0.0.1:{NEXT}", options=RECONNECT, interceptors=interceptors
            )
        counts["attempts"] += 1
        await channel.unary_unary("/stock.Stock/Reserve")(b"", timeout=1.0)

    async def order(request: Request) -> Response:
        counts["requests"] += 1
        counts["retries"] += current().attempt > 0
        await asyncio.sleep(WORK)
        try:
            await reserve()
        except grpc.RpcError:
            return PlainTextResponse("no stock", 502)
        return PlainTextResponse("ordered")

    async def prices(request: Request) -> Response:
        await asyncio.sleep(WORK)
        return PlainTextResponse("7")

    serve(Route("/orders", order, methods=["POST"]), Route("/prices", prices), peers=peers)


async def stock() -> None:
    async def reserve(request: bytes, context: Any) -> bytes:
        await asyncio.sleep(WORK)
        return b"reserved"

    server = grpc.aio.server(interceptors=[AioServerInterceptor(atrion, peers=peers)])
    methods = {"Reserve": grpc.unary_unary_rpc_method_handler(reserve)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("stock.Stock", methods),))
    server.add_insecure_port(f"127.0.0.1:{PORT}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    if ROLE == "stock":
        asyncio.run(stock())
    else:
        {"edge": edge, "orders": orders}[ROLE]()
