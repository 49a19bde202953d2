"""The Studio mounted in an application and read over real HTTP."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from atrion import Atrion, Telemetry
from atrion.testing import VirtualClock
from atrion_studio import AtrionStudio
from studio_server import mounted, until


def frames(response: httpx.Response) -> Iterator[dict[str, Any]]:
    """Frames as a page sees them: the small ones joined with the full one that they add to."""
    full: dict[str, Any] = {}
    for line in response.iter_lines():
        if line.startswith("data: "):
            frame = json.loads(line[6:])
            if frame["full"]:
                full = frame
            assert frame["key"] == full["key"]
            yield frame | {"routes": full["routes"] | frame["routes"]}


@pytest.fixture
def engine() -> Atrion:
    return Atrion(node="n1")


def test_a_snapshot_has_every_route_and_the_cluster(engine: Atrion) -> None:
    with mounted(AtrionStudio(engine)) as url:
        httpx.get(f"{url}/studio/api/snapshot")  # from now on, tiers are counted
        with engine.flow("search", "low"):
            pass
        found = httpx.get(f"{url}/studio/api/snapshot").json()
        assert httpx.get(f"{url}/studio/api/meta").json()["title"] == "node n1"
        assert httpx.get(url).text == "shop"
    row = found["routes"]["search"]
    assert row["mode"] == "bootstrap"
    assert row["resistance"] == 12.0
    assert row["tiers"]["low"] == {"admitted": 1, "shed": 0, "would_shed": 0}
    assert row["why"] is None
    assert {"parts", "in_flight", "limit"} <= row.keys()
    assert found["cluster"]["node"] == "n1"
    assert found["at"] > 0


def test_viewers_get_frames_as_things_change(engine: Atrion) -> None:
    with (
        mounted(AtrionStudio(engine)) as url,
        httpx.stream("GET", f"{url}/studio/api/events", timeout=30) as response,
    ):
        assert response.headers["content-type"].startswith("text/event-stream")
        stream = frames(response)
        assert next(stream)["routes"] == {}
        with engine.flow("search"):
            pass
        seen = next(frame for frame in stream if frame["routes"])
        assert seen["routes"]["search"]["admitted"] == 1


def test_routes_that_rest_are_sent_once(engine: Atrion) -> None:
    for n in range(200):
        with engine.flow(f"route {n}"):
            pass
    with (
        mounted(AtrionStudio(engine)) as url,
        httpx.stream("GET", f"{url}/studio/api/events", timeout=60) as response,
    ):
        sent = (json.loads(line[6:])["routes"] for line in response.iter_lines() if line.startswith("data: "))
        assert next(sent).keys() == engine.snapshot().keys()
        while next(sent):
            pass  # new routes are learned of for a moment
        with engine.flow("route 7"):
            pass
        assert "route 7" in next(routes for routes in sent if routes)


def test_all_viewers_get_the_same_frame(engine: Atrion) -> None:
    with engine.flow("a"):
        pass
    with (
        mounted(AtrionStudio(engine)) as url,
        httpx.stream("GET", f"{url}/studio/api/events", timeout=30) as one,
        httpx.stream("GET", f"{url}/studio/api/events", timeout=30) as two,
    ):
        first, second = frames(one), frames(two)
        times = {next(first)["at"] for _ in range(6)}
        assert times & {next(second)["at"] for _ in range(6)}


def test_a_viewer_that_never_reads_costs_frames_and_nobody_else(engine: Atrion) -> None:
    for n in range(200):
        with engine.flow(f"route {n}"):
            pass
    with mounted(AtrionStudio(engine)) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as dead:
            dead.sendall(b"GET /studio/api/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            with httpx.stream("GET", f"{url}/studio/api/events", timeout=30) as response:
                stream = frames(response)
                for _ in range(8):
                    assert len(next(stream)["routes"]) == 200
            assert httpx.get(url).text == "shop"


def test_history_grows_and_a_moment_can_be_looked_at(engine: Atrion) -> None:
    with mounted(AtrionStudio(engine)) as url:
        with engine.flow("search"):
            pass

        def history() -> dict[str, Any]:
            found: dict[str, Any] = httpx.get(f"{url}/studio/api/history", params={"route": "search"}).json()
            return found

        httpx.get(f"{url}/studio/api/snapshot")
        until(lambda: len(history()["at"]) >= 2)
        found = history()
        assert found["columns"]["resistance"][0] == 12.0
        moment = httpx.get(f"{url}/studio/api/moment", params={"at": found["at"][0]}).json()
        assert moment["routes"]["search"]["resistance"] == 12.0
        assert httpx.get(f"{url}/studio/api/history", params={"seconds": "soon"}).status_code == 400


def test_a_breaker_that_opens_is_a_transition_and_has_a_sentence() -> None:
    clock = VirtualClock()
    engine = Atrion(clock=clock)

    def feed(count: int, rate: float) -> None:
        for _ in range(count):
            clock.advance(0.1)
            engine.update_physics("pay", Telemetry(latency=0.05, error_rate=rate))

    feed(30, 0.0)
    with (
        mounted(AtrionStudio(engine)) as url,
        httpx.stream("GET", f"{url}/studio/api/events", timeout=30) as response,
    ):
        stream = frames(response)
        next(frame for frame in stream if frame["routes"]["pay"]["mode"] == "operational")
        feed(60, 1.0)
        broken = next(frame for frame in stream if frame["routes"]["pay"]["mode"] == "circuit_breaker")
        assert "The breaker is open" in broken["routes"]["pay"]["why"]
        until(lambda: httpx.get(f"{url}/studio/api/history", params={"route": "pay"}).json()["transitions"])
        change = httpx.get(f"{url}/studio/api/history", params={"route": "pay"}).json()["transitions"][0]
        assert (change["before"], change["after"]) == ("operational", "circuit_breaker")


def test_tiers_are_counted_from_the_first_look_on(engine: Atrion) -> None:
    with mounted(AtrionStudio(engine)) as url:
        with engine.flow("a", "high"):
            pass
        before = httpx.get(f"{url}/studio/api/snapshot").json()["routes"]["a"]
        assert (before["admitted"], before["tiers"]["high"]["admitted"]) == (1, 0)
        with engine.flow("a", "high"):
            pass
        after = httpx.get(f"{url}/studio/api/snapshot").json()["routes"]["a"]
        assert (after["admitted"], after["tiers"]["high"]["admitted"]) == (2, 1)


# --- changes ------------------------------------------------------------------------------------------------


def change(url: str, **wanted: Any) -> httpx.Response:
    return httpx.post(f"{url}/studio/api/changes", json=wanted, headers={"origin": url})


def test_it_only_shows_unless_it_was_told_otherwise(engine: Atrion) -> None:
    engine.find("a")
    with mounted(AtrionStudio(engine)) as url:
        answer = change(url, route="a", setting="gamma", value=0.9)
        assert answer.status_code == 403
        assert "--allow-changes" in answer.json()["error"]
        assert httpx.get(f"{url}/studio/api/snapshot").json()["routes"]["a"]["gamma"] == 0.3


def test_changes_take_effect_and_leave_an_audit_line(
    engine: Atrion, caplog: pytest.LogCaptureFixture
) -> None:
    engine.find("a")
    with (
        mounted(AtrionStudio(engine, allow_changes=True)) as url,
        caplog.at_level(logging.INFO, "atrion.studio.audit"),
    ):
        for setting, value in (("gamma", 0.9), ("latency", 0.25), ("error_rate", 0.2), ("enforce", False)):
            assert change(url, route="a", setting=setting, value=value).status_code == 200
        assert change(url, route="a", setting="reset").status_code == 200
        row = httpx.get(f"{url}/studio/api/snapshot").json()["routes"]["a"]
        listed = httpx.get(f"{url}/studio/api/changes").json()["changes"]
    assert (row["gamma"], row["slo"], row["enforced"]) == (0.9, {"latency": 0.25, "error_rate": 0.2}, False)
    assert [line["setting"] for line in listed] == ["gamma", "latency", "error_rate", "enforce", "reset"]
    assert "127.0.0.1 changed gamma of a from 0.3 to 0.9" in caplog.messages


@pytest.mark.parametrize(
    "wanted",
    [
        {"route": "a", "setting": "gamma", "value": 7},
        {"route": "a", "setting": "gamma"},
        {"route": "a", "setting": "enforce", "value": "yes"},
        {"route": "a", "setting": "password", "value": 1},
        {"route": "nowhere", "setting": "gamma", "value": 0.5},
        {"route": "a", "setting": "latency", "value": "fast"},
    ],
)
def test_what_cannot_be_changed_is_told(engine: Atrion, wanted: dict[str, Any]) -> None:
    engine.find("a")
    with mounted(AtrionStudio(engine, allow_changes=True)) as url:
        answer = change(url, **wanted)
        assert answer.status_code == 400
        assert answer.json()["error"]
        assert httpx.get(f"{url}/studio/api/changes").json() == {"changes": []}
    assert "nowhere" not in engine.snapshot()


def test_nothing_is_changed_by_a_get(engine: Atrion) -> None:
    engine.find("a")
    with mounted(AtrionStudio(engine, allow_changes=True)) as url:
        httpx.get(f"{url}/studio/api/changes", params={"route": "a", "setting": "gamma", "value": 0.9})
        assert engine.routes["a"].settings.gamma == 0.3
