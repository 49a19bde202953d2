"""Prometheus scrapes: real servers, a real Prometheus, and Prometheus's own tool to judge what it reads."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse
from prometheus_client.utils import floatToGoString

from atrion import Atrion, ConfigurationError, FlowRejected, Tier
from atrion.integrations.prometheus import AtrionCollector, metrics_asgi_app, metrics_wsgi_app
from atrion.metrics import names
from atrion.metrics.exposition import written
from atrion.metrics.reading import Reading
from atrion.testing import VirtualClock, force_shed
from packages.atrion.tests.waiting import eventually

OPEN = "application/openmetrics-text; version=1.0.0"
WORKER = Path(__file__).with_name("metrics_process.py")


def tool(name: str) -> str:
    found = shutil.which(name)
    assert found is not None, f"{name} is missing: scripts/debian-packages prometheus"
    return found


def call(engine: Atrion, tier: Tier = Tier.NORMAL) -> None:
    with suppress(FlowRejected), engine.flow("search", tier):
        pass


def get(app: Any, accept: str = "") -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get("/metrics", headers={"accept": accept})

    return asyncio.run(ask())


def values(text: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in parse(text)
        for sample in family.samples
    }


def busy() -> tuple[Atrion, Any]:
    engine = Atrion()
    app = metrics_asgi_app(engine)
    for _ in range(3):
        call(engine)
    with force_shed("low", "search", engine):
        call(engine, Tier.LOW)
    return engine, app


def test_what_is_told_is_what_was_done() -> None:
    _, app = busy()
    answer = get(app)
    assert answer.headers["content-type"].startswith("text/plain")
    seen = values(answer.text)
    decisions = {key[1:]: value for key, value in seen.items() if key[0] == "atrion_decision_total"}
    # Labels in the order of their names: outcome, reason, route, shadow, tier.
    assert decisions == {
        ("admitted", "flows", "search", "false", "normal"): 3,
        ("shed", "resistance", "search", "false", "low"): 1,
    }
    assert seen["atrion_call_total", "success", "search"] == 3
    assert seen["atrion_call_duration_seconds_count", "search"] == 3
    assert seen["atrion_call_duration_seconds_bucket", "+Inf", "search"] == 3
    assert seen["atrion_voltage_volts", "critical"] == 92
    parts = sum(value for key, value in seen.items() if key[0] == "atrion_resistance_part_ohms")
    assert parts == pytest.approx(seen["atrion_resistance_ohms", "search"], abs=0.05)


def test_promtool_finds_no_fault() -> None:
    _, app = busy()
    told = get(app).text
    checked = subprocess.run(
        [tool("promtool"), "check", "metrics"], input=told, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_openmetrics_has_the_trace_of_a_shed_request() -> None:
    engine, app = busy()
    with (
        TracerProvider().get_tracer("test").start_as_current_span("request") as span,
        force_shed("low", "search", engine),
    ):
        call(engine, Tier.LOW)
    answer = get(app, OPEN)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    (exemplar,) = [
        sample.exemplar
        for family in parse_open(answer.text)
        for sample in family.samples
        if sample.exemplar is not None
    ]
    assert exemplar.labels["trace_id"] == f"{span.get_span_context().trace_id:032x}"


@pytest.mark.parametrize("accept", ["", "text/plain;version=1.0.0;escaping=allow-utf-8", OPEN])
def test_the_endpoint_writes_the_lines_that_the_client_library_writes(accept: str) -> None:
    clock = VirtualClock()
    engine = Atrion(clock=clock, max_routes=5)
    registry = CollectorRegistry()
    Counter("beside", "What the application counts itself.", ["by"], registry=registry).labels('a"b').inc()
    app = metrics_asgi_app(engine, registry=registry, max_routes=4)
    trace = SpanContext(7, 9, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    for number in range(120):
        clock.advance(0.013)
        # Routes with what labels must escape, one without ended calls, and more than have series of their own.
        for route in ('say "hi"', "back\\slash\nline", "50 % {id} é", "GET /orders"):
            with suppress(FlowRejected, OSError), engine.flow(route, Tier(number % 5)):
                clock.advance(0.0007 * number)
                if number % 3 == 0:
                    raise OSError
    engine.configure("shadowed", enforce=False)
    with use_span(NonRecordingSpan(trace)), force_shed("low", engine=engine):
        engine.decide("shadowed", Tier.LOW)
        engine.decide("GET /orders", Tier.LOW)
    encode, content_type = choose_encoder(accept)
    answer = get(app, accept)
    assert answer.headers["content-type"] == content_type
    expected = encode(registry).decode()
    if accept != OPEN:
        assert "# {" not in answer.text
    assert sorted(answer.text.splitlines()) == sorted(expected.splitlines())
    assert "_other" in expected
    # The lines of a family stand together, behind what it is called, and the end is at the end.
    families = {family.name for family in (parse_open if accept == OPEN else parse)(answer.text)}
    assert {"beside", "atrion_decision", "atrion_call_duration_seconds"} <= families
    assert answer.text.count("# TYPE") == expected.count("# TYPE")
    assert ("# {" in expected) == (accept == OPEN)


@pytest.mark.parametrize(
    "value", [0.1 + 0.2, 1e-7, 123456.5, 1234567.0, 1.5e15, 3e22, -2e9, math.inf, -math.inf, math.nan]
)
def test_numbers_are_written_as_go_does(value: float) -> None:
    text = written(Reading(gauges={names.PULSE_DURATION.name: value})).decode()
    assert f"\natrion_pulse_duration_seconds {floatToGoString(value)}\n" in text


def test_the_wsgi_endpoint_tells_the_same() -> None:
    engine = Atrion()
    app = metrics_wsgi_app(engine)
    call(engine)
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    said: list[Any] = []
    body = b"".join(app(environ, lambda status, headers: said.append(status)))
    assert said == ["200 OK"]
    assert values(body.decode())["atrion_call_total", "success", "search"] == 1
    environ["REQUEST_METHOD"] = "POST"
    assert b"".join(app(environ, lambda status, headers: said.append(status))) == b""
    assert said[1] == "405 Method Not Allowed"


@pytest.mark.parametrize("options", [{"max_routes": -1}, {"max_routes": "many"}])
def test_unusable_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="max_routes"):
        AtrionCollector(Atrion(), **options)


def test_what_is_no_engine_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="must be an Atrion"):
        AtrionCollector("atrion")  # type: ignore[arg-type]


# --- workers of a host -----------------------------------------------------------------------------------


@contextmanager
def worker(folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    with subprocess.Popen([sys.executable, WORKER, folder], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}", process
        finally:
            process.kill()


@pytest.mark.slow
def test_a_scrape_of_any_worker_tells_of_all_of_them_the_dead_included(tmp_path: Path) -> None:
    with ExitStack() as running:
        workers = [running.enter_context(worker(tmp_path / "store")) for _ in range(3)]
        client = running.enter_context(httpx.Client())
        urls = [url for url, _ in workers]

        def told(url: str, *key: str) -> float:
            return values(client.get(f"{url}/metrics").text).get(key, 0.0)

        told(urls[0], "up")  # they publish from now on
        for url, times in zip(urls, (1, 2, 3), strict=True):
            for _ in range(times):
                client.get(f"{url}/call")
        client.get(f"{urls[2]}/shed")
        calls = ("atrion_call_total", "success", "search")
        for url in urls:
            assert eventually(lambda url=url: told(url, *calls) == 6)
        assert told(urls[0], "atrion_worker_alive") == 3
        shed = ("atrion_decision_total", "shed", "resistance", "search", "false", "low")
        assert told(urls[0], *shed) == 1
        workers[2][1].send_signal(signal.SIGKILL)
        workers[2][1].wait()
        for url in urls[:2]:
            assert told(url, *calls) == 6
            assert told(url, "atrion_worker_alive") == 2
        client.get(f"{urls[0]}/call")
        assert told(urls[0], *calls) == 7


@pytest.mark.slow
def test_a_real_prometheus_scrapes_every_metric(tmp_path: Path) -> None:
    with ExitStack() as running:
        url, _ = running.enter_context(worker(tmp_path / "store"))
        client = running.enter_context(httpx.Client())
        for path in ("call", "call", "shed", "lease"):
            client.get(f"{url}/{path}")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        config = tmp_path / "prometheus.yml"
        config.write_text(
            json.dumps(
                {
                    "global": {"scrape_interval": "1s"},
                    "scrape_configs": [
                        {"job_name": "shop", "static_configs": [{"targets": [url.removeprefix("http://")]}]}
                    ],
                }
            )
        )
        prometheus = running.enter_context(
            subprocess.Popen(
                [
                    tool("prometheus"),
                    f"--config.file={config}",
                    f"--storage.tsdb.path={tmp_path / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
        running.callback(prometheus.kill)

        def ask(query: str) -> list[Any]:
            try:
                answer = client.get(f"http://127.0.0.1:{port}/api/v1/query", params={"query": query})
            except httpx.TransportError:  # it is starting
                return []
            found: list[Any] = answer.json()["data"]["result"] if answer.status_code == 200 else []
            return found

        assert eventually(lambda: bool(ask('atrion_decision_total{outcome="shed"} == 1')), 60.0)
        assert ask('atrion_call_duration_seconds_count{route="search"}')[0]["value"][1] == "2"
        absent = {names.LICENSE.series, names.TRANSITION.series}  # no licence, and nothing broke
        missing = [metric.series for metric in names.METRICS if not ask(metric.series)]
        assert set(missing) <= absent
