"""Load reports for load balancers: every server tells how loaded it is, to those that ask, and Envoy heeds it."""

from __future__ import annotations

from typing import Any

import pytest

from atrion import Atrion, ConfigurationError, Tier
from atrion.control.process import Process
from atrion.integrations.asgi import AtrionMiddleware
from atrion.integrations.wsgi import AtrionMiddleware as WsgiMiddleware
from atrion.sensing.capacity import INITIAL
from atrion.testing import VirtualClock, force_shed
from packages.atrion.tests.conformance.django_services import DJANGO
from packages.atrion.tests.conformance.http_services import HTTP
from packages.atrion.tests.conformance.incoming import Incoming, unkept
from packages.atrion.tests.conformance.serving import served_by_threads, served_by_uvicorn
from packages.atrion.tests.frameworks.load_reporting import ASKING, REPORT, loaded, parsed


@pytest.mark.parametrize("service", [*HTTP, *DJANGO], ids=lambda service: service.title)
def test_a_request_that_asks_gets_a_report_in_the_format_it_asks_for(service: Incoming) -> None:
    with loaded(service) as (client, engine), unkept(client.port) as http:
        silent = http.get("/items/7")
        unknown = http.get("/items/7", headers={ASKING: "XML"})
        reports = {
            kind: http.get("/items/7", headers={ASKING: kind}).headers[REPORT]
            for kind in ("TEXT", "JSON", "BIN", "text")
        }
        with force_shed(Tier.CRITICAL, engine=engine):
            shed = http.get("/items/7", headers={ASKING: "TEXT"})
    assert REPORT not in silent.headers
    assert (unknown.status_code, REPORT in unknown.headers) == (200, False)
    assert reports["text"] == reports["TEXT"]
    assert shed.status_code == 503
    assert shed.headers[REPORT] == reports["TEXT"]
    seen = [parsed(reports[kind]) for kind in ("TEXT", "JSON", "BIN")]
    assert seen[0] == seen[1] == seen[2]
    # The report was made for the first that asked: those 20, two of this test, and maybe itself, in four seconds.
    assert seen[0]["rps_fractional"] == pytest.approx(22 / 4, abs=0.26)
    assert seen[0]["eps"] == 0.5
    # Two of four seconds, of the capacity that a new engine assumes.
    assert seen[0]["application_utilization"] == pytest.approx(0.5 / INITIAL, rel=0.01)


@pytest.mark.parametrize("service", [*HTTP, *DJANGO], ids=lambda service: service.title)
def test_nothing_is_told_unless_it_is_switched_on(service: Incoming) -> None:
    with service.session() as it, unkept(it.client.port) as http:  # type: ignore[attr-defined]  # an HttpClient
        assert REPORT not in http.get("/items/7", headers={ASKING: "TEXT"}).headers


def test_a_report_of_the_application_itself_stays() -> None:
    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            headers = [(b"Endpoint-Load-Metrics", b"TEXT eps=7")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"ok"})

    def wsgi(environ: Any, start: Any) -> list[bytes]:
        start("200 OK", [("Endpoint-Load-Metrics", "TEXT eps=7")])
        return [b"ok"]

    guarded = AtrionMiddleware(asgi, Atrion(), load_reports=True)
    with (
        served_by_uvicorn(guarded) as client,
        served_by_threads(WsgiMiddleware(wsgi, Atrion(), load_reports=True)) as other,
    ):
        for port in (client.port, other.port):
            with unkept(port) as http:
                answer = http.get("/", headers={ASKING: "TEXT"})
                assert answer.headers.get_list(REPORT) == ["TEXT eps=7"]


async def plain(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})


def test_trouble_with_a_report_stops_no_request(caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()
    engine = Atrion(clock=clock)
    guarded = AtrionMiddleware(plain, engine, load_reports=True)
    engine.routes = {"GET /": None}  # type: ignore[dict-item]  # so that nothing works
    clock.advance(2.0)
    with served_by_uvicorn(guarded) as client, unkept(client.port) as http:
        for _ in range(3):
            answer = http.get("/", headers={ASKING: "TEXT"})
            assert (answer.status_code, REPORT in answer.headers) == (200, False)
    assert sum("a load report failed" in line for line in caplog.messages) == 1


def test_a_route_that_was_evicted_and_is_back_counts_from_its_return() -> None:
    clock = VirtualClock()
    guarded = AtrionMiddleware(plain, Atrion(clock=clock, max_routes=1), load_reports=True)
    with served_by_uvicorn(guarded) as client, unkept(client.port) as http:
        for path in ["/a"] * 9 + ["/b"] * 3:
            http.get(path)
        clock.advance(1.0)
        first = parsed(http.get("/b", headers={ASKING: "TEXT"}).headers[REPORT])
        for path in ["/a"] * 2:
            http.get(path)
        clock.advance(1.0)
        second = parsed(http.get("/a", headers={ASKING: "TEXT"}).headers[REPORT])
    assert first["rps_fractional"] == pytest.approx(3.0, abs=1.0)
    assert second["rps_fractional"] == pytest.approx(2.0, abs=1.0)


def test_a_process_that_sheds_is_full_however_few_calls_it_holds() -> None:
    clock = VirtualClock()
    engine = Atrion(clock=clock)
    process = Process(clock.now)
    guarded = AtrionMiddleware(plain, engine, load_reports=True)
    with served_by_uvicorn(guarded) as client, unkept(client.port) as http, engine.flow("beside") as call:
        call.behind(process)
        clock.advance(1.0)
        free = parsed(http.get("/", headers={ASKING: "TEXT"}).headers[REPORT])
        process.refuse_at_once()
        clock.advance(1.0)
        full = parsed(http.get("/", headers={ASKING: "TEXT"}).headers[REPORT])
    assert free["application_utilization"] < 1.0
    assert full["application_utilization"] == 1.0


def test_without_a_report_yet_there_is_nothing_to_send_as_bytes() -> None:
    guarded = AtrionMiddleware(plain, Atrion(clock=VirtualClock()), load_reports=True)
    with served_by_uvicorn(guarded) as client, unkept(client.port) as http:
        first = {
            kind: http.get("/", headers={ASKING: kind}).headers.get(REPORT)
            for kind in ("TEXT", "JSON", "BIN")
        }
    assert first == {
        "TEXT": "TEXT application_utilization=0.0, rps_fractional=0.0, eps=0.0",
        "JSON": 'JSON {"application_utilization":0.0,"rps_fractional":0.0,"eps":0.0}',
        "BIN": None,
    }


def test_a_switch_is_a_switch() -> None:
    with pytest.raises(ConfigurationError, match="load_reports must be True or False, got 'yes'"):
        AtrionMiddleware(plain, Atrion(), load_reports="yes")  # type: ignore[arg-type]
