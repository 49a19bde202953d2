"""A hundred thousand payloads that no friend has sent: nothing but counted drops."""

from __future__ import annotations

import asyncio
import math
import random
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from redis import ResponseError

from atrion.state import ClusterScar, NodeRow, PhysicsVector, blending
from atrion_cluster.redis import RedisClusterProvider
from atrion_cluster.redis.codec import (
    Sums,
    read_answer,
    read_news,
    read_own,
    read_recall,
    read_remembered,
    read_update,
)
from atrion_cluster.redis.connection import function_names
from atrion_cluster.redis.shard_session import ShardSession
from atrion_cluster.redis.topology import _slots, keys_of, tags_of
from benchmarks.stores.redis_server import RedisServer

ODD = [0.0, -0.0, -1.0, 1e-320, 1e308, 1e300, math.inf, -math.inf, math.nan, 1.0, 149.0, 1e6, 2.0**63]


def doubles(dice: random.Random, count: int) -> bytes:
    return struct.pack(f"<{count}d", *(dice.choice([*ODD, dice.uniform(0.0, 200.0)]) for _ in range(count)))


def mutated(dice: random.Random, text: bytes) -> bytes:
    """``text`` with bits flipped, cut, doubled, or with bytes put in."""
    found = bytearray(text)
    for _ in range(dice.randrange(4)):
        kind = dice.randrange(5)
        place = dice.randrange(len(found) + 1)
        if kind == 0 and place < len(found):
            found[place] ^= 1 << dice.randrange(8)
        elif kind == 1:
            del found[place:]
        elif kind == 2:
            found[place:place] = dice.randbytes(dice.randrange(9))
        elif kind == 3:
            found += found[place:]
        elif place + 8 <= len(found):
            found[place : place + 8] = doubles(dice, 1)
    return bytes(found)


def anything(dice: random.Random, depth: int = 2) -> Any:
    """Anything that a reply may be made of."""
    kind = dice.randrange(9 if depth else 6)
    if kind == 0:
        return dice.choice([None, -1, 0, 1, 2**63, True])
    if kind < 3:
        return dice.randbytes(dice.choice([0, 1, 8, 16, 24, 32, 40, 48, 56, 100, 1025]))
    if kind < 5:
        return doubles(dice, dice.choice([1, 2, 4, 5, 6, 7]))
    if kind == 5:
        return dice.choice([b"r", b"\xff", b"", b"x" * 2000, "text", b"1.5"])
    return [anything(dice, depth - 1) for _ in range(dice.randrange(7))]


def answers(dice: random.Random) -> Iterator[Any]:
    """Replies of an exchange, nearly right."""
    good = [
        b"17.5",
        3,
        struct.pack("<d", 100.0),
        0,
        [b"r", doubles(dice, 2)],
        [b"s", doubles(dice, 2), doubles(dice, 7)],
    ]
    yield good
    good[dice.randrange(6)] = anything(dice)
    yield good
    good[dice.randrange(6)] = anything(dice)
    yield good


def sane(*scars: ClusterScar) -> bool:
    return all(0.0 <= s.scar <= blending.SCAR_CAP and 0.0 <= s.evidence < math.inf for s in scars)


@pytest.mark.slow
def test_what_is_read_is_sane_or_dropped() -> None:
    dice = random.Random(20260101)
    news = struct.pack("<dddHH", 100.0, 5.0, 50.0, 5, 4) + b"tag:1node" + b"route"
    update = (
        struct.pack("<H4d", 3, 50.0, 1.0, 5.0, 7.0)[:2] + b"abc" + struct.pack("<4d", 50.0, 1.0, 5.0, 7.0)
    )
    session = ShardSession("node", "tag:1", "channel")
    session.follow(["r", "s"])
    tried = kept = 0
    for _ in range(20_000):
        heard = read_news(mutated(dice, news))
        if heard is not None:
            kept += 1
            assert sane(heard.sums.without(None), heard.sums.without(read_own(doubles(dice, 7), 0.0)))
        found = read_update(mutated(dice, update))
        assert found is None or found[1].is_sane()
        for answer in answers(dice):
            session.take({"r": NodeRow(PhysicsVector(1.0, 1.0, 5.0, 1.0), 5.0, 0.1)}, 0.0)
            session.request(0.0)
            believed = session.reply(answer, 0.0)
            if believed is None:
                session.failed()
            else:
                assert all(sane(s) or math.isnan(s.scar) for s in believed.values())
            read = read_answer(answer, 0.0)
            assert read is None or all(o.row.is_sane() for o in read.owns.values())
            tried += 1
        page = read_recall(anything(dice))
        assert page is None or all(remembered.is_sane() for remembered in page[1].values())
        remembered = read_remembered(anything(dice))
        assert remembered is None or remembered.is_sane()
        assert isinstance(_slots(anything(dice, 3), ("h", 1)), dict)
        tried += 5
    assert tried >= 100_000
    assert 0 < kept < 20_000
    assert session.dropped > 0


def test_ones_own_part_taken_out_never_leaves_nonsense() -> None:
    dice = random.Random(5)
    for _ in range(20_000):
        row = NodeRow(PhysicsVector(1.0, 0.0, dice.uniform(0.0, 300.0), 0.0), dice.uniform(0.0, 200.0), 0.8)
        own = read_own(
            struct.pack("<7d", 1.0, 0.0, row.vector.scar_tissue, 0.0, row.evidence, 0.8, 100.0), 0.0
        )
        assert own is not None
        evidence = min(row.evidence, 100.0)
        rounding = 1.0 + dice.uniform(-1e-12, 1e-12)
        scars = evidence * min(row.vector.scar_tissue, blending.SCAR_CAP) * rounding
        assert Sums(evidence, scars, 100.0).without(own) == ClusterScar(0.0, 0.0)


def fuzzed(server: RedisServer, payloads: Callable[[Any], None], total: int, chunk: int = 1000) -> None:
    with server.client() as client:
        for _ in range(total // chunk):
            with client.pipeline(transaction=False) as pipe:
                for _ in range(chunk):
                    payloads(pipe)
                pipe.execute(raise_on_error=False)


def test_garbage_in_the_server_harms_nobody(own_server: RedisServer, namespace: str, provide: Any) -> None:
    """The functions meet garbage in every key and in every argument; the node hears the other all the same."""
    dice = random.Random(11)
    (tag,) = tags_of(namespace, 1)
    meta, routes, changed, nodes, own = keys_of(tag, "a")
    row = NodeRow(PhysicsVector(50.0, 1.0, 40.0, 7.0), 50.0, 0.0)
    record = struct.pack("<14d", *[1.0] * 14)

    def payload(pipe: Any) -> None:
        name = dice.choice([b"r", b"q", b"", b"\xff\xfe", b"x" * 3000, dice.randbytes(5)])
        text = dice.choice(
            [mutated(dice, record), doubles(dice, dice.choice([7, 12, 14, 16, 20, 22])), dice.randbytes(9)]
        )
        number = dice.choice(["nan", "1e400", "-5", "", "99999999999999999999", "7", dice.randbytes(3)])
        match dice.randrange(7):
            case 0:
                pipe.execute_command("HSET", routes, name, text)
            case 1:
                pipe.execute_command("HSET", own, name, text)
            case 2:
                pipe.execute_command("ZADD", changed, dice.choice(["inf", "-inf", 1e17, 5, 0]), name)
            case 3:
                pipe.execute_command("ZADD", nodes, dice.choice(["inf", "-inf", 1e17, 5]), name)
            case 4:
                pipe.execute_command("HSET", meta, dice.choice(["epoch", "version", "news_count"]), number)
            case 5:
                pipe.execute_command("PUBLISH", f"{namespace}:sync", text)
            case 6:
                pipe.execute_command("PUBLISH", f"{namespace}:sync/r", text)

    async def main() -> None:
        a: RedisClusterProvider = provide(own_server.url)
        b: RedisClusterProvider = provide(own_server.url)
        vectors: list[PhysicsVector] = []
        news: list[ClusterScar] = []
        await asyncio.gather(a.connect(), b.connect())
        a.subscribe("r", vectors.append)
        a.listen("a", lambda _, scar: news.append(scar))
        for turn in range(60):
            fuzzed(own_server, payload, 500, 500)
            await b.exchange("b", {"r": row}, ["r"])
            answer = await a.exchange("a", {"r": row}, ["r", "q"])
            assert sane(*(s for s in answer.values() if s.scar == s.scar))
            for found in (await a.recall("a", 100)).values():
                assert found.is_sane()
            vector = await a.get_vector("r")
            assert vector is None or vector.is_sane()
            assert len(await a.list_nodes()) <= 10_000
            if turn % 10 == 9:  # it heals by itself within two pulses, once the garbage ends
                own_server.do("DEL", meta, routes, changed, nodes, own)
                heard: dict[str, ClusterScar] = {}
                for _ in range(2):
                    await b.exchange("b", {"r": row}, ["r"])
                    heard |= await a.exchange("a", {"r": row}, ["r"])
                assert abs(heard["r"].scar - 40.0) < 1e-6
        assert all(vector.is_sane() for vector in vectors)
        assert sane(*news)
        assert a.dropped > 0
        await asyncio.gather(a.disconnect(), b.disconnect())

    asyncio.run(main())


def test_garbage_in_the_arguments_is_refused_and_counted(
    own_server: RedisServer, namespace: str, provide: Any
) -> None:
    dice = random.Random(12)
    (tag,) = tags_of(namespace, 1)
    good = struct.pack("<6d", 50.0, 1.0, 5.0, 7.0, 10.0, 0.1)

    async def main() -> None:
        a: RedisClusterProvider = provide(own_server.url)
        await a.connect()
        client = own_server.client()
        exchange, keys = function_names()["exchange"], keys_of(tag, "n")
        refused = 0
        for _ in range(300):
            rows: list[bytes] = []
            for _ in range(50):
                rows += (dice.choice([b"r", b"", b"x" * 2000, dice.randbytes(4)]), mutated(dice, good))
            given = ("n", "", 0, "b", 1000, "c", tag, 50, *rows, b"r")
            answer = client.execute_command("FCALL", exchange, len(keys), *keys, *given)
            read = read_answer(answer, 0.0)
            assert read is not None
            refused += read.refused
            assert sane(
                *(s.without(None) for s in (*read.sums.values(), *read.told.values()) if s is not None)
            )
        assert 0 < refused < 15_000
        for _ in range(2000):
            arguments = [
                dice.choice([b"", b"n", b"-1", b"1e9", b"nan", dice.randbytes(6)])
                for _ in range(dice.randrange(14))
            ]
            with suppress(ResponseError):
                client.execute_command("FCALL", exchange, len(keys), *keys, *arguments)
        client.close()
        assert await a.exchange("a", {}, ["other"]) == {}
        await a.disconnect()

    asyncio.run(main())
