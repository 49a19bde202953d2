"""The past of routes: fine for minutes, coarse for hours, in memory of a fixed size."""

from __future__ import annotations

from typing import Any

from atrion_studio.history import BYTES_PER_ROUTE, COLUMNS, STEPS, History

PARTS = dict.fromkeys(
    ("base", "latency", "errors", "saturation", "momentum", "scar", "cluster", "queue"), 0.0
)


def row(ohms: float, admitted: int = 1, mode: str = "operational") -> dict[str, Any]:
    return {
        "resistance": ohms,
        "parts": PARTS | {"base": ohms},
        "mode": mode,
        "in_flight": 3,
        "limit": 20.0,
        "latency": 0.05,
        "gamma": 0.3,
        "admitted": admitted,
        "shed": 0,
        "rates": {"admitted": 10.0, "shed": 2.5},
    }


def filled(seconds: int, **options: Any) -> History:
    history = History(**options)
    for at in range(seconds):
        history.record(1000.0 + at, {"a": row(float(at))})
    return history


def test_recent_minutes_come_in_fine_steps_and_hours_in_coarse_ones() -> None:
    history = filled(4000)
    recent = history.of("a", 1000.0 + 3800)
    assert recent["step"] == 1.0
    assert recent["columns"]["resistance"] == [float(at) for at in range(3800, 4000)]
    old = history.of("a", 1000.0)
    assert old["step"] == 10.0
    assert old["columns"]["resistance"][:3] == [0.0, 10.0, 20.0]
    assert len(old["at"]) == 400


def test_a_moment_of_the_past_has_all_its_routes() -> None:
    history = filled(100)
    found = history.at(1050.5)
    assert found["at"] == 1050.0
    assert found["routes"]["a"]["resistance"] == 50.0
    assert found["routes"]["a"]["mode"] == "operational"
    assert found["routes"]["a"]["rates"] == {"admitted": 10.0, "shed": 2.5}
    assert history.at(0.0)["at"] == 1000.0
    assert History().at(5.0) == {"at": None, "routes": {}}


def test_a_route_that_is_gone_leaves_a_gap() -> None:
    history = filled(3)
    history.record(1003.0, {})
    history.record(1004.0, {"a": row(7.0)})
    assert history.of("a", 1000.0)["columns"]["resistance"] == [0.0, 1.0, 2.0, None, 7.0]


def test_memory_is_bounded() -> None:
    assert BYTES_PER_ROUTE == sum(size for _, size in STEPS) * len(COLUMNS) * 4 < 70_000
    history = History(max_routes=2)
    history.record(1.0, {name: row(1.0) for name in ("a", "b", "c")})
    assert set(history.at(1.0)["routes"]) == {"a", "b"}
    unused = History()
    unused.record(1.0, {"never asked": row(1.0, admitted=0)})
    assert unused.at(1.0)["routes"] == {}


def test_of_an_unknown_route_there_is_nothing() -> None:
    found = filled(3).of("z", 1000.0)
    assert found["columns"]["resistance"] == [None] * 3


def test_transitions_are_kept_with_their_route() -> None:
    history = filled(10)
    history.note(1004.0, "a", "operational", "circuit_breaker", 120.0)
    history.note(1005.0, "b", "operational", "circuit_breaker", 120.0)
    assert [change["at"] for change in history.of("a", 1000.0)["transitions"]] == [1004.0]
    assert history.of("a", 1006.0)["transitions"] == []


def test_a_clock_that_is_set_back_goes_on() -> None:
    history = filled(5)
    history.record(900.0, {"a": row(42.0)})
    assert 42.0 in history.of("a", 0.0)["columns"]["resistance"]


def test_trends_are_the_last_minute_of_every_route() -> None:
    assert filled(100).trends() == {"a": [float(at) for at in range(40, 100)]}
    assert History().trends() == {}
