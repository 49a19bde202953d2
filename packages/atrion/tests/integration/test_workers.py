"""Several real processes over one store: they share, they die, they start again."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb
import pytest

from atrion import Atrion, ConfigurationError, MissingExtraError, PhysicsVector, ProviderError, Telemetry
from atrion.providers._lmdb_records import HostClock, Record, digest
from atrion.providers.workers import WorkersProvider
from atrion.state import ClusterScar, NodeRow
from atrion.state.blending import EVIDENCE_SECONDS
from atrion.testing import VirtualClock

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


def row(scar: float, evidence: float = 10.0, decay_rate: float = 0.0) -> NodeRow:
    return NodeRow(PhysicsVector(10.0, 0.0, scar, 1.0), evidence, decay_rate)


# --- sharing -------------------------------------------------------------------------------------------------


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


# --- time ----------------------------------------------------------------------------------------------------


class FakeHost(HostClock):
    def __init__(self, boot: bytes, uptime: float, wall: float) -> None:
        self.boot_id, self.up, self.now = boot, uptime, wall

    def boot(self) -> bytes:
        return self.boot_id

    def uptime(self) -> float:
        return self.up

    def wall(self) -> float:
        return self.now


async def age_after(path: Path, before: HostClock, after: HostClock) -> float | None:
    one = WorkersProvider(path, clock=before)
    await one.connect()
    await one.update_vector("r", PhysicsVector(10.0, 0.0, 5.0, 1.0))
    await one.disconnect()
    other = WorkersProvider(path, clock=after)
    await other.connect()
    found = await other.recall("node", 10)
    await other.disconnect()
    return found["r"].age if "r" in found else None


ONE, TWO = b"1" * 16, b"2" * 16


@pytest.mark.parametrize(
    "before, after, age",
    [
        (FakeHost(ONE, 100.0, 1e9), FakeHost(ONE, 107.0, 1e9 + 7.0), 7.0),
        (FakeHost(ONE, 100.0, 1e9), FakeHost(ONE, 107.0, 5e8), 7.0),  # the wall clock was set back: no matter
        (FakeHost(ONE, 100.0, 1e9), FakeHost(ONE, 107.0, 2e9), 7.0),
        (FakeHost(ONE, 100.0, 1e9), FakeHost(ONE, 90.0, 1e9), 0.0),
        (FakeHost(ONE, 100.0, 1e9), FakeHost(TWO, 3.0, 1e9 + 40.0), 40.0),  # the host started anew
        (FakeHost(ONE, 100.0, 1e9), FakeHost(TWO, 3.0, 1e9 - 40.0), 0.0),  # … and its clock with it
        (FakeHost(ONE, 100.0, 1e9), FakeHost(TWO, 3.0, 1e9 + 1e8), 86_400.0),
        (
            FakeHost(b"", 100.0, 1e9),
            FakeHost(b"", 3.0, 1e9 + 40.0),
            40.0,
        ),  # a host that does not name its boots
    ],
)
def test_ages_survive_restarts_and_clocks_that_leap(
    tmp_path: Path, before: HostClock, after: HostClock, age: float
) -> None:
    assert asyncio.run(age_after(tmp_path, before, after)) == pytest.approx(age)


def test_time_goes_on_after_a_restart(tmp_path: Path) -> None:
    host = FakeHost(ONE, 100.0, 1e9)

    async def main() -> None:
        one, other = WorkersProvider(tmp_path, clock=host), WorkersProvider(tmp_path, clock=host)
        await one.connect()
        await other.connect()
        await one.exchange("a", {"r": row(8.0, 10.0, 0.5)}, [])
        host.boot_id, host.up, host.now = TWO, 1.0, host.now + 2.0
        assert await other.exchange("b", {}, ["r"]) == {
            "r": ClusterScar(
                pytest.approx(8.0 * math.exp(-1.0)), pytest.approx(10.0 * math.exp(-2.0 / EVIDENCE_SECONDS))
            )
        }
        await one.exchange("a", {"r": row(6.0, 10.0, 0.5)}, [])
        host.up += 2.0
        assert (await other.exchange("b", {}, ["r"]))["r"].scar == pytest.approx(6.0 * math.exp(-1.0))
        host.up += 61.0
        assert await other.list_nodes() == []
        assert (await other.exchange("c", {}, ["r"]))["r"].evidence == 0.0
        await one.disconnect()
        await other.disconnect()

    asyncio.run(main())


# --- bounds --------------------------------------------------------------------------------------------------


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


# --- what is not to be trusted -------------------------------------------------------------------------------


def test_records_that_make_no_sense_are_passed_over_and_counted(tmp_path: Path) -> None:
    dice = random.Random(11)

    async def main() -> None:
        provider = WorkersProvider(tmp_path)
        await provider.connect()
        await provider.exchange("a", {"good": row(5.0), "bad": row(9.0)}, [])
        await provider.disconnect()
        with lmdb.open(str(tmp_path), max_dbs=3) as env:
            routes, log = env.open_db(b"routes"), env.open_db(b"log")
            with env.begin(write=True) as transaction:
                blob = transaction.get(digest("bad"), db=routes)
                assert blob is not None
                for number in range(2000):
                    mutated = bytearray(blob)
                    for _ in range(dice.randrange(1, 20)):
                        mutated[dice.randrange(len(mutated))] = dice.randrange(256)
                    junk = (
                        bytes(mutated[: dice.randrange(len(mutated) + 1)])
                        if number % 2
                        else dice.randbytes(99)
                    )
                    transaction.put(digest(f"junk-{number}"), junk, db=routes)
                    transaction.put((number + 10).to_bytes(8), digest(f"junk-{number}"), db=log)
                transaction.put(digest("bad"), blob[:-3], db=routes)
        await provider.connect()
        names = [f"junk-{number}" for number in range(2000)]
        answer = await provider.exchange("b", {"junk-1": row(1.0)}, ["good", "bad", *names])
        assert answer["good"].scar == pytest.approx(5.0)
        assert set(answer) == {"good"}
        assert provider.dropped_rows >= 2000
        assert await provider.get_vector("bad") is None
        assert await provider.get_vector("junk-1") is not None
        assert set(await provider.recall("n", 5000)) == {"good", "junk-1"}
        await provider.disconnect()

    asyncio.run(main())


@pytest.mark.slow
def test_whatever_a_record_is_made_of_only_sane_rows_come_out() -> None:
    dice = random.Random(5)
    rows = {f"node-{number}": (row(float(number)), 10.0 + number) for number in range(4)}
    blob = Record("r\ud800\0", 7, rows).encode()
    assert Record.decode(blob, 20.0) == Record("r\ud800\0", 7, rows)
    for number in range(100_000):
        junk = bytearray(blob if number % 3 else dice.randbytes(dice.randrange(300)))
        for _ in range(dice.randrange(1, 9)):
            if junk:
                junk[dice.randrange(len(junk))] = dice.randrange(256)
        record = Record.decode(bytes(junk[: dice.randrange(len(junk) + 1)] if number % 2 else junk), 20.0)
        if record is not None:
            assert 0 < len(record.route) <= 1024
            assert all(kept.is_sane() and 0.0 <= at <= 20.0 for kept, at in record.rows.values())


@pytest.mark.parametrize(
    "key, value", [(b"\xff" * 8, b"x" * 16), (b"long" * 20, b"x" * 16), (bytes(8), b"x" * 505)]
)
def test_a_log_that_makes_no_sense_harms_nobody(tmp_path: Path, key: bytes, value: bytes) -> None:
    async def main() -> None:
        provider = WorkersProvider(tmp_path)
        await provider.connect()
        await provider.exchange("a", {"r": row(50.0)}, [])
        await provider.disconnect()
        with lmdb.open(str(tmp_path), max_dbs=4) as env, env.begin(write=True) as transaction:
            for table in (b"log", b"news"):
                transaction.put(key, value, db=env.open_db(table, transaction))
        await provider.connect()
        for scar in (1.0, 90.0):
            await provider.exchange("a", {"r": row(scar)}, [])
            assert (await provider.exchange("b", {}, ["r"]))["r"].scar == pytest.approx(scar)
        assert await provider.list_routes(10) == ["r"]
        await provider.disconnect()

    asyncio.run(main())


def test_a_store_whose_clock_makes_no_sense_begins_anew(tmp_path: Path) -> None:
    async def main() -> None:
        provider = WorkersProvider(tmp_path)
        for rubbish in (b"rubbish", b"\xff" * 40):
            await provider.connect()
            await provider.exchange("a", {"r": row(5.0)}, [])
            await provider.disconnect()
            with lmdb.open(str(tmp_path), max_dbs=3) as env, env.begin(write=True) as transaction:
                transaction.put(b"clock", rubbish, db=env.open_db(b"meta", transaction))
            await provider.connect()
            assert await provider.get_vector("r") is None
            await provider.update_vector("r", row(2.0).vector)
            assert await provider.get_vector("r") == row(2.0).vector
            await provider.disconnect()

    asyncio.run(main())


@pytest.mark.parametrize("garbage", [b"", b"rubbish", os.urandom(50_000)])
def test_a_broken_file_is_set_aside_also_while_it_is_in_use(
    tmp_path: Path, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        provider = WorkersProvider(tmp_path)
        await provider.connect()
        for number in range(30):
            await provider.update_vector(f"r{number}-{'x' * 200}", row(5.0).vector)
        (tmp_path / "data.mdb").write_bytes(garbage[:20_000])
        await provider.update_vector("r", row(2.0).vector)
        assert await provider.list_routes(10) == ["r"]
        await provider.disconnect()
        (tmp_path / "data.mdb").write_bytes(garbage)
        await provider.connect()
        assert await provider.list_routes(10) == []
        await provider.disconnect()

    with caplog.at_level(logging.WARNING, "atrion"):
        asyncio.run(main())
    assert caplog.text.count("was not sound") == 2
    assert (tmp_path / "data.mdb.broken").read_bytes() == garbage


def test_a_folder_replaced_under_its_users_is_taken_up_again(tmp_path: Path) -> None:
    async def main() -> None:
        one, other = WorkersProvider(tmp_path / "s"), WorkersProvider(tmp_path / "s")
        await one.connect()
        await one.exchange("a", {"r": row(5.0)}, ["r"])
        (tmp_path / "s").rename(tmp_path / "old")
        await one.exchange("a", {"r": row(7.0)}, ["r"])
        await other.connect()
        answer = await other.exchange("b", {}, ["r"])
        assert answer["r"].scar == pytest.approx(7.0)
        await one.disconnect()
        await other.disconnect()

    asyncio.run(main())


def test_a_folder_that_cannot_be_used_is_a_failure_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    async def main() -> None:
        provider = WorkersProvider(tmp_path / "file" / "s")
        for _ in range(2):
            with pytest.raises(ProviderError, match="cannot be used"):
                await provider.connect()
        await provider.disconnect()
        with pytest.raises(ProviderError, match="not connected"):
            await provider.get_vector("r")

    asyncio.run(main())


# --- configuration -------------------------------------------------------------------------------------------


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
