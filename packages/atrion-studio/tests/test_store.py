"""Nodes watched through the store they share: they publish while somebody watches, and only then."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from atrion import Atrion, ConfigurationError, Telemetry
from atrion.providers.workers import WorkersProvider
from atrion.testing import VirtualClock
from atrion.vitals import pack_vitals, route_vitals, unpack_vitals
from atrion_studio import AtrionStudio
from atrion_studio.merge import merged
from atrion_studio.store import StoreSource

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def rows_of(engine: Atrion) -> dict[str, dict[str, Any]]:
    return {name: route_vitals(engine.routes[name], seen) for name, seen in engine.snapshot().items()}


async def test_nodes_publish_while_somebody_watches_and_only_then(tmp_path: Path) -> None:
    url = f"workers://{tmp_path}"
    clock = VirtualClock()
    engine = Atrion(provider=url, node="n1", clock=clock)
    with engine.flow("search"):
        pass
    await engine.connect()
    try:
        await engine.pulse_once()
        assert not (tmp_path / "vitals").exists()
        source = StoreSource(url)
        rows, cluster = await source.read()
        assert (rows, cluster["nodes"], cluster["healthy"]) == ({}, [], True)
        clock.advance(1.1)
        await engine.pulse_once()
        rows, cluster = await source.read()
        assert rows["search"]["admitted"] == 1
        assert rows["search"]["tiers"]["normal"].keys() == {"admitted", "shed", "would_shed"}
        assert [node["node"] for node in cluster["nodes"]] == ["n1"]
        await source.close()
    finally:
        await engine.disconnect()


async def test_the_nodes_of_a_studio_are_joined_and_told_apart(tmp_path: Path) -> None:
    url = f"workers://{tmp_path}"
    engines = [Atrion(provider=url, node=name) for name in ("n1", "n2")]
    for engine in engines:
        with engine.flow("search"):
            pass
        await engine.connect()
    studio = AtrionStudio(StoreSource(url))
    try:
        end = time.monotonic() + 30
        found: dict[str, Any] = {"routes": {}}
        while len(found["routes"].get("search", {}).get("nodes", ())) < 2:
            assert time.monotonic() < end
            found = await studio.snapshot()
        assert found["routes"]["search"]["admitted"] == 2
        assert found["routes"]["search"]["nodes"].keys() == {"n1", "n2"}
    finally:
        studio.close()
        for engine in engines:
            await engine.disconnect()


async def test_a_store_that_cannot_be_used_is_shown_as_such(tmp_path: Path) -> None:
    url = f"workers://{tmp_path}/file"
    (tmp_path / "file").write_text("no folder")
    _, cluster = await StoreSource(url).read()
    assert not cluster["healthy"]
    assert cluster["failures"] == 1


def test_a_store_that_passes_nothing_on_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="nodes share"):
        StoreSource("memory:")


async def test_files_of_nodes_that_are_gone_are_removed(tmp_path: Path) -> None:
    import os

    provider = WorkersProvider(tmp_path)
    await provider.connect()
    await provider.publish_vitals("gone", b"x")
    (path,) = (tmp_path / "vitals").iterdir()
    assert (await provider.watch_vitals())["gone"][1] == b"x"
    os.utime(path, (time.time() - 30, time.time() - 30))
    assert await provider.watch_vitals() == {}
    os.utime(path, (time.time() - 90, time.time() - 90))
    await provider.watch_vitals()
    assert not path.exists()
    await provider.disconnect()


# --- what is published ----------------------------------------------------------------------------------------


def test_vitals_survive_packing() -> None:
    engine = Atrion()
    engine.update_physics("a", Telemetry(latency=0.1))
    rows = rows_of(engine)
    assert unpack_vitals(pack_vitals(rows)) == json.loads(json.dumps(rows))


def test_the_most_telling_routes_are_published_where_there_are_too_many() -> None:
    engine = Atrion()
    for n in range(510):
        engine.find(f"idle {n}")
    for _ in range(3):
        with engine.flow("busy"):
            pass
    found = unpack_vitals(pack_vitals(rows_of(engine)))
    assert found is not None
    assert len(found) == 500
    assert "busy" in found


def bad_rows() -> list[Any]:
    engine = Atrion()
    engine.find("a")
    good = rows_of(engine)["a"]
    return [
        [],
        {"a": 7},
        {"a": {}},
        {"a": good | {"resistance": "high"}},
        {"a": good | {"resistance": float("nan")}},
        {"a": good | {"mode": "sleeping"}},
        {"a": good | {"parts": {}}},
        {"a": good | {"tiers": {"low": 3}}},
        {"a": good | {"slo": {"latency": [], "error_rate": 1}}},
    ]


@pytest.mark.parametrize("number", range(len(bad_rows())))
def test_nonsense_in_a_store_is_passed_over(number: int) -> None:
    import zlib

    assert unpack_vitals(zlib.compress(json.dumps(bad_rows()[number]).encode())) is None


def test_bytes_that_are_no_vitals_are_passed_over() -> None:
    import zlib

    bomb = zlib.compress(b"[" + b" " * (8 << 20) + b"]")
    for packed in (b"", b"nonsense", bomb, zlib.compress(b"[" * 100_000)):
        assert unpack_vitals(packed) is None


def test_joined_rows_add_up_and_show_the_worst() -> None:
    engine = Atrion()
    engine.find("a")
    one = rows_of(engine)["a"] | {"admitted": 3, "in_flight": 1, "limit": 10.0}
    two = one | {"resistance": 77.0, "admitted": 4, "reason": "failing"}
    row = merged({"n1": {"a": one}, "n2": {"a": two}})["a"]
    assert (row["resistance"], row["reason"], row["admitted"]) == (77.0, "failing", 7)
    assert (row["in_flight"], row["limit"]) == (2, 20.0)
    assert row["nodes"]["n1"]["resistance"] == one["resistance"]


# --- the command ----------------------------------------------------------------------------------------------


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "atrion", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_one_snapshot_of_the_demo_as_json() -> None:
    done = command("studio", "--demo", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert set(found) == {"at", "routes", "cluster"}
    row = found["routes"]["GET /search"]
    assert {"resistance", "mode", "parts", "in_flight", "limit", "tiers", "why"} <= row.keys()
    assert row["tiers"]["normal"]["admitted"] > 0


def test_the_command_says_what_is_wrong() -> None:
    for arguments, text in (
        (("studio",), "--demo"),
        (("studio", "memory:"), "nodes share"),
        (("studio", "--demo", "--token", "short"), "at least 16"),
        (("studio", "workers:///tmp/x", "--scene", "calm"), "--demo"),
    ):
        done = command(*arguments)
        assert done.returncode == 2
        assert text in done.stderr
        assert "Traceback" not in done.stderr
