"""A gRPC service with threads: python examples/servers/grpc_shop.py 8000. Its messages are plain bytes."""

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from atrion import Atrion
from atrion.integrations.grpc import ServerInterceptor


def get_item(request: bytes, context: Any) -> bytes:
    return b"item " + request


guard = ServerInterceptor(
    Atrion(),
    tiers={"/shop.Checkout/*": "critical"},
    key=lambda call: dict(call.invocation_metadata).get("x-user"),
)
server = grpc.server(ThreadPoolExecutor(16), interceptors=[guard])
methods = {"Get": grpc.unary_unary_rpc_method_handler(get_item)}
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("shop.Items", methods)])

if __name__ == "__main__":
    server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
    server.start()
    server.wait_for_termination()
