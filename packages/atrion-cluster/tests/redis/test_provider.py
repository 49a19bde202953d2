"""What nodes say to each other through the provider: rows, changes, sums, news and what is remembered."""

from __future__ import annotations

import asyncio
import math
import random
import struct
import time
from collections.abc import Callable

import pytest

from atrion.state import ClusterScar, blending
from atrion_cluster.redis import RedisClusterProvider, shard_session
from atrion_cluster.redis.connection import function_names
from atrion_cluster.redis.topology import keys_of, tags_of
from benchmarks.stores.redis_server import RedisServer
from store_rows import Provide, near, row, until

Make = Callable[[], RedisClusterProvider]


def test_an_exchange_tells_only_what_changed_by_more_than_a_deadband(provider_of: Make) -> None:
    async def main() -> None:
        a, b = provider_of(), provider_of()
        await a.connect()
        await b.connect()
        assert await b.exchange("b", {}, ["r", "s"]) == {}
        await a.exchange("a", {"r": row(40.0), "s": row(4.0)}, ["r", "s"])
        assert await b.exchange("b", {}, ["r", "s"]) == {"r": near(40.0, 20.0), "s": near(4.0, 20.0)}
        assert await b.exchange("b", {}, ["r", "s"]) == {}
        await a.exchange("a", {"r": row(40.05, 21.0)}, ["r", "s"])
        assert await b.exchange("b", {}, ["r", "s"]) == {}
        await a.exchange("a", {"r": row(41.0)}, ["r", "s"])
        assert await b.exchange("b", {}, ["r", "s"]) == {"r": near(41.0, 20.0)}
        await a.exchange("a", {"s": row(4.0, 40.0)}, ["r", "s"])
        assert await b.exchange("b", {}, ["r", "s"]) == {"s": near(4.0, 40.0)}
        assert await b.exchange("b", {}, ["r", "s", "t"]) == {}
        await asyncio.gather(a.disconnect(), b.disconnect())

    asyncio.run(main())


def test_many_rows_and_routes_go_in_parts(provider_of: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROWS", "ASKS"):
        monkeypatch.setattr(shard_session, name, 7)
    names = [f"r{number}" for number in range(30)]

    async def main() -> None:
        a, b = provider_of(), provider_of()
        await a.exchange("a", {name: row(40.0) for name in names}, names)
        heard: dict[str, ClusterScar] = {}
        for _ in range(5):
            await a.exchange("a", {}, names)
            heard |= await b.exchange("b", {}, names)
        assert set(heard) == set(names)
        assert all(scar == near(40.0, 20.0) for scar in heard.values())
        await asyncio.gather(a.disconnect(), b.disconnect())

    asyncio.run(main())


def test_more_changes_than_one_answer_takes_come_with_the_next(
    provider_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"r{number}" for number in range(30)]

    async def main() -> None:
        a, b = provider_of(), provider_of()
        await b.exchange("b", {}, names)
        monkeypatch.setattr(shard_session, "CHANGES", 8)
        await a.exchange("a", {name: row(40.0) for name in names}, names)
        parts = [await b.exchange("b", {}, names) for _ in range(5)]
        assert [len(part) for part in parts] == [8, 8, 8, 6, 0]
        assert len(set().union(*parts)) == 30
        await asyncio.gather(a.disconnect(), b.disconnect())

    asyncio.run(main())


def test_a_node_that_comes_back_under_its_name_does_not_count_twice(provider_of: Make) -> None:
    async def main() -> None:
        first, other = provider_of(), provider_of()
        await first.exchange("a", {"r": row(90.0)}, ["r"])
        await first.disconnect()
        again = provider_of()
        assert await again.exchange("a", {}, ["r"]) == {"r": ClusterScar(0.0, 0.0)}
        assert await again.exchange("a", {"r": row(10.0)}, ["r"]) == {"r": ClusterScar(0.0, 0.0)}
        assert await other.exchange("b", {}, ["r"]) == {"r": near(10.0, 20.0)}
        await asyncio.gather(again.disconnect(), other.disconnect())

    asyncio.run(main())


def test_the_sums_stay_exact_over_many_rows(
    provider_of: Make, redis_server: RedisServer, namespace: str
) -> None:
    """A hundred nodes, rows of three decay rates and more, replaced again and again: kept against added up anew."""
    dice = random.Random(5)
    audit, keys = function_names()["audit"], keys_of(tags_of(namespace, 1)[0], "n0")

    async def main() -> None:
        provider = provider_of()
        await provider.connect()
        for _ in range(60):
            node = f"n{dice.randrange(100)}"
            rows = {
                f"r{dice.randrange(20)}": row(
                    dice.choice([0.0, 1e-3, dice.uniform(0.0, 900.0)]),
                    dice.choice([0.0, 0.3, dice.uniform(0.0, 100.0)]),
                    dice.choice([0.1, 0.8, 2.0]),
                )
                for _ in range(50)
            }
            await provider.exchange(node, rows, [])
        for number in range(20):
            answer = redis_server.do("FCALL", audit, len(keys), *keys, "n0", f"r{number}")
            w, ws, exact_w, exact_ws = struct.unpack("<4d", answer)
            assert math.isclose(w, exact_w, rel_tol=1e-9)
            assert math.isclose(ws, exact_ws, rel_tol=1e-9, abs_tol=1e-7)
        await provider.disconnect()

    asyncio.run(main())


def test_a_fifth_decay_rate_joins_the_nearest(provider_of: Make) -> None:
    async def main() -> None:
        provider, other = provider_of(), provider_of()
        for number in range(8):
            await provider.exchange(f"n{number}", {"r": row(80.0, 10.0, 0.01 * number)}, ["r"])
        assert await other.exchange("b", {}, ["r"]) == {"r": near(80.0, 80.0)}
        for number in range(8):
            await provider.exchange(f"n{number}", {"r": row(0.0, 10.0, 0.01 * number)}, ["r"])
        assert await other.exchange("b", {}, ["r"]) == {"r": near(0.0, 80.0)}
        await asyncio.gather(provider.disconnect(), other.disconnect())

    asyncio.run(main())


def test_news_is_heard_in_the_same_moment_by_the_others_alone(provider_of: Make) -> None:
    async def main() -> None:
        a, b = provider_of(), provider_of()
        await asyncio.gather(a.connect(), b.connect())
        await a.exchange("a", {"r": row(5.0)}, ["r"])
        await b.exchange("b", {"r": row(6.0)}, ["r"])
        heard: asyncio.Queue[tuple[str, ClusterScar]] = asyncio.Queue()
        own: list[str] = []
        b.listen("b", lambda route, scar: heard.put_nowait((route, scar)))
        end = a.listen("a", lambda route, _: own.append(route))
        await a.exchange("a", {"r": row(60.0)}, ["r"])
        assert await asyncio.wait_for(heard.get(), 5.0) == ("r", near(60.0, 20.0))
        await a.exchange("a", {"r": row(65.0)}, ["r"])  # a rise, and no jump
        await a.exchange("a", {"r": row(140.0)}, ["r"])
        assert await asyncio.wait_for(heard.get(), 5.0) == ("r", near(140.0, 20.0))
        end()
        assert own == []
        assert heard.empty()
        await asyncio.gather(a.disconnect(), b.disconnect())

    asyncio.run(main())


def test_a_hundred_busy_healthy_nodes_outvote_one_that_is_broken(provider_of: Make) -> None:
    async def main() -> None:
        provider = provider_of()
        for number in range(100):
            await provider.exchange(f"n{number}", {"r": row(0.0, 100.0)}, ["r"])
        await provider.exchange("broken", {"r": row(1e6, 1e9)}, ["r"])
        heard = await provider.exchange("n0", {}, ["r"])
        assert heard["r"].scar == pytest.approx(blending.SCAR_CAP / 100.0, rel=0.2)  # one vote of a hundred
        idle = await provider.exchange("idle", {}, ["r"])
        assert idle["r"].scar < blending.SCAR_CAP / 80.0
        await provider.disconnect()

    asyncio.run(main())


def test_namespaces_do_not_reach_each_other(redis_server: RedisServer, provide: Provide) -> None:
    async def main() -> None:
        one = provide(redis_server.url, sync={"channel": "shared"}, namespace="one")
        two = provide(redis_server.url, sync={"channel": "shared"}, namespace="two")
        await asyncio.gather(one.connect(), two.connect())
        heard: list[str] = []
        two.listen("b", lambda route, _: heard.append(route))
        await one.exchange("a", {"r": row(5.0)}, ["r"])
        await one.exchange("a", {"r": row(500.0)}, ["r"])
        assert await two.exchange("b", {}, ["r"]) == {}
        assert await two.recall("a", 10) == {}
        assert await two.list_nodes() == ["b"]
        assert await two.list_routes(10) == []
        await until(lambda: two.dropped == 1, "the message comes, and is not for it")
        assert heard == []
        await asyncio.gather(one.disconnect(), two.disconnect())

    asyncio.run(main())


def test_recall_gives_the_mean_of_the_others_as_it_is_now(provider_of: Make) -> None:
    async def main() -> None:
        provider = provider_of()
        await provider.exchange("a", {"r": row(100.0, 10.0, 1.0), "s": row(1.0)}, [])
        await asyncio.sleep(0.5)
        await provider.exchange("b", {"r": row(20.0, 10.0, 1.0)}, [])
        asked = time.monotonic()
        found = await provider.recall("c", 10)
        late = time.monotonic() - asked
        remembered = found["r"]
        now = remembered.vector.scar_tissue * math.exp(-remembered.age)
        ages = (0.5, 0.55 + late)
        faded = [math.exp(-age / blending.EVIDENCE_SECONDS) for age in ages]
        means = [(w * 100.0 * math.exp(-age) + 20.0) / (w + 1.0) for w, age in zip(faded, ages, strict=True)]
        low, high = min(means), max(means)
        assert 0.97 * low <= now <= high
        assert list(await provider.recall("c", 1)) == ["r"]
        assert await provider.recall("c", 0) == {}
        await provider.disconnect()

    asyncio.run(main())


def test_vitals_are_passed_on_while_somebody_watches(provider_of: Make) -> None:
    async def main() -> None:
        node, watcher = provider_of(), provider_of()
        await node.connect()
        await watcher.connect()
        assert not await node.is_watched()
        await node.exchange("n é", {"r": row(1.0)}, ["r"])
        assert await watcher.watch_vitals() == {}
        assert await node.is_watched()
        await node.publish_vitals("n é", b"\x00vitals")
        found = await watcher.watch_vitals()
        age, vitals = found["n é"]
        assert vitals == b"\x00vitals"
        assert 0.0 <= age < 5.0
        await node.disconnect()
        await watcher.disconnect()

    asyncio.run(main())
