"""A gRPC service with asyncio: python examples/servers/grpc_aio_shop.py 8000. Its messages are plain bytes."""

import asyncio
import sys
from typing import Any

import grpc

from atrion import Atrion
from atrion.integrations.grpc import AioServerInterceptor


async def get_item(request: bytes, context: Any) -> bytes:
    return b"item " + request


async def main(port: str) -> None:
    guard = AioServerInterceptor(Atrion(), tiers={"/shop.Checkout/*": "critical"})
    server = grpc.aio.server(interceptors=[guard])
    methods = {"Get": grpc.unary_unary_rpc_method_handler(get_item)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.Items", methods),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
