from __future__ import annotations

import asyncio

import pytest

from atrion.testing import Law, check_law, laws_for
from atrion_cluster.redis import RedisClusterProvider


def make(url: str, store: str) -> RedisClusterProvider:
    return RedisClusterProvider({"url": url}, namespace=store)


@pytest.mark.parametrize(
    "law", laws_for(lambda store: make("redis://localhost", store)), ids=lambda law: law.name
)
def test_every_kind_of_server_keeps_every_law(law: Law, store_url: str) -> None:
    asyncio.run(check_law(law, lambda store: make(store_url, store)))
