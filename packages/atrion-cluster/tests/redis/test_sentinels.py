"""Sentinels: they lead to the master of the moment, and subscribers follow."""

from __future__ import annotations

import asyncio
import logging
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from atrion.errors import ProviderError
from atrion.state import PhysicsVector
from benchmarks.stores.redis_server import RedisServer, Sentinels, free_port, redis_binary
from store_rows import Provide, heard_by, row


@pytest.mark.slow
def test_sentinels_lead_to_the_new_master_when_the_old_one_dies(
    provide: Provide, caplog: pytest.LogCaptureFixture
) -> None:
    with Sentinels() as sentinels, caplog.at_level(logging.WARNING, "atrion"):

        async def main() -> None:
            provider, other = provide(sentinels.url), provide(sentinels.url)
            await provider.exchange("a", {"r": row(30.0)}, ["r"])
            assert (await other.exchange("b", {}, ["r"]))["r"].scar == pytest.approx(30.0)
            sentinels.master.kill()
            with pytest.raises(ProviderError):
                await provider.exchange("a", {}, ["r"])
            async with asyncio.timeout(30.0):
                while True:
                    try:
                        await provider.connect()
                        await provider.exchange("a", {"r": row(40.0)}, ["r"])
                        break
                    except ProviderError:
                        await asyncio.sleep(0.1)
            heard = await heard_by(other, ["r"])
            assert heard["r"].scar == pytest.approx(40.0, abs=0.1)
            assert int(sentinels.replica.do("DBSIZE")) > 0
            await asyncio.gather(provider.disconnect(), other.disconnect())

        asyncio.run(main())


@contextmanager
def sentinel_of(config: Path) -> Iterator[None]:
    """A master and its only sentinel, on the ports that ``config`` names."""
    words = config.read_text().split()
    with RedisServer(port=int(words[words.index("monitor") + 3])):
        process = subprocess.Popen(
            [redis_binary(), str(config), "--sentinel"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        try:
            yield
        finally:
            process.kill()
            process.wait()


def test_a_subscriber_is_told_once_the_sentinels_have_come(provide: Provide, tmp_path: Path) -> None:
    port, config = free_port(), tmp_path / "sentinel.conf"
    config.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\nsentinel monitor main 127.0.0.1 {free_port()} 1\n"
    )
    heard: list[PhysicsVector] = []

    async def main() -> None:
        url = f"redis+sentinel://127.0.0.1:{port}/main"
        reader, writer = provide(url), provide(url)
        with pytest.raises(ProviderError):
            await reader.connect()
        reader.subscribe("r", heard.append)
        await asyncio.sleep(0.3)  # it has tried to listen meanwhile
        with sentinel_of(config):
            for number in range(200):
                with suppress(ProviderError):
                    await writer.update_vector("r", PhysicsVector(float(number), 0.0, 3.0, 1.0))
                if heard:
                    break
                await asyncio.sleep(0.1)
            await asyncio.gather(reader.disconnect(), writer.disconnect())

    asyncio.run(main())
    assert heard


def test_a_service_that_no_sentinel_knows_is_said_so(provide: Provide, redis_server: RedisServer) -> None:
    provider = provide(f"redis+sentinel://127.0.0.1:{redis_server.port}/main")
    with pytest.raises(ProviderError, match="no sentinel knows a master of 'main'"):
        asyncio.run(provider.connect())
