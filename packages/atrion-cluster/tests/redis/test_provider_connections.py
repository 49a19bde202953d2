"""The provider's connections: in one event loop after another, in child processes, to a server that hangs."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from atrion.errors import ProviderError
from atrion_cluster.redis import RedisClusterProvider
from benchmarks.stores.redis_server import RedisServer
from store_rows import Provide, row

Make = Callable[[], RedisClusterProvider]


def test_one_provider_serves_one_event_loop_after_another(provider_of: Make) -> None:
    provider = provider_of()

    async def turn(number: int) -> None:
        await provider.connect()
        await provider.exchange("a", {"r": row(float(number))}, ["r"])
        assert (await provider.recall("a", 1))["r"].vector.scar_tissue == float(number)

    for number in range(1, 4):
        asyncio.run(turn(number))
        gc.collect()
    asyncio.run(provider.disconnect())


def test_a_child_talks_on_sockets_of_its_own(provider_of: Make, redis_server: RedisServer) -> None:
    provider = provider_of()

    async def main() -> None:
        await provider.connect()
        await provider.exchange("parent", {"r": row(1.0)}, ["r"])
        before = int(redis_server.do("INFO", "clients")["connected_clients"])
        child = os.fork()
        if child == 0:
            status = 1
            try:
                own = provider.exchange("child", {"child's": row(1.0)}, [])
                with ThreadPoolExecutor(1) as pool:  # this thread has the parent's loop
                    pool.submit(asyncio.run, own).result()
                status = 0
            finally:
                os._exit(status)
        for number in range(50):
            await provider.exchange("parent", {"r": row(float(number))}, ["r"])
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0  # noqa: ASYNC222  # it has ended by now
        await provider.exchange("parent", {"r": row(2.0)}, ["r"])
        assert int(redis_server.do("INFO", "clients")["connected_clients"]) == before
        await provider.disconnect()

    asyncio.run(main())


def test_disconnecting_takes_no_time_when_the_server_hangs(own_server: RedisServer, provide: Provide) -> None:
    async def main() -> None:
        provider = provide(own_server.url)
        await provider.connect()
        own_server.hang()
        try:
            with pytest.raises(ProviderError, match="did not answer within"):
                await provider.exchange("a", {"r": row(1.0)}, ["r"])
            began = time.monotonic()
            await provider.disconnect()
            assert time.monotonic() - began < 1.0
        finally:
            own_server.go_on()

    asyncio.run(main())
