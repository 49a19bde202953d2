"""The service of the conformance table over gRPC, with threads and with asyncio."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from atrion.integrations.grpc import AioServerInterceptor, ServerInterceptor
from atrion.testing import force_open
from packages.atrion.tests.conformance.incoming import Answer, Incoming
from packages.atrion.tests.conformance.serving import async_until, shed_within, until, wait_for
from packages.atrion.tests.conformance.subject import Recorder, eventually, in_background

__all__ = ["GRPC", "GrpcClient"]

METHODS = {
    "item": "shop.Items/Get",
    "missing": "shop.Items/Missing",
    "broken": "shop.Items/Broken",
    "raise": "shop.Items/Raise",
    "inner": "shop.Items/Inner",
    "hold": "shop.Items/Hold",
    "stream": "shop.Items/Stream",
    "busy": "shop.Items/Busy",
    "health": "grpc.health.v1.Health/Check",
}


class GrpcClient:
    """Talks gRPC to a port; messages are bytes."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")

    def close(self) -> None:
        self.channel.close()

    def ask(self, operation: str, *, tier: str | None = None, user: str | None = None) -> Answer:
        metadata = [(name, value) for name, value in (("x-atrion-tier", tier), ("x-user", user)) if value]
        try:
            self.channel.unary_unary(f"/{METHODS[operation]}")(
                b"", timeout=20.0, metadata=metadata, wait_for_ready=True
            )
        except grpc.RpcError as error:
            return self._told(error)
        return Answer("OK")

    @staticmethod
    def _told(error: Any) -> Answer:
        code = error.code().name
        trailing = dict(error.trailing_metadata() or ())
        if "grpc-retry-pushback-ms" not in trailing:
            return Answer(code)
        info = RetryInfo()
        assert Status.FromString(trailing["grpc-status-details-bin"]).details[0].Unpack(info)
        assert info.retry_delay.seconds * 1000 == int(trailing["grpc-retry-pushback-ms"])
        return Answer(code, f"{code}, `grpc-retry-pushback-ms`, RetryInfo", float(info.retry_delay.seconds))

    @contextmanager
    def stream(self) -> Iterator[Iterator[bytes]]:
        yield self.channel.unary_stream(f"/{METHODS['stream']}")(b"", timeout=20.0)

    def leave(self, operation: str, when: Callable[[], object]) -> None:
        kind = self.channel.unary_stream if operation == "stream" else self.channel.unary_unary
        method = kind(f"/{METHODS[operation]}")
        call = method(b"") if operation == "stream" else method.future(b"")
        when()
        call.cancel()


class Grpc(Incoming):
    title = "gRPC"
    ok = "OK"
    excluded_prefix = "/grpc.health.v1.Health"
    failure_codes = "INTERNAL and the like, exceptions"

    def user(self, request: Any) -> str | None:
        return dict(request.invocation_metadata).get("x-user")

    def route(self, operation: str) -> str:
        return METHODS[operation]

    def refused(self) -> str:
        with self.session() as it, force_open(engine=it.engine):
            assert it.client.ask("item").status == "UNAVAILABLE"
        return super().refused() + "; UNAVAILABLE when broken"

    def pattern(self) -> str:
        with self.session() as it:
            it.engine.configure("shop.Items/G*", enforce=False)
            with force_open(engine=it.engine):
                assert it.client.ask("item").status == self.ok
                assert it.client.ask("missing").status == "UNAVAILABLE"
        return "✓"

    @staticmethod
    def handlers(unary: dict[str, Any], stream: Any) -> Any:
        named: dict[str, dict[str, Any]] = {}
        for operation, method in METHODS.items():
            service, name = method.split("/")
            named.setdefault(service, {})[name] = (
                grpc.unary_stream_rpc_method_handler(stream)
                if operation == "stream"
                else grpc.unary_unary_rpc_method_handler(unary.get(operation, unary["item"]))
            )
        return [grpc.method_handlers_generic_handler(service, of) for service, of in named.items()]

    @contextmanager
    def serve(self, engine: Recorder, gate: threading.Event, options: dict[str, Any]) -> Iterator[GrpcClient]:
        def item(request: bytes, context: Any) -> bytes:
            return b"ok"

        def missing(request: bytes, context: Any) -> None:
            context.abort(grpc.StatusCode.NOT_FOUND, "no")

        def broken(request: bytes, context: Any) -> None:
            context.abort(grpc.StatusCode.INTERNAL, "no")

        def fail(request: bytes, context: Any) -> None:
            raise RuntimeError("boom")

        def inner(request: bytes, context: Any) -> None:
            shed_within(engine)

        def hold(request: bytes, context: Any) -> bytes:
            gate.wait(20.0)
            return b"ok"

        def stream(request: bytes, context: Any) -> Iterator[bytes]:
            yield from until(gate)

        unary = {
            "item": item,
            "missing": missing,
            "broken": broken,
            "raise": fail,
            "inner": inner,
            "hold": hold,
        }
        before = options.pop("before", [])
        interceptors = [*before, ServerInterceptor(engine, **options)]
        server = grpc.server(ThreadPoolExecutor(24), interceptors=interceptors)
        server.add_generic_rpc_handlers(self.handlers(unary, stream))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        client = GrpcClient(port)
        try:
            yield client
        finally:
            client.close()
            server.stop(1.0).wait(10.0)


class AioGrpc(Grpc):
    title = "grpc.aio"

    @contextmanager
    def serve(self, engine: Recorder, gate: threading.Event, options: dict[str, Any]) -> Iterator[GrpcClient]:
        async def item(request: bytes, context: Any) -> bytes:
            return b"ok"

        async def missing(request: bytes, context: Any) -> None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no")

        async def broken(request: bytes, context: Any) -> None:
            await context.abort(grpc.StatusCode.INTERNAL, "no")

        async def fail(request: bytes, context: Any) -> None:
            raise RuntimeError("boom")

        async def inner(request: bytes, context: Any) -> None:
            shed_within(engine)

        async def hold(request: bytes, context: Any) -> bytes:
            await wait_for(gate)
            return b"ok"

        async def stream(request: bytes, context: Any) -> AsyncIterator[bytes]:
            async for chunk in async_until(gate):
                yield chunk

        unary = {
            "item": item,
            "missing": missing,
            "broken": broken,
            "raise": fail,
            "inner": inner,
            "hold": hold,
        }
        loop, ports = asyncio.new_event_loop(), list[int]()

        async def start() -> Any:
            server = grpc.aio.server(interceptors=[AioServerInterceptor(engine, **options)])
            server.add_generic_rpc_handlers(tuple(self.handlers(unary, stream)))
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            ports.append(port)
            return server

        def run() -> None:
            server = loop.run_until_complete(start())
            loop.run_forever()
            loop.run_until_complete(server.stop(1.0))
            loop.close()

        with in_background(run, lambda: loop.call_soon_threadsafe(loop.stop)):
            eventually(lambda: bool(ports))
            client = GrpcClient(ports[0])
            try:
                yield client
            finally:
                client.close()


GRPC = (Grpc(), AioGrpc())
