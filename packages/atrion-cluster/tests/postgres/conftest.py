from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from benchmarks.stores.postgres_server import PostgresServer


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    """A server for tests that leave it as it is."""
    found = PostgresServer()
    yield found
    found.remove()


@pytest.fixture(scope="session")
def hurt_server() -> Iterator[PostgresServer]:
    found = PostgresServer()
    yield found
    found.remove()


@pytest.fixture
def own_server(hurt_server: PostgresServer) -> Iterator[PostgresServer]:
    """A server that a test may hurt, with a database that nobody has seen and a role ``app`` without any right."""
    hurt_server.database = f"of_test_{next(_number)}"
    hurt_server.execute(f"CREATE DATABASE {hurt_server.database}", database="postgres")
    hurt_server.execute("DROP ROLE IF EXISTS app", database="postgres")
    hurt_server.execute("CREATE ROLE app LOGIN PASSWORD 'apps-secret'", database="postgres")
    yield hurt_server
    hurt_server.heal()
    hurt_server.execute(f"DROP DATABASE {hurt_server.database} WITH (FORCE)", database="postgres")


_number = itertools.count()
