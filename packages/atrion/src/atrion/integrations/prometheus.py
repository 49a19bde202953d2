"""Metrics for Prometheus: a collector, and endpoints for ASGI and WSGI (``pip install "atrion[prometheus]"``)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from functools import partial
from time import time
from typing import Any, Final

from atrion.control.decision import Decision
from atrion.engine import Atrion
from atrion.errors import ConfigurationError
from atrion.integrations._missing import needs
from atrion.metrics import names
from atrion.metrics.exposition import LE, written
from atrion.metrics.host import HostReadings
from atrion.metrics.reading import MOST_ROUTES, Reader, Reading
from atrion.metrics.series import Labels, buckets, series
from atrion.physics.config import check_number
from atrion.physics.voltage import Tier, level_at
from atrion.providers.workers import WorkersProvider

with needs("metrics for Prometheus", "prometheus"):
    from prometheus_client import CollectorRegistry, Metric
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.registry import Collector
    from prometheus_client.samples import Exemplar

__all__ = ["AtrionCollector", "metrics_asgi_app", "metrics_wsgi_app"]

_EOF: Final = b"# EOF\n"
MOST_EXEMPLARS: Final = 1000


class AtrionCollector(Collector):
    """Reads an engine when it is scraped: ``REGISTRY.register(AtrionCollector(atrion))``.

    Where the engine's provider is that of the workers of a host (``workers:///…``), a scrape of any worker gives the
    sum of all. Every other engine gives its own process. Counting begins here.

    Args:
        atrion: The engine.
        max_routes: Routes with series of their own, ≥ 0, in each process: the busiest as they are first seen. The
            others are added up as the route ``_other``.

    Raises:
        ConfigurationError: a value is unusable.
    """

    def __init__(self, atrion: Atrion, *, max_routes: int = MOST_ROUTES) -> None:
        if not isinstance(atrion, Atrion):
            raise ConfigurationError("atrion", atrion, "give an Atrion")
        check_number("max_routes", max_routes, 0)
        self._reader = Reader(atrion, max_routes)
        self._host: HostReadings | None = None
        provider = atrion.state.provider
        if isinstance(provider, WorkersProvider):
            self._host = HostReadings(provider.path / "metrics", self._reader.read)
            atrion.each_pulse(self._host.look)
        self._exemplars: dict[tuple[str, ...], Exemplar] = {}
        self._writing: ContextVar[bool] = ContextVar("atrion_writing", default=False)
        if _current_span() is not None:
            atrion.observe(_Sheds(self._exemplars))

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not read."""
        return []

    def read(self) -> Reading:
        """What a scrape tells now.

        Raises:
            OSError: the workers' folder cannot be used.
        """
        return self._reader.read() if self._host is None else self._host.collect()

    def collect(self) -> Iterator[Metric]:
        """Every metric that has a value; nothing to the endpoints of this module, which write it themselves."""
        if self._writing.get():
            return
        reading = self.read()
        for metric, values in series(reading):
            if not values:
                continue
            family = Metric(metric.prometheus, metric.text, metric.kind)
            decisions = metric is names.DECISION
            for given, value in values:
                exemplar = self._exemplars.get(given) if decisions and self._exemplars else None
                labels = dict(zip(metric.labels, given, strict=True))
                family.add_sample(metric.series, labels, value, exemplar=exemplar)
            yield family
        name = names.DURATION.prometheus
        histogram = Metric(name, names.DURATION.text, "histogram")
        for route, counts, seconds in buckets(reading):
            for bound, count in zip(LE, counts, strict=True):
                histogram.add_sample(f"{name}_bucket", {"route": route, "le": bound}, count)
            histogram.add_sample(f"{name}_count", {"route": route}, counts[-1])
            histogram.add_sample(f"{name}_sum", {"route": route}, seconds)
        if histogram.samples:
            yield histogram

    def render(self, registry: CollectorRegistry, accept: str) -> tuple[str, bytes]:
        """The content type that a scraper asks for, and everything in ``registry``, in which this collector is.

        Raises:
            OSError: the workers' folder cannot be used.
        """
        encode, content_type = choose_encoder(accept)
        token = self._writing.set(True)
        try:
            others = encode(registry)
        finally:
            self._writing.reset(token)
        if not content_type.startswith("application/openmetrics-text"):
            return content_type, others + written(self.read())
        own = written(self.read(), openmetrics=True, exemplar=self._exemplar if self._exemplars else None)
        return content_type, others.removesuffix(_EOF) + own + _EOF

    def _exemplar(self, series: Labels) -> str:
        """What follows the value of a series in OpenMetrics."""
        found = self._exemplars.get(series)
        if found is None:
            return ""
        labels = ",".join(f'{name}="{value}"' for name, value in sorted(found.labels.items()))
        return f" # {{{labels}}} {found.value} {found.timestamp}"


def _current_span() -> Callable[[], Any] | None:
    try:
        from opentelemetry.trace import get_current_span
    except ImportError:
        return None
    return get_current_span


class _Sheds:
    """Keeps the trace of the last shed request of each kind, for exemplars."""

    def __init__(self, kept: dict[tuple[str, ...], Exemplar]) -> None:
        self._kept = kept
        self._span = _current_span()

    def on_shed(self, decision: Decision) -> None:
        """Keep the current trace, if it is sampled."""
        context = self._span().get_span_context() if self._span is not None else None
        if context is None or not context.is_valid or not context.trace_flags.sampled:
            return
        shadow = decision.allowed
        tier = Tier(level_at(decision.voltage)).name.lower()
        outcome = "admitted" if shadow else "shed"
        key = (decision.route, tier, outcome, decision.reason.value, "true" if shadow else "false")
        if key in self._kept or len(self._kept) < MOST_EXEMPLARS:
            trace = {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
            self._kept[key] = Exemplar(trace, 1.0, time())


def _registered(
    atrion: Atrion, max_routes: int, registry: CollectorRegistry | None
) -> Callable[[str], tuple[str, bytes]]:
    """A function that renders a registry in which there is a new collector of the engine."""
    chosen = CollectorRegistry() if registry is None else registry
    collector = AtrionCollector(atrion, max_routes=max_routes)
    chosen.register(collector)
    return partial(collector.render, chosen)


def metrics_asgi_app(
    atrion: Atrion, *, max_routes: int = MOST_ROUTES, registry: CollectorRegistry | None = None
) -> Callable[[Any, Any, Any], Any]:
    """An ASGI application that answers every GET with the metrics.

    Mount it: ``app.mount("/metrics", metrics_asgi_app(atrion))``.
    They are in the format that the scraper asks for: OpenMetrics, with exemplars, or Prometheus's text. With a
    ``registry``, whatever else it has is told as well, and the engine's collector is registered in it.

    Raises:
        ConfigurationError: a value is unusable.
    """
    render = _registered(atrion, max_routes, registry)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise ValueError(f"this application answers HTTP, and not {scope['type']}")
        status, headers, body = 405, [(b"allow", b"GET, HEAD")], b""
        if scope["method"] in {"GET", "HEAD"}:
            accept = b",".join(value for name, value in scope["headers"] if name == b"accept").decode(
                "latin-1"
            )
            # Files are read and written where workers share a host, so the event loop is kept free.
            content_type, body = await asyncio.to_thread(render, accept)
            status, headers = 200, [(b"content-type", content_type.encode())]
        headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    return app


def metrics_wsgi_app(
    atrion: Atrion, *, max_routes: int = MOST_ROUTES, registry: CollectorRegistry | None = None
) -> Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]:
    """The same for WSGI.

    Raises:
        ConfigurationError: a value is unusable.
    """
    render = _registered(atrion, max_routes, registry)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        if method not in {"GET", "HEAD"}:
            start_response("405 Method Not Allowed", [("allow", "GET, HEAD"), ("content-length", "0")])
            return [b""]
        content_type, body = render(environ.get("HTTP_ACCEPT", ""))
        start_response("200 OK", [("content-type", content_type), ("content-length", str(len(body)))])
        return [b"" if method == "HEAD" else body]

    return app
