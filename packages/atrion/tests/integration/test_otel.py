"""OpenTelemetry: the real SDK, with its OTLP exporter over HTTP into a receiver, and real spans."""

from __future__ import annotations

import gc
import gzip
import os
import subprocess
import sys
import textwrap
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider

from atrion import Atrion, ConfigurationError, FlowRejected, Telemetry, Tier
from atrion.integrations.otel import AtrionInstrumentor, instrument
from atrion.metrics import names
from atrion.testing import VirtualClock, force_shed


def call(engine: Atrion, tier: Tier = Tier.NORMAL, route: str = "search") -> None:
    with suppress(FlowRejected), engine.flow(route, tier):
        pass


def points(reader: InMemoryMetricReader) -> dict[str, dict[tuple[Any, ...], float]]:
    """Values by metric and attributes, the latter in the order of their names."""
    data = reader.get_metrics_data()
    return {
        metric.name: {
            tuple(value for _, value in sorted((point.attributes or {}).items())): point.value  # type: ignore[union-attr]
            for point in metric.data.data_points
        }
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


@pytest.fixture
def reader() -> InMemoryMetricReader:
    return InMemoryMetricReader()


@pytest.fixture
def provider(reader: InMemoryMetricReader) -> Iterator[MeterProvider]:
    provider = MeterProvider([reader])
    yield provider
    provider.shutdown()


def test_what_is_told_is_what_was_done(provider: MeterProvider, reader: InMemoryMetricReader) -> None:
    engine = Atrion()
    instrument(engine, meter_provider=provider)
    call(engine)
    with force_shed("low", "search", engine):
        call(engine, Tier.LOW)
    seen = points(reader)
    # Attributes in the order of their names: outcome, reason, route, shadow, tier.
    assert seen["atrion.decision"] == {
        ("admitted", "flows", "search", False, "normal"): 1,
        ("shed", "resistance", "search", False, "low"): 1,
    }
    assert seen["atrion.call"] == {("success", "search"): 1}
    assert seen["atrion.call.duration.count"] == {("search",): 1}
    assert seen["atrion.call.duration.bucket"]["search", "+Inf"] == 1
    assert seen["atrion.resistance"]["search",] > 0
    call(engine)
    assert points(reader)["atrion.decision"]["admitted", "flows", "search", False, "normal"] == 2


def test_names_follow_the_semantic_conventions(provider: MeterProvider, reader: InMemoryMetricReader) -> None:
    engine = Atrion()
    instrument(engine, meter_provider=provider)
    call(engine)
    for metric in names.METRICS:
        assert metric.name.startswith("atrion.")
        assert metric.name == metric.name.lower()
        assert not metric.name.endswith(("_total", "s"))
        assert metric.unit in {"s", "Ohm", "V", "1"} or (metric.unit[0], metric.unit[-1]) == ("{", "}")
    known = {metric.name for metric in names.METRICS if metric.kind != "histogram"}
    known |= {f"atrion.call.duration.{part}" for part in ("bucket", "count", "sum")}
    assert points(reader).keys() <= known


def test_leases_are_counted_while_they_are_held_and_where_something_was_wrong(
    provider: MeterProvider, reader: InMemoryMetricReader
) -> None:
    engine = Atrion()
    instrument(engine, meter_provider=provider)
    with engine.lease("job"), engine.lease("job", budget={"tokens": 1.0}) as lease:
        assert points(reader)["atrion.lease.held"] == {("job",): 2}
        assert points(reader)["atrion.call.in_flight"] == {("job",): 2}
        lease.spend(tokens=2.0)
    seen = points(reader)
    assert seen["atrion.lease.held"] == {("job",): 0}
    assert seen["atrion.lease.event"] == {("overrun", "job"): 1, ("stopped", "job"): 1}


def test_several_engines_are_added_up_and_dead_ones_forgotten(
    provider: MeterProvider, reader: InMemoryMetricReader
) -> None:
    engines = [Atrion(), Atrion()]
    for engine in engines:
        instrument(engine, meter_provider=provider)
        call(engine)
    assert points(reader)["atrion.call"]["success", "search"] == 2
    known = weakref.ref(engines.pop())
    del engine
    gc.collect()
    assert known() is None
    assert points(reader)["atrion.call"]["success", "search"] == 1


def test_nothing_is_told_after_the_end(provider: MeterProvider, reader: InMemoryMetricReader) -> None:
    engine = Atrion()
    stop = instrument(engine, meter_provider=provider)
    call(engine)
    stop()
    assert points(reader) == {}


@pytest.mark.parametrize("options", [{"max_routes": -1}, {"max_routes": None}])
def test_unusable_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="max_routes"):
        instrument(Atrion(), **options)


# --- spans -----------------------------------------------------------------------------------------------


def events(work: Callable[[], None]) -> dict[str, dict[str, Any]]:
    with TracerProvider().get_tracer("test").start_as_current_span("request") as span:
        work()
    assert isinstance(span, ReadableSpan)
    return {event.name: dict(event.attributes or {}) for event in span.events}


def test_a_shed_request_is_an_event_of_its_span(provider: MeterProvider) -> None:
    engine = Atrion()
    instrument(engine, meter_provider=provider)
    assert events(lambda: call(engine)) == {}
    with force_shed("low", "search", engine):
        seen = events(lambda: call(engine, Tier.LOW))["atrion.shed"]
    assert seen["atrion.route"] == "search"
    assert seen["atrion.decision"] == "shed"
    assert seen["atrion.resistance"] >= seen["atrion.voltage"] >= 32
    assert seen["atrion.mode"] == "bootstrap"


def test_a_change_of_mode_is_an_event_too(provider: MeterProvider) -> None:
    clock = VirtualClock()
    engine = Atrion(clock=clock)
    instrument(engine, meter_provider=provider)

    def fail() -> None:
        for _ in range(20):
            clock.advance(0.1)
            engine.update_physics("search", Telemetry(error_rate=1.0))

    assert events(fail)["atrion.transition"]["atrion.mode"] == "circuit_breaker"


def test_without_a_span_a_shed_request_is_only_counted(provider: MeterProvider) -> None:
    engine = Atrion()
    instrument(engine, meter_provider=provider)
    with force_shed("low", "search", engine):
        call(engine, Tier.LOW)
    assert engine.snapshot()["search"].shed == 1


# --- instrumentation -------------------------------------------------------------------------------------


def test_the_instrumentor_sees_engines_of_before_and_after(
    provider: MeterProvider, reader: InMemoryMetricReader
) -> None:
    before = Atrion()
    instrumentor = AtrionInstrumentor()
    instrumentor.instrument(meter_provider=provider)
    try:
        after = Atrion()
        call(before, route="own")
        call(after, route="own")
        assert points(reader)["atrion.call"]["success", "own"] == 2
    finally:
        instrumentor.uninstrument()
    assert points(reader) == {}
    call(Atrion())
    assert points(reader) == {}


class Receiver(BaseHTTPRequestHandler):
    """Receives metrics by OTLP over HTTP."""

    received: dict[str, int]
    arrived: threading.Event

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        request = ExportMetricsServiceRequest.FromString(body)
        for resource in request.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    self.received[metric.name] = len(metric.sum.data_points or metric.gauge.data_points)
        self.arrived.set()
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[tuple[str, type[Receiver]]]:
    class Fresh(Receiver):
        received: dict[str, int] = {}  # noqa: RUF012  # of this test alone
        arrived = threading.Event()

    with HTTPServer(("127.0.0.1", 0), Fresh) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", Fresh
        server.shutdown()
        thread.join()


def test_otlp_over_http_arrives(receiver: tuple[str, type[Receiver]]) -> None:
    url, received = receiver
    exporter = OTLPMetricExporter(f"{url}/v1/metrics")
    provider = MeterProvider([PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)])
    engine = Atrion()
    instrument(engine, meter_provider=provider)
    call(engine)
    assert provider.force_flush()
    provider.shutdown()
    assert received.received["atrion.call.duration.bucket"] == 16
    assert {"atrion.decision", "atrion.resistance", "atrion.voltage"} <= received.received.keys()


@pytest.mark.slow
def test_opentelemetry_instrument_needs_no_code(receiver: tuple[str, type[Receiver]]) -> None:
    url, received = receiver
    program = """
        from atrion import Atrion
        atrion = Atrion()
        with atrion.flow("search"):
            pass
    """
    command = [Path(sys.executable).with_name("opentelemetry-instrument"), sys.executable, "-c"]
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_METRICS_EXPORTER": "otlp_proto_http",
    }
    ended = subprocess.run(
        [*command, textwrap.dedent(program)],
        env={**os.environ, **environment},
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    assert received.arrived.wait(30), ended.stderr
    assert received.received.get("atrion.decision") == 1, ended.stderr
