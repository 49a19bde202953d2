"""A service and its traffic as a TOML file, with the bounds that its measures must keep."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atrion.errors import AtrionError, ConfigurationError
from atrion.physics.config import SLO
from atrion_lab.cluster import Cluster
from atrion_lab.expectations import BOUNDED
from atrion_lab.scenario import Calls, Route, Scenario
from atrion_lab.scenario_parts import LONGEST, read_server, read_traffic
from atrion_lab.summary import TIER_NAMES
from atrion_lab.table import Table

__all__ = ["Described", "load_file", "read_text"]

LARGEST = 10_000_000
"""Bytes of a file at most."""
DEEPEST = 8
"""Lists within lists in ``calls`` at most."""


@dataclass(frozen=True, slots=True)
class Described:
    """A scenario with what it must reach.

    Attributes:
        scenario: What is played.
        expect: Bounds by measure; ``success.<tier>`` bounds one tier's.
        well: Routes of which ``well_over_possible`` is measured.
    """

    scenario: Scenario
    expect: Mapping[str, float] = field(default_factory=dict)
    well: tuple[str, ...] = ()


def load_file(path: Path, scale: float = 1.0) -> Described:
    """What a file describes, with ``scale`` times its traffic.

    Raises:
        AtrionError: the file, or one that it names, cannot be read or is no such text.
        ConfigurationError: a key is unknown, or a value unusable; the message names place, value and cure.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise AtrionError(f"{path} is too large: give a TOML file of at most {LARGEST:,} bytes")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise AtrionError(f"{path} cannot be read: {error.strerror}; give a TOML file") from error
    except UnicodeDecodeError as error:
        raise AtrionError(f"{path} is no text ({error}); save it as UTF-8") from error
    return read_text(text, path.parent, str(path), scale)


def read_text(text: str, folder: Path, source: str = "the scenario", scale: float = 1.0) -> Described:
    """What a text describes, with ``scale`` times its traffic; files that it names are looked for in ``folder``.

    Raises:
        AtrionError: it is no TOML, or a file that it names is unusable.
        ConfigurationError: a key is unknown, or a value unusable; the message names place, value and cure.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise AtrionError(f"{source} is no TOML: {error}; correct it there") from error
    except RecursionError as error:
        raise AtrionError(f"{source} is no usable TOML: it is nested too deeply") from error
    return _describe(Table("", values), folder, scale)


def _describe(table: Table, folder: Path, scale: float) -> Described:
    servers = table.table("servers").each(lambda each: read_server(each, folder))
    if not servers:
        raise table.refuse("servers", "describe at least one server, such as [servers.api]")
    routes = _routes(table.table("routes", {}), tuple(servers))
    names = tuple(dict.fromkeys((*routes, *servers)))
    seconds = table.number("seconds", 30.0, 1.0, LONGEST)
    traffic = tuple(read_traffic(each, folder, names, scale) for each in table.tables("traffic"))
    if not traffic:
        raise table.refuse("traffic", "describe at least one kind of clients, as [[traffic]]")
    scenario = Scenario(
        name=table.text("name"),
        about=table.text("about", ""),
        seconds=seconds,
        window=_window(table, seconds),
        servers=servers,
        routes=routes,
        traffic=traffic,
        cluster=_cluster(table),
        slo=_slo(table),
        pools=_pools(table, names),
    )
    well = _well(table, names)
    expect = _expect(table, well)
    table.close()
    return Described(scenario, expect, well)


def _window(table: Table, seconds: float) -> tuple[float, float]:
    window = table.items("window", [0.0, seconds])
    if (
        len(window) != 2
        or any(type(each) not in {int, float} for each in window)
        or not 0.0 <= window[0] < window[1] <= seconds
    ):
        raise table.refuse("window", f"give two seconds, ascending, from 0 to {seconds:g}")
    return float(window[0]), float(window[1])


def _slo(table: Table) -> SLO | None:
    """None tells the engine nothing."""
    if "slo" not in table:
        table.get("slo", None)
        return None
    slo = table.table("slo")
    promised = SLO(latency=slo.number("latency", low=0.0, high=LONGEST, above=True))
    slo.close()
    return promised


def _pools(table: Table, names: tuple[str, ...]) -> dict[str, str]:
    pools = table.table("pools", {})
    for name in pools.names():
        if name not in names:
            raise pools.refuse(name, f"it is no route: use one of {', '.join(names)}")
    return {name: pools.text(name) for name in pools.names()}


def _routes(table: Table, servers: tuple[str, ...]) -> dict[str, Route]:
    known = tuple(dict.fromkeys((*table.names(), *servers)))

    def route(each: Table) -> Route:
        found = Route(each.text("server", among=servers), _calls(each, known), own=True)
        each.close()
        return found

    routes = table.each(route)
    for name in routes:
        if _circular(name, routes, ()):
            raise ConfigurationError(table.at(name), name, "its calls need itself: leave that out")
    return routes


def _calls(table: Table, known: tuple[str, ...]) -> tuple[Calls, ...] | None:
    value = table.get("calls", None)
    if value is None:
        return None

    def check(calls: Any, depth: int) -> Calls:
        if isinstance(calls, str) and calls in known:
            return calls
        if isinstance(calls, list) and calls and depth < DEEPEST:
            return tuple(check(each, depth + 1) for each in calls)
        raise table.refuse(
            "calls", f"use {', '.join(known)}, or a list of them, {DEEPEST} lists deep at most"
        )

    checked = check([value] if isinstance(value, str) else value, 0)
    assert isinstance(checked, tuple)
    return checked


def _needed(calls: Calls | None) -> list[str]:
    if calls is None or isinstance(calls, str):
        return [] if calls is None else [calls]
    return [name for each in calls for name in _needed(each)]


def _circular(name: str, routes: Mapping[str, Route], above: tuple[str, ...]) -> bool:
    if name in above:
        return True
    if name not in routes:
        return False
    return any(_circular(each, routes, (*above, name)) for each in _needed(routes[name].calls))


def _cluster(table: Table) -> Cluster | None:
    if "cluster" not in table:
        table.get("cluster", None)
        return None
    each = table.table("cluster")
    pods = each.whole("pods", 3, 1, 500)
    cluster = Cluster(
        pods=pods,
        active=each.whole("active", None, 1, pods),
        settled=each.number("settled", 5.0, 0.0, LONGEST),
        connected=each.flag("connected", True),
        shared=each.flag("shared", True),
        interval=each.number("interval", 0.1, 0.01, 10.0),
        delay=each.number("delay", 0.001, 0.0, 10.0),
        loss=each.number("loss", 0.0, 0.0, 1.0),
        apart=_apart(each),
        poisoned=each.flag("poisoned"),
        leaves=_leaves(each, pods),
        skew=each.number("skew", 0.0, 0.0, 3600.0),
        restart=each.number("restart", None, 0.1, LONGEST),
    )
    each.close()
    return cluster


def _numbers(table: Table, key: str, count: int, cure: str) -> tuple[float, ...] | None:
    value = table.get(key, None)
    if value is None:
        return None
    if (
        not isinstance(value, list)
        or len(value) != count
        or any(type(each) not in {int, float} or not 0.0 <= each <= LONGEST for each in value)
    ):
        raise table.refuse(key, cure)
    return tuple(float(each) for each in value)


def _apart(table: Table) -> tuple[float, float, float] | None:
    cure = "give a start and an end in seconds and a share of the pods, such as [10, 20, 0.5]"
    value = _numbers(table, "apart", 3, cure)
    if value is None:
        return None
    start, end, share = value
    if start >= end or share > 1.0:
        raise table.refuse("apart", cure)
    return start, end, share


def _leaves(table: Table, pods: int) -> tuple[int, float] | None:
    cure = f"give a pod, 0 to {pods - 1}, and the second it stops, such as [0, 20]"
    value = _numbers(table, "leaves", 2, cure)
    if value is None:
        return None
    if value[0] >= pods or value[0] != int(value[0]):
        raise table.refuse("leaves", cure)
    return int(value[0]), value[1]


def _well(table: Table, names: tuple[str, ...]) -> tuple[str, ...]:
    report = table.table("report", {})
    well = report.items("well", [])
    if any(not isinstance(name, str) or name not in names for name in well):
        raise report.refuse("well", f"give a list of routes among {', '.join(names)}")
    report.close()
    return tuple(well)


def _expect(table: Table, well: tuple[str, ...]) -> dict[str, float]:
    expect = table.table("expect", {})
    bounds: dict[str, float] = {}
    for name in BOUNDED:
        if name == "well_over_possible" and name in expect and not well:
            raise expect.refuse(name, 'name the routes as well: [report] well = ["route"]')
        bound = expect.number(name, None)
        if bound is not None:
            bounds[name] = bound
    tiers = expect.table("success", {})
    for name in TIER_NAMES:
        bound = tiers.number(name, None, 0.0, 1.0)
        if bound is not None:
            bounds[f"success.{name}"] = bound
    tiers.close()
    expect.close()
    return bounds
