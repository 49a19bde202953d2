from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

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
def provider_of(redis_server: RedisServer, namespace: str) -> Callable[[], RedisClusterProvider]:
    """Makes providers that share one store."""
    return lambda: RedisClusterProvider({"url": redis_server.url}, namespace=namespace)
