"""Readings of an engine: bounded in routes, and no count is lost, told twice or taken back."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from atrion import Atrion
from atrion.control.totals import ADMITTED
from atrion.metrics.host import HostReadings
from atrion.metrics.names import OTHER, STORE_HEALTHY, WORKER
from atrion.metrics.reading import Reader, Reading, merged
from atrion.testing import VirtualClock

NORMAL = ADMITTED + 2


def call(engine: Atrion, route: str, times: int = 1) -> None:
    for _ in range(times):
        with engine.flow(route):
            pass


def admitted(reading: Reading) -> dict[str, float]:
    return {route: seen.counts[NORMAL] for route, seen in reading.routes.items()}


def test_the_busiest_routes_have_series_and_the_others_share_one(engine: Atrion) -> None:
    reader = Reader(engine, most_routes=2)
    for route, times in {"a": 1, "b": 5, "c": 2, "d": 4}.items():
        call(engine, route, times)
    assert admitted(reader.read()) == {"b": 5, "d": 4, OTHER: 3}


def test_a_series_stays_where_it_is(engine: Atrion) -> None:
    reader = Reader(engine, most_routes=1)
    call(engine, "a", 2)
    call(engine, "b")
    reader.read()
    call(engine, "b", 100)
    assert admitted(reader.read()) == {"a": 2, OTHER: 101}


def test_evicted_routes_move_to_the_others_with_what_was_not_told_yet(clock: VirtualClock) -> None:
    engine = Atrion(clock=clock, max_routes=1)
    reader = Reader(engine)
    call(engine, "a", 2)
    assert admitted(reader.read()) == {"a": 2}
    call(engine, "a", 3)
    call(engine, "b")
    assert admitted(reader.read()) == {"b": 1, OTHER: 3}


def test_no_series_ever_falls_and_no_call_is_lost(clock: VirtualClock) -> None:
    engine = Atrion(clock=clock, max_routes=8)
    reader = Reader(engine, most_routes=4)
    rng = random.Random(7)
    told: dict[str, float] = {}
    increase = calls = 0.0
    for step in range(300):
        for _ in range(rng.randrange(6)):
            clock.advance(0.01)
            call(engine, f"r{step // 10 + rng.randrange(6)}")
            calls += 1
        seen = admitted(reader.read())
        for route, count in seen.items():
            before = told.get(route, 0.0)
            assert count >= before
            increase += count - before
        told |= seen
    assert increase == calls


def test_a_reading_travels_as_json(engine: Atrion) -> None:
    call(engine, "a", 3)
    reader = Reader(engine)
    call(engine, "a", 2)
    reading = reader.read()
    assert Reading.from_dict(json.loads(json.dumps(reading.as_dict()))) == reading


def test_processes_are_added_up_and_the_worst_gauge_counts(clock: VirtualClock) -> None:
    engines = [Atrion(clock=clock) for _ in range(2)]
    readers = [Reader(engine) for engine in engines]
    for engine, times in zip(engines, (1, 2), strict=True):
        call(engine, "a", times)
    readings = [reader.read() for reader in readers]
    readings[0].gauges[STORE_HEALTHY.name] = 0.0
    whole = merged(readings)
    assert admitted(whole) == {"a": 3}
    assert whole.gauges[WORKER.name] == 2
    assert whole.gauges[STORE_HEALTHY.name] == 0
    assert whole.routes["a"].gauges["limit"] == 2 * readings[1].routes["a"].gauges["limit"]


def test_processes_together_are_bounded_too(clock: VirtualClock) -> None:
    readings = []
    for number in range(3):
        engine = Atrion(clock=clock)
        reader = Reader(engine)
        call(engine, f"r{number}")
        readings.append(reader.read())
    assert admitted(merged(readings, most_routes=2)) == {"r0": 1, "r1": 1, OTHER: 1}


def test_what_a_worker_does_not_understand_is_left_out(engine: Atrion, tmp_path: Path) -> None:
    reader = Reader(engine)
    call(engine, "a")
    host = HostReadings(tmp_path, reader.read)
    for name, text in {
        "x.json": "{",
        "y.json": "[1]",
        "departed": '{"routes": {"a": [[[9999, 1]], {}]}}',
    }.items():
        (tmp_path / name).write_text(text)
    assert admitted(host.collect()) == {"a": 1}


def test_a_folder_that_cannot_be_used_says_so(engine: Atrion, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        HostReadings(tmp_path / "file" / "metrics", Reader(engine).read).collect()
