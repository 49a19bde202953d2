"""The calls of the conformance table over gRPC, of a database and of Redis."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from atrion.integrations.grpc_client import ClientInterceptor, aio_interceptors
from atrion.integrations.redis import install as install_redis
from atrion.integrations.sqlalchemy import install as install_sqlalchemy
from atrion.testing import force_shed
from benchmarks.stores.redis_server import RedisServer, valkey_binary
from packages.atrion.tests.conformance.grpc_services import METHODS, Grpc
from packages.atrion.tests.conformance.http_clients import AsyncCalls, Cancelled, Loop, dead_port
from packages.atrion.tests.conformance.outgoing import Caller, Outgoing, Upstream
from packages.atrion.tests.conformance.subject import Recorder

__all__ = ["OTHER_CLIENTS"]


class GrpcClients(Outgoing):
    title = "gRPC client"
    failure_text = "UNAVAILABLE, DEADLINE_EXCEEDED, INTERNAL and the like"
    busy_text = "`grpc-retry-pushback-ms` is obeyed"
    names_text = "method, or `dependency=`"

    def route(self, upstream: Upstream) -> str:
        return METHODS["item"]

    @contextmanager
    def upstream(self) -> Iterator[Upstream]:
        upstream, guarding = Upstream(0), Recorder()

        class Counting(grpc.ServerInterceptor):  # type: ignore[misc]  # grpcio has no types
            def intercept_service(self, continuation: Any, details: Any) -> Any:
                upstream.seen.append(details.method)
                return continuation(details)

        with Grpc().serve(guarding, upstream.gate, {"before": [Counting()]}) as client:
            upstream.port = client.port
            with force_shed("critical", METHODS["busy"], guarding):
                yield upstream

    def excluded(self) -> str:
        return "–"

    @contextmanager
    def caller(self, upstream: Upstream, engine: Recorder, options: dict[str, Any]) -> Iterator[Caller]:
        class Calls(Caller):
            def ask(self, operation: str, timeout: float = 20.0) -> None:
                port = dead_port() if operation == "dead" else upstream.port
                name = METHODS["item" if operation == "dead" else operation]
                with grpc.insecure_channel(f"127.0.0.1:{port}") as plain:
                    channel = grpc.intercept_channel(plain, ClientInterceptor(engine, **options))
                    channel.unary_unary(f"/{name}")(b"", timeout=timeout)

            @contextmanager
            def stream(self) -> Iterator[Iterator[bytes]]:
                with grpc.insecure_channel(f"127.0.0.1:{upstream.port}") as plain:
                    channel = grpc.intercept_channel(plain, ClientInterceptor(engine, **options))
                    yield iter(channel.unary_stream(f"/{METHODS['stream']}")(b"", timeout=20.0))

        yield Calls()


class AioGrpcClients(GrpcClients, Cancelled):
    title = "grpc.aio client"

    @contextmanager
    def caller(self, upstream: Upstream, engine: Recorder, options: dict[str, Any]) -> Iterator[Caller]:
        loop = Loop()

        class Calls(AsyncCalls):
            def channel(self, port: int) -> Any:
                interceptors = aio_interceptors(engine, **options)
                return grpc.aio.insecure_channel(f"127.0.0.1:{port}", interceptors=interceptors)

            async def asked(self, operation: str, timeout: float = 20.0) -> None:
                port = dead_port() if operation == "dead" else upstream.port
                name = METHODS["item" if operation == "dead" else operation]
                async with self.channel(port) as channel:
                    await channel.unary_unary(f"/{name}")(b"", timeout=timeout)

            @asynccontextmanager
            async def streamed(self) -> AsyncIterator[AsyncIterator[bytes]]:
                async with self.channel(upstream.port) as channel:
                    yield aiter(channel.unary_stream(f"/{METHODS['stream']}")(b"", timeout=20.0))

        with loop.running():
            yield Calls(upstream, loop)


class Database(Outgoing):
    title = "SQLAlchemy"
    troubles = ("hold",)
    failures = ("hold",)
    failure_text = "errors of the database"
    busy_text = ""
    names_text = "database, or `dependency=`"
    streamed = False
    folder: Path

    def route(self, upstream: Upstream) -> str:
        return f"sqlite/{self.folder / 'shop.db'}"

    def excluded(self) -> str:
        return "–"

    @contextmanager
    def upstream(self) -> Iterator[Upstream]:
        with TemporaryDirectory() as folder:
            self.folder = Path(folder)
            yield Upstream(0)

    @contextmanager
    def caller(self, upstream: Upstream, engine: Recorder, options: dict[str, Any]) -> Iterator[Caller]:
        url = f"sqlite:///{self.folder / 'shop.db'}"
        database = create_engine(url, poolclass=NullPool, connect_args={"timeout": 0.05})
        with database.begin() as connection:
            connection.execute(text("create table items (id integer primary key)"))
            connection.execute(text("insert into items values (7)"))
        install_sqlalchemy(database, engine, **options)

        class Calls(Caller):
            def ask(self, operation: str, timeout: float = 20.0) -> None:
                if operation == "hold":  # somebody else locks the database
                    other = sqlite3.connect(url.removeprefix("sqlite:///"))
                    other.execute("begin exclusive")
                    try:
                        self.ask("item")
                    finally:
                        other.close()
                    return
                statement = "select * from items" if operation == "item" else "insert into items values (7)"
                with database.begin() as connection:
                    connection.execute(text(statement))
                upstream.seen.append(operation)

        yield Calls()
        database.dispose()


class RedisClients(Outgoing):
    title = "redis-py"
    troubles = ("dead",)
    failures = ("hold", "dead")
    failure_text = "timeouts, no connection, Redis's own trouble"
    busy_text = ""
    names_text = "server, or `dependency=`"
    streamed = False

    def route(self, upstream: Upstream) -> str:
        return f"redis/127.0.0.1:{upstream.port}"

    @contextmanager
    def upstream(self) -> Iterator[Upstream]:
        with RedisServer(binary=valkey_binary()) as server:
            yield Upstream(server.port)

    @staticmethod
    def held(port: int) -> None:
        """Redis answers nobody for a while."""
        with redis.Redis(port=port) as admin:
            admin.execute_command("CLIENT", "PAUSE", 1000, "ALL")

    @contextmanager
    def caller(self, upstream: Upstream, engine: Recorder, options: dict[str, Any]) -> Iterator[Caller]:
        def client(port: int, timeout: float) -> redis.Redis:
            made = redis.Redis(
                port=port, host="127.0.0.1", socket_timeout=timeout, retry=Retry(NoBackoff(), 0)
            )
            install_redis(made, engine, **options)
            return made

        class Calls(Caller):
            def ask(self, operation: str, timeout: float = 20.0) -> None:
                if operation == "hold":
                    RedisClients.held(upstream.port)
                with client(dead_port() if operation == "dead" else upstream.port, timeout) as made:
                    if operation == "missing":
                        made.pipeline().set("word", "a").incr("word").execute()
                    else:
                        made.get("item")
                    upstream.seen.append(operation)

        yield Calls()


class AsyncRedisClients(RedisClients, Cancelled):
    title = "redis-py, async"

    @contextmanager
    def caller(self, upstream: Upstream, engine: Recorder, options: dict[str, Any]) -> Iterator[Caller]:
        loop, clients = Loop(), list[redis.asyncio.Redis]()

        class Calls(AsyncCalls):
            async def asked(self, operation: str, timeout: float = 20.0) -> None:
                port = dead_port() if operation == "dead" else upstream.port
                if operation == "hold":
                    RedisClients.held(port)
                retry = redis.asyncio.retry.Retry(NoBackoff(), 0)
                made = redis.asyncio.Redis(host="127.0.0.1", port=port, socket_timeout=timeout, retry=retry)
                clients.append(made)
                install_redis(made, engine, **options)
                if operation == "missing":
                    await made.pipeline().set("word", "a").incr("word").execute()
                else:
                    await made.get("item")
                upstream.seen.append(operation)

        async def close() -> None:
            for made in clients:
                await made.aclose()

        with loop.running():
            yield Calls(upstream, loop)
            loop.run(close())


OTHER_CLIENTS = (GrpcClients(), AioGrpcClients(), Database(), RedisClients(), AsyncRedisClients())
