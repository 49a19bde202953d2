"""A store of a host's workers whose records, files or folder are damaged: it harms nobody."""

from __future__ import annotations

import asyncio
import logging
import os
import random
from pathlib import Path

import lmdb
import pytest

from atrion import ProviderError
from atrion.providers._lmdb_records import Record, digest
from atrion.providers.workers import WorkersProvider
from packages.atrion.tests.integration.rows import row


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
