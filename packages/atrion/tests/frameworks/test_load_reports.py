"""Load reports for load balancers: every server tells how loaded it is, to those that ask, and Envoy heeds it."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import h2.config
import h2.connection
import h2.events
import httpx
import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from atrion import Atrion, ConfigurationError, Tier
from atrion.control.process import Process
from atrion.integrations.asgi import AtrionMiddleware
from atrion.integrations.grpc import ServerInterceptor
from atrion.integrations.wsgi import AtrionMiddleware as WsgiMiddleware
from atrion.sensing.capacity import INITIAL
from atrion.testing import VirtualClock, force_shed
from packages.atrion.tests.conformance.django_services import DJANGO
from packages.atrion.tests.conformance.grpc_services import GRPC
from packages.atrion.tests.conformance.http_services import HTTP, served_by_threads, served_by_uvicorn
from packages.atrion.tests.conformance.incoming import Incoming, unkept
from packages.atrion.tests.conformance.subject import Recorder, eventually

ASKING = "endpoint-load-metrics-format"
REPORT = "endpoint-load-metrics"
TRAILER = "endpoint-load-metrics-bin"


def orca_load_report() -> Any:
    """The message as ``xds/data/orca/v3/orca_load_report.proto`` has it, without its maps."""
    file = descriptor_pb2.FileDescriptorProto(name="orca.proto", package="xds.data.orca.v3", syntax="proto3")
    message = file.message_type.add(name="OrcaLoadReport")
    numbers = {
        "cpu_utilization": 1,
        "mem_utilization": 2,
        "rps_fractional": 6,
        "eps": 7,
        "application_utilization": 9,
    }
    for name, number in numbers.items():
        message.field.add(name=name, number=number, type=1, label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("xds.data.orca.v3.OrcaLoadReport"))


def decoded(encoded: bytes) -> dict[str, float]:
    return {field.name: value for field, value in orca_load_report().FromString(encoded).ListFields()}


def parsed(header: str) -> dict[str, float]:
    """What Envoy reads: a format, a space, and the report in it."""
    kind, _, rest = header.partition(" ")
    if kind == "TEXT":
        return {name: float(value) for name, value in (pair.split("=") for pair in rest.split(", "))}
    if kind == "JSON":
        found: dict[str, float] = json.loads(rest)
        return found
    assert kind == "BIN"
    return decoded(base64.b64decode(rest, validate=True))


@contextmanager
def loaded(service: Incoming) -> Iterator[tuple[Any, Recorder]]:
    """A client of a service that has answered 20 requests in the last four seconds, two of them with failures, and
    has served one for two seconds.
    """
    clock = VirtualClock()
    engine = Recorder(clock)
    with service.session(engine, load_reports=True) as it, ThreadPoolExecutor(1) as caller:
        held = caller.submit(it.client.ask, "hold")
        eventually(lambda: engine.in_flight() == 1)
        for operation in ["item"] * 17 + ["broken"] * 2:
            it.client.ask(operation)
        eventually(lambda: engine.in_flight() == 1)
        clock.advance(2.0)
        it.gate.set()
        held.result(20.0)
        eventually(lambda: engine.in_flight() == 0)
        clock.advance(2.0)
        yield it.client, engine


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


def trailers(port: int, method: str) -> dict[str, str]:
    """The trailing metadata of a gRPC call, of which grpc's own client keeps load reports for its load balancing."""
    found: dict[str, str] = {}
    with socket.create_connection(("127.0.0.1", port), 20.0) as sock:
        connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        connection.initiate_connection()
        pseudo = {
            ":method": "POST",
            ":scheme": "http",
            ":path": f"/shop.Items/{method}",
            ":authority": "shop",
        }
        headers = {**pseudo, "te": "trailers", "content-type": "application/grpc"}
        connection.send_headers(1, list(headers.items()))
        connection.send_data(1, bytes(5), end_stream=True)  # an empty message
        while "grpc-status" not in found:
            sock.sendall(connection.data_to_send())
            for event in connection.receive_data(sock.recv(65536)):
                if isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
                    found |= dict(event.headers)
    return found


@pytest.mark.parametrize("service", GRPC, ids=lambda service: service.title)
def test_every_call_of_grpc_ends_with_a_report(service: Incoming) -> None:
    with loaded(service) as (client, engine):
        found = {name: trailers(client.port, name) for name in ("Get", "Missing", "Raise", "Inner", "Stream")}
        with force_shed(Tier.CRITICAL, engine=engine):
            found["shed"] = trailers(client.port, "Get")
    assert "grpc-retry-pushback-ms" in found["shed"]
    assert "grpc-retry-pushback-ms" in found["Inner"]
    for kind, trailing in found.items():
        encoded = trailing[TRAILER]
        # The call that was held got a report, so this one is of the last two seconds, in which that call ended.
        assert decoded(base64.b64decode(encoded + "=" * (-len(encoded) % 4))) == {
            "rps_fractional": 0.5,
            "application_utilization": 2.0 / 2.0 / INITIAL,
        }, kind


@pytest.mark.parametrize("service", GRPC, ids=lambda service: service.title)
def test_grpc_tells_nothing_unless_it_is_switched_on(service: Incoming) -> None:
    with service.session() as it:
        assert TRAILER not in trailers(it.client.port, "Get")  # type: ignore[attr-defined]  # a GrpcClient


def test_metadata_of_a_handler_stays_beside_the_report() -> None:
    def get(request: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("x-cost", "3"),))
        return b"ok"

    clock = VirtualClock()
    guard = ServerInterceptor(Atrion(clock=clock), load_reports=True)
    server = grpc.server(ThreadPoolExecutor(2), interceptors=[guard])
    handlers = {"Get": grpc.unary_unary_rpc_method_handler(get)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("shop.Items", handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        trailers(port, "Get")
        clock.advance(1.0)
        found = trailers(port, "Get")
    finally:
        server.stop(1.0).wait(10.0)
    assert found["x-cost"] == "3"
    assert TRAILER in found


# --- what an application says itself, and trouble -------------------------------------------------------------


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


# --- Envoy -----------------------------------------------------------------------------------------------------

POD = """
import asyncio, sys

import uvicorn

from atrion import Atrion
from atrion.integrations.asgi import AtrionMiddleware

port, seconds = int(sys.argv[1]), float(sys.argv[2])

async def app(scope, receive, send):
    if scope["type"] == "http":
        await asyncio.sleep(seconds)
        headers = [(b"content-length", b"2"), (b"x-pod", sys.argv[1].encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})

uvicorn.run(AtrionMiddleware(app, Atrion(), load_reports=True), port=port, log_level="critical")
"""


def free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        found = []
        for _ in range(number):
            free = stack.enter_context(socket.socket())
            free.bind(("127.0.0.1", 0))
            found.append(free.getsockname()[1])
    return found


@contextmanager
def running(*commands: list[str]) -> Iterator[None]:
    processes = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for command in commands]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def envoy(port: int, pods: list[int]) -> dict[str, Any]:
    """The settings that the documentation shows, for a listener in front of the pods."""
    page = Path(__file__).parents[4] / "docs" / "load-reports.md"
    text = page.read_text().partition("```yaml\n")[2].partition("```")[0]
    found: dict[str, Any] = yaml.safe_load(text)
    resources = found["static_resources"]
    resources["listeners"][0]["address"] = address(port)
    endpoints = [{"endpoint": {"address": address(pod)}} for pod in pods]
    resources["clusters"][0]["type"] = "STATIC"
    resources["clusters"][0]["load_assignment"]["endpoints"] = [{"lb_endpoints": endpoints}]
    policy = resources["clusters"][0]["load_balancing_policy"]["policies"][0]["typed_extension_config"]
    policy["typed_config"]["blackout_period"] = "1s"
    return found


def address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


@pytest.mark.slow
def test_envoy_sends_a_slow_pod_less(tmp_path: Path) -> None:
    front, quick, slow = free_ports(3)
    settings = tmp_path / "envoy.json"
    settings.write_text(json.dumps(envoy(front, [quick, slow])))
    pods = [[sys.executable, "-c", POD, str(quick), "0.02"], [sys.executable, "-c", POD, str(slow), "0.2"]]
    command = [str(Path(sys.executable).with_name("envoy")), "-c", str(settings), "--log-level", "off"]
    with (
        running(*pods, [*command, "--concurrency", "1", "--use-dynamic-base-id"]),
        httpx.Client(base_url=f"http://127.0.0.1:{front}", timeout=20.0, trust_env=False) as http,
        ThreadPoolExecutor(4) as callers,
    ):

        def pod(_: int) -> str:
            try:
                return http.get("/").headers.get("x-pod", "")
            except httpx.TransportError:
                return ""

        def shares() -> Counter[str]:
            return Counter(callers.map(pod, range(60)))

        eventually(lambda: shares().keys() == {str(quick), str(slow)}, 60.0)
        # Ten times as quick with the same capacity: ten times as much, once it is reported.
        eventually(lambda: (seen := shares())[str(quick)] > 3 * seen[str(slow)] > 0, 60.0)
