"""Load reports: services that have something to tell, and what their reports say."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from atrion.testing import VirtualClock
from packages.atrion.tests.conformance.incoming import Incoming
from packages.atrion.tests.conformance.subject import Recorder, eventually

ASKING = "endpoint-load-metrics-format"
REPORT = "endpoint-load-metrics"


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
