"""OpenTelemetry: metrics that are read, and events on spans (``pip install "atrion[otel]"``; the API alone)."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Final

from atrion.control.counters import BOUNDS
from atrion.control.decision import Decision
from atrion.control.observer import Transition
from atrion.engine import Atrion, engines, on_engine
from atrion.errors import ConfigurationError
from atrion.integrations._missing import needs
from atrion.metrics import names
from atrion.metrics.names import Metric
from atrion.metrics.reading import MOST_ROUTES, Reader, Reading, merged
from atrion.metrics.series import Labels, buckets, series
from atrion.physics.config import check_number

with needs("metrics for OpenTelemetry", "otel"):
    from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined]  # not re-exported
        BaseInstrumentor,
    )
    from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation, get_meter_provider
    from opentelemetry.trace import get_current_span

__all__ = ["AtrionInstrumentor", "instrument"]

SCOPE: Final = "atrion"
_BOUNDS: Final = [*(f"{bound:g}" for bound in BOUNDS), "+Inf"]
_DURATION: Final = names.DURATION.name


class _Exporter:
    """Reads one engine, and adds events to spans that are recording; the engine keeps it alive, as an observer."""

    def __init__(self, atrion: Atrion, max_routes: int) -> None:
        self.reader = Reader(atrion, max_routes)
        self.end = atrion.observe(self)

    def on_shed(self, decision: Decision) -> None:
        """A request was shed, or would be without shadow mode."""
        span = get_current_span()
        if span.is_recording():
            span.add_event(
                "atrion.would_shed" if decision.allowed else "atrion.shed",
                {
                    "atrion.route": decision.route,
                    "atrion.decision": "admitted" if decision.allowed else "shed",
                    "atrion.reason": decision.reason.value,
                    "atrion.resistance": decision.resistance,
                    "atrion.voltage": decision.voltage,
                    "atrion.mode": decision.mode.name.lower(),
                    "atrion.retry_after": decision.retry_after,
                },
            )

    def on_transition(self, transition: Transition) -> None:
        """A route has changed its mode during this request."""
        span = get_current_span()
        if span.is_recording():
            span.add_event(
                "atrion.transition",
                {
                    "atrion.route": transition.route,
                    "atrion.mode.before": transition.before.name.lower(),
                    "atrion.mode": transition.after.name.lower(),
                    "atrion.resistance": transition.resistance,
                },
            )


class _Instruments:
    """The instruments of one meter, for any number of engines, which they do not keep alive.

    All instruments of one collection show one reading: a new one is taken when an instrument is asked again.
    """

    def __init__(self, meter: Meter) -> None:
        self.exporters: weakref.WeakSet[_Exporter] = weakref.WeakSet()
        self._asked: set[str] = set()
        self._reading = Reading()
        self._series: dict[str, list[tuple[Labels, float]]] = {}
        for metric in names.METRICS:
            if metric.kind != "histogram":
                create = {
                    "counter": meter.create_observable_counter,
                    "gauge": meter.create_observable_gauge,
                }[metric.kind]
                create(metric.name, [partial(self._values, metric)], metric.unit, metric.text)
        # The API has no histograms that are read: buckets are counters, as in Prometheus.
        for suffix, unit, text, callback in (
            ("bucket", "{call}", "Admitted calls that took at most le seconds.", self._buckets),
            ("count", "{call}", "Admitted calls that have ended.", self._count),
            ("sum", "s", "Sum of the durations of admitted calls.", self._sum),
        ):
            meter.create_observable_counter(f"{_DURATION}.{suffix}", [callback], unit, text)

    def _read(self, asking: str) -> None:
        if asking in self._asked or not self._asked:
            self._asked.clear()
            self._reading = merged([exporter.reader.read() for exporter in list(self.exporters)])
            self._series = {metric.name: values for metric, values in series(self._reading)}
        self._asked.add(asking)

    def _values(self, metric: Metric, options: CallbackOptions) -> list[Observation]:
        self._read(metric.name)
        if not self._reading.gauges:
            return []  # no engine is left
        return [
            Observation(value, _attributes(metric.labels, labels))
            for labels, value in self._series.get(metric.name, [])
        ]

    def _buckets(self, options: CallbackOptions) -> list[Observation]:
        self._read("bucket")
        return [
            Observation(int(count), {"atrion.route": route, "le": bound})
            for route, counts, _ in buckets(self._reading)
            for bound, count in zip(_BOUNDS, counts, strict=True)
        ]

    def _count(self, options: CallbackOptions) -> list[Observation]:
        self._read("count")
        return [
            Observation(int(counts[-1]), {"atrion.route": route})
            for route, counts, _ in buckets(self._reading)
        ]

    def _sum(self, options: CallbackOptions) -> list[Observation]:
        self._read("sum")
        return [Observation(seconds, {"atrion.route": route}) for route, _, seconds in buckets(self._reading)]


def _attributes(names: Labels, values: Labels) -> dict[str, str | bool]:
    return {
        f"atrion.{name}": value == "true" if name == "shadow" else value
        for name, value in zip(names, values, strict=True)
    }


_instruments: Final[weakref.WeakKeyDictionary[MeterProvider, _Instruments]] = weakref.WeakKeyDictionary()


def instrument(
    atrion: Atrion, *, meter_provider: MeterProvider | None = None, max_routes: int = MOST_ROUTES
) -> Callable[[], None]:
    """Tell OpenTelemetry what the engine counts, and add events to spans; returns a function that ends this.

    Args:
        atrion: The engine. Counting begins here. Several engines of a process are added up.
        meter_provider: Where instruments are made; the global one by default.
        max_routes: Routes with attributes of their own, ≥ 0: the busiest as they are first seen. The others are added
            up as the route ``_other``.

    Raises:
        ConfigurationError: a value is unusable.
    """
    if not isinstance(atrion, Atrion):
        raise ConfigurationError("atrion", atrion, "give an Atrion")
    check_number("max_routes", max_routes, 0)
    provider = get_meter_provider() if meter_provider is None else meter_provider
    instruments = _instruments.get(provider)
    if instruments is None:
        instruments = _instruments[provider] = _Instruments(provider.get_meter(SCOPE))
    exporter = _Exporter(atrion, max_routes)
    instruments.exporters.add(exporter)
    return partial(_stop, instruments, weakref.ref(exporter))


def _stop(instruments: _Instruments, known: weakref.ref[_Exporter]) -> None:
    exporter = known()
    if exporter is not None:
        exporter.end()
        instruments.exporters.discard(exporter)


class AtrionInstrumentor(BaseInstrumentor):  # type: ignore[misc]  # it has no types
    """Instruments every engine of the process, also those made later.

    ``opentelemetry-instrument`` finds it by itself; else ``AtrionInstrumentor().instrument()``, which takes the
    ``meter_provider`` and ``max_routes`` of :func:`instrument`.
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """None: Atrion itself is there."""
        return ()

    def _instrument(self, **kwargs: Any) -> None:
        known = {
            name: kwargs[name] for name in ("meter_provider", "max_routes") if kwargs.get(name) is not None
        }
        stops: list[Callable[[], None]] = []

        def begin(atrion: Atrion) -> None:
            stops.append(instrument(atrion, **known))

        stops.append(on_engine(begin))
        for atrion in engines():
            begin(atrion)
        self._stops = stops

    def _uninstrument(self, **kwargs: Any) -> None:
        for stop in self._stops:
            stop()
