"""A reading as text, in the formats of Prometheus and OpenMetrics, written at once without an object for each sample.

prometheus_client makes an object, a dict and a sorted list of labels for each of the thirty lines of a route: with a
thousand routes that takes a fifth of a second.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Final

from atrion.control.counters import BOUNDS
from atrion.control.totals import BUCKETS, SECONDS
from atrion.metrics import names
from atrion.metrics.names import Metric
from atrion.metrics.reading import Reading, RouteReading
from atrion.metrics.series import COUNTS, GAUGES, PARTS, Labels, Slots, process_series

__all__ = ["LE", "written"]

Exemplar = Callable[[Labels], str]
"""Returns what follows the value of a decision's series: nothing, or `` # {…} value time``."""
LE: Final = [*(f"{bound:g}" if bound % 1 else f"{bound:.1f}" for bound in BOUNDS), "+Inf"]
"""The label of each bucket of durations."""


def written(reading: Reading, *, openmetrics: bool = False, exemplar: Exemplar | None = None) -> bytes:
    """The reading's families, without the end mark of OpenMetrics. Lines are those that prometheus_client writes."""
    routes = [(_escaped(route), seen) for route, seen in reading.routes.items()]
    numbers = _Numbers()
    chunks: list[bytes] = []

    def add(metric: Metric, lines: list[bytes]) -> None:
        if lines and lines[0]:
            name = metric.prometheus if openmetrics or metric.kind != "counter" else metric.series
            chunks.append(f"# HELP {name} {metric.text}\n# TYPE {name} {metric.kind}\n".encode())
            chunks.extend(lines)

    named = list(zip(reading.routes, routes, strict=True))
    for metric, groups in COUNTS:
        marks = exemplar if metric is names.DECISION else None
        add(metric, ["".join(_counted(metric, groups, named, numbers, marks)).encode()])
    for gauge, metric in GAUGES.items():
        add(metric, ["".join(_gauges(metric, gauge, routes, numbers)).encode()])
    add(names.PART, list(_parts(routes)))
    for metric, values in process_series(reading):
        name, labels = metric.series, metric.labels
        add(metric, [f"{name}{_labels(labels, of)} {numbers[value]}".encode() for of, value in values])
    add(names.DURATION, list(_histograms(routes)))
    return b"".join(chunks)


def _gauges(
    metric: Metric, gauge: str, routes: list[tuple[str, RouteReading]], numbers: _Numbers
) -> Iterator[str]:
    head, tail = _around(metric, ())
    for route, seen in routes:
        if gauge in seen.gauges:
            yield f"{head}{route}{tail}{numbers[seen.gauges[gauge]]}"


def _parts(routes: list[tuple[str, RouteReading]]) -> Iterator[bytes]:
    block = _Block([_around(names.PART, (part,))[0] for part in PARTS])
    gauges = [f"part.{part}" for part in PARTS]
    for route, seen in routes:
        if gauges[0] in seen.gauges:
            yield block.lines(route, [seen.gauges[gauge] for gauge in gauges])


def _histograms(routes: list[tuple[str, RouteReading]]) -> Iterator[bytes]:
    """The lines of each route with ended calls: its buckets, their count, and the sum of durations."""
    name = names.DURATION.prometheus
    heads = [f'{name}_bucket{{le="{bound}",route="' for bound in LE]
    block = _Block([*heads, f'{name}_count{{route="', f'{name}_sum{{route="'])
    for route, seen in routes:
        counts = list(accumulate(seen.counts[BUCKETS:SECONDS]))
        if counts[-1]:
            yield block.lines(route, [*counts, counts[-1], seen.counts[SECONDS]])


def _counted(
    metric: Metric,
    groups: list[Slots],
    routes: list[tuple[str, tuple[str, RouteReading]]],
    numbers: _Numbers,
    exemplar: Exemplar | None,
) -> Iterator[str]:
    """The lines of a counter: of each route, the counts that are not 0."""
    around = [
        (slots[0][0], slots[-1][0] + 1, [(at, labels, *_around(metric, labels)) for at, labels in slots])
        for slots in groups
    ]
    for route, (escaped, seen) in routes:
        counts = seen.counts
        for first, end, slots in around:
            if any(counts[first:end]):
                for at, labels, head, tail in slots:
                    if counts[at]:
                        line = f"{head}{escaped}{tail}{numbers[counts[at]]}"
                        mark = "" if exemplar is None else exemplar((route, *labels))
                        yield f"{line[:-1]}{mark}\n" if mark else line


def _around(metric: Metric, labels: Labels) -> tuple[str, str]:
    """What stands before and after the route in each line of a series; ``labels`` are those after the route's."""
    head, _, tail = _labels(metric.labels, ("\0", *labels)).partition("\0")
    return f"{metric.series}{head}", f"{tail} "


def _labels(names: Labels, values: Iterable[str]) -> str:
    # They are sorted by name, as prometheus_client has them.
    pairs = sorted(zip(names, values, strict=True))
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs) + "}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


class _Numbers(dict[float, str]):
    """Values as text, up to the end of their line. Each is made once, as most of a scrape's are the same few."""

    def __missing__(self, value: float) -> str:
        self[value] = text = f"{_number(float(value))}\n"
        return text


class _Followed(dict[float, bytes]):
    """The same, with what follows on the next line."""

    def __init__(self, following: str) -> None:
        super().__init__()
        self._following = following

    def __missing__(self, value: float) -> bytes:
        self[value] = text = f"{_number(float(value))}\n{self._following}".encode()
        return text


class _Block:
    """Lines that routes have in one order, whose last label is the route: ``heads`` are the lines up to it."""

    def __init__(self, heads: list[str]) -> None:
        self._first = heads[0].encode()
        self._values = [_Followed(head) for head in (*heads[1:], "")]

    def lines(self, route: str, values: list[float]) -> bytes:
        """The lines of a route: what they have in common separates what they have not, so one join writes them."""
        pairs = zip(self._values, values, strict=True)
        return f'{route}"}} '.encode().join([self._first, *[texts[value] for texts, value in pairs]])


def _number(value: float) -> str:
    if math.isinf(value) or math.isnan(value):
        return "NaN" if value != value else "+Inf" if value > 0.0 else "-Inf"
    text = repr(value)
    whole = text.find(".")
    if value > 0.0 and whole > 6:  # Go writes an exponent sooner than Python
        digits = f"{text[0]}.{text[1:whole]}{text[whole + 1 :]}".rstrip("0.")
        return f"{digits}e+{whole - 1:02d}"
    return text
