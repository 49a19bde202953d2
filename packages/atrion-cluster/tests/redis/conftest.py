from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from atrion_cluster.redis import RedisClusterProvider
from benchmarks.stores.redis_server import RedisCluster, RedisServer, valkey_binary

_numbers = count()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[RedisServer]:
    with RedisServer(binary=valkey_binary()) as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[RedisCluster]:
    with RedisCluster() as cluster:
        yield cluster


@pytest.fixture(params=["redis_server", "valkey_server", "redis_cluster"])
def store_url(request: pytest.FixtureRequest) -> str:
    """Each kind of server in turn."""
    server: RedisServer | RedisCluster = request.getfixturevalue(request.param)
    return server.url


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server that the test may harm."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def namespace() -> str:
    """One that no other test uses."""
    return f"test{next(_numbers)}"


@pytest.fixture
def provide(namespace: str) -> Iterator[Callable[..., RedisClusterProvider]]:
    """Makes providers of the test's own namespace, and disconnects what a failing test leaves open."""
    made: list[RedisClusterProvider] = []

    def make(url: str, **options: Any) -> RedisClusterProvider:
        provider = RedisClusterProvider({"url": url}, **({"namespace": namespace} | options))
        made.append(provider)
        return provider

    yield make
    for provider in made:
        asyncio.run(provider.disconnect())


@pytest.fixture
def provider_of(
    redis_server: RedisServer, provide: Callable[..., RedisClusterProvider]
) -> Callable[[], RedisClusterProvider]:
    """Makes providers that share one store."""
    return lambda: provide(redis_server.url)
