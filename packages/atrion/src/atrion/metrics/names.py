"""Every metric: its name, kind, unit and attributes. Exporters, dashboards and alert rules are made from these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

__all__ = [
    "BREAKER",
    "CALL",
    "DECISION",
    "DURATION",
    "IN_FLIGHT",
    "LEASE",
    "LEASES",
    "LICENSE",
    "LIMIT",
    "METRICS",
    "OBSERVER_FAILURE",
    "OTHER",
    "PART",
    "PULSE",
    "PULSE_DURATION",
    "RESISTANCE",
    "ROUTE",
    "ROW_DROPPED",
    "STORE_AGE",
    "STORE_FAILURE",
    "STORE_HEALTHY",
    "TRANSITION",
    "VOLTAGE",
    "WORKER",
    "Metric",
]

OTHER: Final = "_other"
"""The route that stands for those that have no series of their own."""
_SUFFIX: Final = {"s": "_seconds", "Ohm": "_ohms", "V": "_volts"}


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: Its name in OpenTelemetry.
        kind: A counter only grows; a gauge is a value now; a histogram is of durations.
        unit: In UCUM.
        text: What it means.
        labels: Its attributes. In OpenTelemetry their names begin with ``atrion.``.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    text: str
    labels: tuple[str, ...] = ()

    @property
    def prometheus(self) -> str:
        """Its name in Prometheus, without the ``_total`` of counters and the ``_bucket`` of histograms."""
        return self.name.replace(".", "_") + _SUFFIX.get(self.unit, "")

    @property
    def series(self) -> str:
        """The name by which a query asks for it; that of its count for a histogram."""
        return self.prometheus + {"counter": "_total", "gauge": "", "histogram": "_count"}[self.kind]


DECISION = Metric(
    "atrion.decision",
    "counter",
    "{decision}",
    "Decisions on requests. With shadow true, the request was admitted, and the reason says why it would be shed.",
    ("route", "tier", "outcome", "reason", "shadow"),
)
CALL = Metric(
    "atrion.call",
    "counter",
    "{call}",
    "Calls that have ended, by outcome: success, failure, ignored (a fault of the caller) or dropped.",
    ("route", "outcome"),
)
DURATION = Metric("atrion.call.duration", "histogram", "s", "Duration of admitted calls.", ("route",))
IN_FLIGHT = Metric(
    "atrion.call.in_flight",
    "gauge",
    "{call}",
    "Calls in flight, streams included, or their cost.",
    ("route",),
)
LIMIT = Metric(
    "atrion.call.limit",
    "gauge",
    "{call}",
    "Calls in flight, or their cost, that the bottleneck takes without a queue.",
    ("route",),
)
LEASES = Metric(
    "atrion.lease.held", "gauge", "{lease}", "Leases held; of routes that have had one.", ("route",)
)
LEASE = Metric(
    "atrion.lease.event",
    "counter",
    "{lease}",
    "Leases that used more than their budget (overrun), were told to stop (stopped), or expired (expired).",
    ("route", "event"),
)
RESISTANCE = Metric("atrion.resistance", "gauge", "Ohm", "Resistance that a voltage must exceed.", ("route",))
PART = Metric(
    "atrion.resistance.part",
    "gauge",
    "Ohm",
    "What adds up to the resistance: base, latency, errors, saturation, momentum, scar, cluster and queue.",
    ("route", "part"),
)
VOLTAGE = Metric("atrion.voltage", "gauge", "V", "Volts at which the band of a tier begins.", ("tier",))
BREAKER = Metric(
    "atrion.breaker.open", "gauge", "1", "1 while the circuit breaker is open, else 0.", ("route",)
)
TRANSITION = Metric(
    "atrion.transition",
    "counter",
    "{transition}",
    "Changes of a route's mode, by the mode that began.",
    ("route", "mode"),
)
ROUTE = Metric("atrion.route.known", "gauge", "{route}", "Routes in memory.")
WORKER = Metric("atrion.worker.alive", "gauge", "{process}", "Processes in this reading that are alive.")
PULSE = Metric("atrion.pulse", "counter", "{pulse}", "Exchanges with the store, answered or not.")
PULSE_DURATION = Metric(
    "atrion.pulse.duration", "gauge", "s", "Duration of the last exchange; the longest of workers."
)
STORE_AGE = Metric(
    "atrion.store.age", "gauge", "s", "Time since the store last answered; the longest of workers."
)
STORE_HEALTHY = Metric(
    "atrion.store.healthy", "gauge", "1", "1 if the store answered when last asked, else 0."
)
STORE_FAILURE = Metric(
    "atrion.store.failure", "counter", "{failure}", "Round trips to the stores that failed."
)
ROW_DROPPED = Metric(
    "atrion.store.row.dropped", "counter", "{row}", "Answers of the stores that were ignored as invalid."
)
OBSERVER_FAILURE = Metric(
    "atrion.observer.failure", "counter", "{failure}", "Exceptions raised by observers."
)
LICENSE = Metric(
    "atrion.license.expiry", "gauge", "s", "Unix time at which the licence ends; absent without one."
)

METRICS: Final = (
    DECISION,
    CALL,
    DURATION,
    IN_FLIGHT,
    LIMIT,
    LEASES,
    LEASE,
    RESISTANCE,
    PART,
    VOLTAGE,
    BREAKER,
    TRANSITION,
    ROUTE,
    WORKER,
    PULSE,
    PULSE_DURATION,
    STORE_AGE,
    STORE_HEALTHY,
    STORE_FAILURE,
    ROW_DROPPED,
    OBSERVER_FAILURE,
    LICENSE,
)
