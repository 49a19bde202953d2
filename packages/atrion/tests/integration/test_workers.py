"""The store of a host's workers: real processes share it, die and start again; its bounds and options."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from atrion import Atrion, ConfigurationError, MissingExtraError, ProviderError, Telemetry
from atrion.providers.workers import WorkersProvider
from atrion.testing import VirtualClock
from packages.atrion.tests.integration.rows import row

WORKER = Path(__file__).with_name("worker_process.py")


@contextmanager
def worker(path: Path, role: str) -> Iterator[subprocess.Popen[str]]:
    """A process in a role; killed at the end."""
    command = [sys.executable, str(WORKER), f"workers://{path}", role]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> list[str]:
    """The next line that it says."""
    assert process.stdout is not None
    return process.stdout.readline().split()


def test_an_idle_worker_hears_of_anothers_outage_within_two_pulses(tmp_path: Path) -> None:
    async def main() -> None:
        async with Atrion(provider=f"workers://{tmp_path}/s", gamma=0.5) as idle:
            before = idle.decide("dependency").resistance
            with worker(tmp_path / "s", "break") as breaking:
                said, scar = await asyncio.to_thread(line, breaking)
            assert said == "scarred"
            for _ in range(2):
                await idle.pulse_once()
            rise = idle.decide("dependency").resistance - before
            assert float(scar) > 60.0
            assert rise > 0.5 * 20.0

    asyncio.run(main())


def test_a_worker_killed_and_started_again_begins_with_its_decayed_scar(tmp_path: Path) -> None:
    with worker(tmp_path / "s", "break") as breaking:
        scar = float(line(breaking)[1])
        killed = time.monotonic()
    with worker(tmp_path / "s", "first") as again:
        said, resistance, carried = line(again)
    age = time.monotonic() - killed
    assert said == "first"
    assert scar * math.exp(-0.8 * age) * 0.5 <= float(carried) <= 300.0
    assert float(resistance) >= float(carried)


def test_workers_killed_in_the_middle_of_writing_harm_nobody(tmp_path: Path) -> None:
    async def main() -> None:
        provider = WorkersProvider(tmp_path / "s")
        await provider.connect()
        routes = [f"r{number}" for number in range(50)]
        dice = random.Random(7)
        for turn in range(6):
            with worker(tmp_path / "s", "hammer") as one, worker(tmp_path / "s", "hammer") as other:
                assert await asyncio.to_thread(line, one) == ["hammering"]
                assert await asyncio.to_thread(line, other) == ["hammering"]
                for _ in range(dice.randrange(20)):
                    await provider.exchange("survivor", {"r1": row(float(turn))}, routes)
                one.kill()
                other.kill()
            fresh = WorkersProvider(tmp_path / "s")
            await fresh.connect()
            answer = await fresh.exchange("fresh", {}, routes)
            assert set(answer) <= set(routes)
            assert all(scar.is_sane() for scar in answer.values())
            found = await fresh.get_vector("r1")
            assert found is not None
            await fresh.disconnect()
        assert provider.dropped_rows == 0
        await provider.disconnect()

    asyncio.run(main())


def test_a_worker_stopped_while_it_holds_the_store_blocks_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = VirtualClock()

    async def main() -> None:
        engine = Atrion(provider=WorkersProvider(tmp_path / "s"), clock=clock)
        engine.update_physics("r", Telemetry(latency=0.01))
        assert await engine.pulse_once()
        with worker(tmp_path / "s", "hold") as holding:
            assert await asyncio.to_thread(line, holding) == ["holding"]
            for _ in range(3):
                assert not await engine.pulse_once()
                assert engine.decide("r").allowed
        assert await engine.pulse_once()
        assert engine.state.failures >= 3
        await engine.disconnect()

    with caplog.at_level(logging.WARNING, "atrion"):
        asyncio.run(main())
    assert [record.message.split(" (")[0] for record in caplog.records] == [
        "state provider fails",
        "state provider answers again",
    ]
    assert "may be stopped or hung" in caplog.text


def test_the_longest_unchanged_routes_go_first(tmp_path: Path) -> None:
    async def main() -> None:
        provider = WorkersProvider(tmp_path, max_routes=3)
        await provider.connect()
        for name in ("a", "b", "c"):
            await provider.update_vector(name, row(1.0).vector)
        await provider.update_vector("a", row(2.0).vector)
        await provider.update_vector("d", row(1.0).vector)
        assert sorted(await provider.list_routes(10)) == ["a", "c", "d"]
        await provider.disconnect()

    asyncio.run(main())


def test_a_small_store_stays_within_its_bytes_and_keeps_working(tmp_path: Path) -> None:
    async def main() -> None:
        provider = WorkersProvider(tmp_path, map_size=1 << 20)
        await provider.connect()
        for turn in range(60):
            rows = {f"r{turn}-{number}-{'x' * 200}": row(1.0) for number in range(100)}
            await provider.exchange("a", rows, list(rows))
            assert await provider.get_vector(next(reversed(rows))) is not None
        assert len(await provider.list_routes(10_000)) < 3000
        await provider.disconnect()

    asyncio.run(main())
    assert (tmp_path / "data.mdb").stat().st_size <= 1 << 20


def test_more_than_the_store_can_hold_is_a_failure_in_words(tmp_path: Path) -> None:
    async def main() -> None:
        provider = WorkersProvider(tmp_path, map_size=1 << 20)
        await provider.connect()
        await provider.update_vector("before", row(1.0).vector)
        rows = {f"r{number}-{'x' * 200}": row(1.0).vector for number in range(10_000)}
        with pytest.raises(ProviderError, match=r"the store in .* fails"):
            await provider.update_vectors(rows)
        assert await provider.get_vector("before") is not None
        await provider.update_vector("after", row(1.0).vector)
        await provider.disconnect()

    asyncio.run(main())


def test_the_url_brings_folder_and_limits(tmp_path: Path) -> None:
    provider = WorkersProvider.from_url(f"workers://{tmp_path}/a%20b?map_size=2097152&max_routes=7")
    assert (provider.path, provider.map_size, provider.max_routes) == (tmp_path / "a b", 2 << 20, 7)
    engine = Atrion(provider=f"workers://{tmp_path}/s")
    assert repr(engine.state.provider) == f"WorkersProvider('{tmp_path}/s')"


@pytest.mark.parametrize(
    "url, word",
    [
        ("workers://host/path", "three slashes"),
        ("workers:path", "three slashes"),
        ("workers:///p?size=3", "no option"),
        ("workers:///p?map_size=-3", "no option"),
        ("workers:///p?map_size=3", "at least 1048576 bytes"),
        ("workers:///p?max_routes=0", "at least 1"),
        ("workers:///p%00", "name a folder"),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(url: str, word: str) -> None:
    with pytest.raises(ConfigurationError, match=word):
        Atrion(provider=url)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "lmdb", None)
    monkeypatch.setitem(sys.modules, "lmdb.verify", None)
    with pytest.raises(MissingExtraError, match=r'pip install "atrion\[workers\]"'):
        WorkersProvider(tmp_path)
