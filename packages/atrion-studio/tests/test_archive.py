"""The Studio of an engine whose persistence is PostgreSQL: it remembers what was before the Studio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from atrion import Atrion, PhysicsVector
from atrion_cluster import PostgresPersistenceAdapter
from atrion_studio import AtrionStudio
from atrion_studio.archive import Archive
from atrion_studio.history import History
from benchmarks.stores.postgres_server import PostgresServer
from studio_server import chromium, mounted, until


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    found = PostgresServer()
    yield found
    found.remove()


@pytest.fixture
def page() -> Iterator[Page]:
    """A page on which no script may fail."""
    with chromium() as browser:
        opened, wrong = browser.new_page(), list[str]()
        opened.on("pageerror", lambda error: wrong.append(str(error)))
        expect.set_options(timeout=30_000)
        yield opened
    assert wrong == []


@contextmanager
def studio(engine: Atrion) -> Iterator[str]:
    with mounted(AtrionStudio(engine).start()) as url:
        yield f"{url}/studio/api"


@contextmanager
def persisting(server: PostgresServer, namespace: str) -> Iterator[Atrion]:
    """An engine with a route that PostgreSQL remembers to have been broken an hour ago, and weary half an hour ago."""
    for resistance in (120.0, 30.0):
        write(server, namespace, PhysicsVector(resistance, 0.0, resistance - 10.0, 1.0))
        server.execute(
            "UPDATE atrion_history SET kept_at = kept_at - interval '30 minutes' "
            f"WHERE namespace = '{namespace}'"
        )
    store = PostgresPersistenceAdapter(server.url(), namespace=namespace, history=7200.0, deadline=10.0)
    with Atrion(persistence=store) as engine:
        with engine.flow("payments"):
            pass
        yield engine


def write(server: PostgresServer, namespace: str, vector: PhysicsVector) -> None:
    async def main() -> None:
        other = PostgresPersistenceAdapter(server.url(), namespace=namespace, history=7200.0, deadline=10.0)
        await other.connect()
        await other.update_vector("payments", vector)
        await other.disconnect()

    with ThreadPoolExecutor(1) as thread:  # in this one, the browser's driver may run a loop
        thread.submit(asyncio.run, main()).result()


def get(url: str, path: str, **query: Any) -> Any:
    answer = httpx.get(f"{url}/{path}", params=query, timeout=30.0)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_past_begins_with_what_postgresql_keeps(server: PostgresServer) -> None:
    with persisting(server, "studio") as engine, studio(engine) as url:
        # The Studio's own points begin with it, after those that are stored.
        until(lambda: "payments" in get(url, "snapshot")["routes"])
        until(
            lambda: (
                get(url, "history", route="payments", seconds=10)["columns"]["limit"][-1:] not in ([], [None])
            )
        )
        now = time.time()
        told = get(url, "meta")["history"]
        assert told["from"] == told["stored_from"] == pytest.approx(now - 3600.0, abs=120.0)
        assert told["to"] >= now - 60.0

        whole = get(url, "history", route="payments", seconds=7000)
        assert whole["at"] == sorted(whole["at"])
        resistances, limits = whole["columns"]["resistance"], whole["columns"]["limit"]
        assert resistances[:2] == [120.0, 30.0]
        assert whole["columns"]["part_scar"][:2] == [110.0, 20.0]
        assert limits[:2] == [None, None]
        assert limits[-1] is not None
        assert {len(column) for column in whole["columns"].values()} == {len(whole["at"])}

        recent = get(url, "history", route="payments", seconds=600)
        assert 120.0 not in recent["columns"]["resistance"]
        ended = get(url, "history", route="payments", seconds=3000, until=now - 2400)
        assert ended["columns"]["resistance"] == [120.0]

        then = get(url, "moment", at=now - 2400)
        assert then["stored"] is True
        assert then["routes"]["payments"]["resistance"] == 120.0
        assert then["routes"]["payments"]["parts"] == {"scar": 110.0}
        assert then["routes"]["payments"]["rates"] == {"admitted": None, "shed": None}
        assert "stored" not in get(url, "moment", at=time.time())


def test_the_time_page_goes_back_to_it(server: PostgresServer, page: Page) -> None:
    with persisting(server, "page") as engine, studio(engine) as url:
        until(lambda: "payments" in get(url, "snapshot")["routes"])
        page.goto(f"{url.removesuffix('api')}#/time?at={time.time() - 2400:.0f}")
        expect(page.locator("h1")).to_contain_text("40 min")
        row = page.locator("tbody tr", has_text="payments")
        expect(row).to_contain_text("120.0 Ω")
        expect(row).to_contain_text("–")
        expect(page.locator("main")).to_contain_text("From the store")
        expect(page.get_by_role("button", name="Resistance of payments")).to_be_visible()


def test_requests_that_come_at_once_all_see_what_is_stored(server: PostgresServer) -> None:
    with persisting(server, "at-once") as engine:
        archive = Archive(engine, History())

        async def ask() -> list[dict[str, Any]]:
            return await asyncio.gather(*(archive.at(time.time() - 2400) for _ in range(3)))

        assert [found.get("stored") for found in asyncio.run(ask())] == [True] * 3
        archive.close()


def test_a_server_that_is_gone_leaves_the_studios_own_past(server: PostgresServer) -> None:
    dead = PostgresPersistenceAdapter("postgresql://nobody@127.0.0.1:1/none", history=60.0)
    engine = Atrion(persistence=dead)  # not connected, as it cannot be
    with engine.flow("payments"):
        pass
    with studio(engine) as url:
        until(lambda: get(url, "meta")["history"]["from"] is not None)
        assert get(url, "meta")["history"]["stored_from"] is None
        assert "payments" in get(url, "moment", at=0.0)["routes"]
        assert len(get(url, "history", route="payments", seconds=7000)["at"]) > 0


def test_without_a_history_nothing_is_stored(server: PostgresServer) -> None:
    for engine in (
        Atrion(),
        Atrion(persistence=PostgresPersistenceAdapter(server.url(), namespace="no-history")),
    ):
        with studio(engine) as url:
            until(lambda url=url: get(url, "meta")["history"]["from"] is not None)
            assert get(url, "meta")["history"]["stored_from"] is None
