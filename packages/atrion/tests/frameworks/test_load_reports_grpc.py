"""Load reports of gRPC servers, in the trailing metadata of every call."""

from __future__ import annotations

import base64
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import h2.config
import h2.connection
import h2.events
import pytest

from atrion import Atrion, Tier
from atrion.integrations.grpc import ServerInterceptor
from atrion.sensing.capacity import INITIAL
from atrion.testing import VirtualClock, force_shed
from packages.atrion.tests.conformance.grpc_services import GRPC
from packages.atrion.tests.conformance.incoming import Incoming
from packages.atrion.tests.frameworks.load_reporting import decoded, loaded

TRAILER = "endpoint-load-metrics-bin"


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
