"""Parts of a scenario file: servers with their laws and phases, and traffic with its arrivals."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from atrion_lab import columns
from atrion_lab.arrivals import Arrivals, Bursty, Closed, Every, Instants, Poisson, Profile
from atrion_lab.clients import MIX, Traffic
from atrion_lab.services import (
    Bimodal,
    Exponential,
    Fixed,
    HeavyTailed,
    LogNormal,
    Mixture,
    Phase,
    Recorded,
    Server,
    ServiceTime,
)
from atrion_lab.summary import TIER_NAMES
from atrion_lab.table import Table

__all__ = ["LONGEST", "read_server", "read_traffic"]

LONGEST = 7 * 86400.0
"""Seconds a scenario may last."""
FASTEST = 1e6
"""Arrivals a second at most."""
SLOWEST = 1e6
"""Seconds a service may take on average."""


def _service(table: Table, folder: Path) -> ServiceTime:
    kind = table.text(
        "law", among=("fixed", "exponential", "lognormal", "bimodal", "pareto", "mixture", "trace")
    )
    law: ServiceTime
    if kind == "mixture":
        parts = table.tables("parts")
        if not parts:
            raise table.refuse(
                "parts", 'give at least one part, such as { weight = 1.0, law = "fixed", mean = 0.05 }'
            )
        law = Mixture(tuple((each.number("weight", above=True), _service(each, folder)) for each in parts))
    elif kind == "trace":
        law = _recorded(table, folder)
    else:
        law = _drawn(kind, table, table.number("mean", low=1e-6, high=SLOWEST))
    table.close()
    return law


def _recorded(table: Table, folder: Path) -> Recorded:
    """Times of a column, or of several with the seconds that each of their units takes."""
    scale = table.number("scale", 1.0, 0.0, 1e6, above=True)
    path = folder / table.text("file")
    if "column" in table and "columns" in table:
        raise table.refuse(
            "columns", "give a column of seconds, or columns with the seconds of a unit, not both"
        )
    if "columns" not in table:
        return Recorded(tuple(scale * each for each in columns.seconds(path, table.text("column"))))
    units = table.table("columns")
    weights = {name: units.number(name, low=0.0, high=SLOWEST) for name in units.names()}
    if not any(weights.values()):
        raise table.refuse("columns", "give seconds a unit, such as { ContextTokens = 0.0001 }")
    return Recorded(tuple(scale * each for each in columns.weighted(path, weights)))


def _drawn(kind: str, table: Table, mean: float) -> ServiceTime:
    if kind == "fixed":
        return Fixed(mean)
    if kind == "exponential":
        return Exponential(mean)
    if kind == "lognormal":
        return LogNormal(mean, table.number("sigma", 0.5, 0.0, 5.0))
    if kind == "bimodal":
        share = table.number("share", 0.1, 0.0, 1.0)
        return Bimodal(mean, share, table.number("ratio", 10.0, 0.0, 1e6, above=True))
    return HeavyTailed(mean, table.number("alpha", 1.8, 1.0, 10.0, above=True))


def _phases(table: Table) -> tuple[Phase, ...]:
    """What a phase does not name stays as it was."""
    phases: list[Phase] = []
    last = Phase()
    for each in table.tables("phases", []):
        start = each.number("start", low=0.0, high=LONGEST)
        if phases and start <= last.start:
            raise each.refuse("start", f"give a start after that of the phase before, {last.start:g}")
        last = Phase(
            start=start,
            slow=each.number("slow", last.slow, 0.0, 1e6, above=True),
            workers=each.whole("workers", last.workers, 0, 100_000),
            fail=each.number("fail", last.fail, 0.0, 1.0),
            fail_after=each.number("fail_after", last.fail_after, 0.0, SLOWEST),
            hang=each.flag("hang", last.hang),
        )
        each.close()
        phases.append(last)
    return tuple(phases)


def read_server(table: Table, folder: Path) -> Server:
    """A server; files of recorded service times are looked for in ``folder``.

    Raises:
        ConfigurationError: a key is unknown, or a value unusable.
        AtrionError: a file is unusable.
    """
    server = Server(
        workers=table.whole("workers", low=1, high=100_000),
        law=_service(table.table("service"), folder),
        queue=table.whole("queue", None),
        fails=True,
        shared=table.text("discipline", "fifo", among=("fifo", "shared")) == "shared",
        worsening=table.number("worsening", 0.0, 0.0, 100.0),
        reject_cost=table.number("reject_cost", 0.0, 0.0, 10.0),
        phases=_phases(table),
    )
    table.close()
    return server


def _rates(table: Table, key: str) -> list[float]:
    rates = table.items(key)
    for rate in rates:
        if type(rate) not in {int, float} or not 0.0 < rate <= FASTEST:
            raise table.refuse(key, f"give rates above 0 and at most {FASTEST:g} a second")
    return rates


def _points(table: Table, scale: float) -> tuple[tuple[float, float], ...]:
    points = table.items("points")
    cure = f"give pairs of a second and a rate of at most {FASTEST:g}, ascending, one rate above 0"
    for point in points:
        if (
            not isinstance(point, list)
            or len(point) != 2
            or any(type(each) not in {int, float} for each in point)
            or not 0.0 <= point[0] <= LONGEST
            or not 0.0 <= point[1] <= FASTEST
        ):
            raise table.refuse("points", cure)
    if any(after[0] <= before[0] for before, after in itertools.pairwise(points)):
        raise table.refuse("points", cure)
    if not any(rate for _, rate in points):
        raise table.refuse("points", cure)
    return tuple((float(at), scale * rate) for at, rate in points)


def _arrivals(table: Table, folder: Path, scale: float) -> Arrivals:
    kind = table.text("law", among=("poisson", "profile", "bursty", "closed", "every", "trace"))
    if kind != "closed":
        scale *= table.number("scale", 1.0, 0.0, 1e6, above=True)
    law: Arrivals
    if kind == "poisson":
        law = Poisson(scale * table.number("rate", 0.0, 0.0, FASTEST, above=True))
    elif kind == "profile":
        law = Profile(_points(table, scale), table.flag("linear"))
    elif kind == "bursty":
        rates = tuple(scale * rate for rate in _rates(table, "rates"))
        if len(rates) < 2:
            raise table.refuse("rates", "give at least two rates")
        law = Bursty(rates, table.number("dwell", 1.0, 0.001, LONGEST))
    elif kind == "closed":
        law = Closed(
            max(round(scale * table.whole("users", low=1)), 1), table.number("think", 0.1, 0.0001, LONGEST)
        )
    elif kind == "every":
        law = _every(table, scale)
    else:
        at = columns.instants(folder / table.text("file"), table.text("column"))
        law = Instants(tuple(each / scale for each in at))
    table.close()
    return law


def _every(table: Table, scale: float) -> Every:
    period = table.number("period", low=0.001, high=LONGEST)
    if "count" not in table and "rate" not in table:
        raise table.refuse("rate", "give a rate with a length, or a count")
    count = round(scale * table.whole("count", 0))
    if "rate" not in table:
        return Every(period, count)
    rate = table.number("rate", low=0.0, high=FASTEST, above=True)
    return Every(period, count, table.number("length", low=0.0, high=period, above=True), scale * rate)


def _mix(table: Table) -> tuple[float, ...]:
    if "mix" not in table:
        table.get("mix", None)
        return MIX
    mix = table.table("mix")
    shares = tuple(float(mix.number(name, 0.0)) for name in TIER_NAMES)
    mix.close()
    if not sum(shares) > 0.0:
        raise table.refuse("mix", "give a share above 0 to at least one tier")
    return shares


def _to(table: Table, routes: tuple[str, ...]) -> tuple[str, ...]:
    value: Any = table.get("to")
    names = value if isinstance(value, list) else [value]
    if not names or any(not isinstance(name, str) or name not in routes for name in names):
        raise table.refuse("to", f"use one or several of {', '.join(routes)}")
    return tuple(names)


def read_traffic(table: Table, folder: Path, routes: tuple[str, ...], scale: float = 1.0) -> Traffic:
    """Clients of ``routes``, ``scale`` times as many; files of recorded arrivals are looked for in ``folder``.

    Raises:
        ConfigurationError: a key is unknown, or a value unusable.
        AtrionError: a file is unusable.
    """
    traffic = Traffic(
        to=_to(table, routes),
        arrivals=_arrivals(table.table("arrivals"), folder, scale),
        mix=_mix(table),
        work=table.number("work", 1.0, 0.0, 1e6, above=True),
        deadline=table.number("deadline", 0.5, 0.0, LONGEST, above=True),
        keys=table.whole("keys", 1000, 0, 10_000_000),
        retries=table.whole("retries", 0, 0, 100),
        backoff=table.number("backoff", 0.05, 0.0, LONGEST),
        honour=table.flag("honour"),
        budget=table.number("budget", None, 0.0, 100.0),
        cost=table.number("cost", 0.0, 0.0, 1e9),
        cost_sigma=table.number("cost_sigma", 0.0, 0.0, 5.0),
    )
    table.close()
    return traffic
