"""Load reports for load balancers, in the format of ORCA (Open Request Cost Aggregation).

HTTP requests ask for a report with ``endpoint-load-metrics-format: TEXT``, ``JSON`` or ``BIN``, and get it in the
response header ``endpoint-load-metrics``. gRPC has no such request: reports are in the trailing metadata of every call
(``endpoint-load-metrics-bin``, gRFC A51).
"""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from collections.abc import Callable
from typing import Final, NamedTuple

from atrion.control.counters import ended_calls
from atrion.control.pool import Pool
from atrion.engine import Atrion
from atrion.integrations._exchange import Message, Send

__all__ = ["ASKING", "REPORT", "TRAILER", "LoadReport", "LoadReports"]

ASKING: Final = "endpoint-load-metrics-format"
REPORT: Final = "endpoint-load-metrics"
TRAILER: Final = "endpoint-load-metrics-bin"
_REPORT: Final = REPORT.encode()
EVERY: Final = 1.0
"""Least seconds over which a report's rates are taken; in between, the last report is sent again."""
_FAILURE: Final = 1
_Counts = dict[str, tuple[int, int, float]]
"""Of each route: its calls that have ended, the failures among them, and the seconds that they took."""
_NONE: Final = (0, 0, 0.0)


class LoadReport(NamedTuple):
    """What a process tells of its load. The fields are those of ``xds.data.orca.v3.OrcaLoadReport``.

    ``application_utilization``: mean calls in flight as a share of the learned capacity, of the pool where that is
    highest; at least 1 while the process itself sheds. ``rps_fractional``: answered requests a second. ``eps``: the
    failures among them. Shed requests are in neither: a process that sheds would look quick, as they cost nothing.
    """

    application_utilization: float
    rps_fractional: float
    eps: float

    def text(self) -> str:
        """The fields as ``name=value``."""
        return ", ".join(f"{name}={value}" for name, value in self._asdict().items())

    def encoded(self) -> bytes:
        """The protobuf message. Fields that are 0 are left out, as proto3 has it."""
        fields = ((6, self.rps_fractional), (7, self.eps), (9, self.application_utilization))
        # A tag is the field's number and, in three bits, its type: 1 is a double, in eight bytes.
        return b"".join(struct.pack("<Bd", number << 3 | 1, value) for number, value in fields if value)


class LoadReports:
    """Makes the load reports of one engine in this process. Counting begins here; errors go to ``complain``."""

    def __init__(self, atrion: Atrion, complain: Callable[[str], None]) -> None:
        atrion.count()
        self._atrion = atrion
        self._complain = complain
        # One tuple, so that threads that make a report at the same time both make a right one.
        self._last: tuple[float, _Counts, LoadReport] = (
            atrion.now(),
            self._count(),
            LoadReport(0.0, 0.0, 0.0),
        )

    def report(self) -> LoadReport:
        """The load since the last report that was made, at least a second before."""
        at, before, report = self._last
        now = self._atrion.now()
        if now - at >= EVERY:
            seen = self._count()
            report = self._made(before, seen, now - at)
            self._last = (now, seen, report)
        return report

    def header(self, wanted: str) -> str | None:
        """The value of the response header in the ``wanted`` format; None if that is unknown, or there is no report."""
        kind = wanted.strip().upper()
        try:
            if kind == "TEXT":
                return f"TEXT {self.report().text()}"
            if kind == "JSON":
                return f"JSON {json.dumps(self.report()._asdict(), separators=(',', ':'))}"
            message = self.report().encoded() if kind == "BIN" else b""
            return f"BIN {b64encode(message).decode()}" if message else None
        except Exception:
            self._complain("a load report")
            return None

    def trailer(self) -> tuple[tuple[str, bytes], ...]:
        """The trailing metadata of a gRPC call; empty if there is no report."""
        try:
            message = self.report().encoded()
            return ((TRAILER, message),) if message else ()
        except Exception:
            self._complain("a load report")
            return ()

    def sending(self, wanted: str, send: Send) -> Send:
        """``send`` of an ASGI application, which adds the header in the ``wanted`` format to the response."""

        async def reporting(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers") or ())
                value = None if any(name.lower() == _REPORT for name, _ in headers) else self.header(wanted)
                if value is not None:
                    message = {**message, "headers": [*headers, (_REPORT, value.encode())]}
            await send(message)

        return reporting

    def _count(self) -> _Counts:
        found = {}
        for route in list(self._atrion.routes.values()):
            if route.counters is not None:
                ended = ended_calls(route.window)
                found[route.id] = sum(ended), ended[_FAILURE], route.counters.seconds
        return found

    def _made(self, before: _Counts, seen: _Counts, passed: float) -> LoadReport:
        calls = failures = 0
        busy: dict[Pool, float] = {}
        full = False
        for route in list(self._atrion.routes.values()):
            ended, failed, seconds = seen.get(route.id, _NONE)
            known = before.get(route.id, _NONE)
            if ended < known[0] or seconds < known[2]:
                known = _NONE  # it was evicted and is back, or this process was forked
            busy[route.pool] = busy.get(route.pool, 0.0) + seconds - known[2]
            # Routes without a process are calls that requests make, not requests.
            if route.process is not None:
                calls += ended - known[0]
                failures += max(failed - known[1], 0)
                full = full or route.process.ohms > 0.0
        # By Little's law, the seconds that calls took in each second are the mean calls in flight.
        used = max((seconds / (passed * pool.capacity.calls) for pool, seconds in busy.items()), default=0.0)
        if full:
            used = max(used, 1.0)
        return LoadReport(round(used, 4), round(calls / passed, 4), round(failures / passed, 4))
