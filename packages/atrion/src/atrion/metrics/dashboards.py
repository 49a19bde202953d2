"""Grafana dashboards, made from the metrics' own names."""

from __future__ import annotations

from typing import Any, Final

from atrion.metrics import names

__all__ = ["DASHBOARDS", "dashboard"]

_SOURCE: Final = {"type": "prometheus", "uid": "${source}"}
_WHERE: Final = 'job=~"$job",route=~"$route"'
_DECISION: Final = names.DECISION.series
_RATE: Final = "[$__rate_interval]"
_WIDTH, _HEIGHT = 12, 8

Query = tuple[str, str]
"""An expression, and the legend of its series."""
_Panel = tuple[str, str, str, tuple[Query, ...]]
"""Title, unit of Grafana, description, queries."""


def _rate(series: str, by: str, more: str = "") -> str:
    return f"sum by ({by}) (rate({series}{{{_WHERE}{more}}}{_RATE}))"


def _quantile(q: float) -> Query:
    buckets = f"{names.DURATION.prometheus}_bucket"
    return f"histogram_quantile({q:g}, {_rate(buckets, 'le, route')})", f"p{100 * q:g} {{{{route}}}}"


_SHARE_SHED: Final = _rate(_DECISION, "route", ',outcome="shed"') + " / " + _rate(_DECISION, "route")

_OVERVIEW: Final[tuple[_Panel, ...]] = (
    (
        "Resistance",
        "ohm",
        names.RESISTANCE.text,
        ((f"max by (route) ({names.RESISTANCE.series}{{{_WHERE}}})", "{{route}}"),),
    ),
    ("Share of requests shed", "percentunit", "Of all decisions.", ((_SHARE_SHED, "{{route}}"),)),
    (
        "Admitted by tier",
        "reqps",
        names.DECISION.text,
        ((_rate(_DECISION, "tier", ',outcome="admitted"'), "{{tier}}"),),
    ),
    (
        "Shed by tier",
        "reqps",
        names.DECISION.text,
        ((_rate(_DECISION, "tier", ',outcome="shed"'), "{{tier}}"),),
    ),
    (
        "Shed by reason",
        "reqps",
        names.DECISION.text,
        ((_rate(_DECISION, "reason", ',outcome="shed"'), "{{reason}}"),),
    ),
    (
        "Would be shed (shadow mode)",
        "reqps",
        "Admitted only because nothing is enforced.",
        ((_rate(_DECISION, "route, reason", ',shadow="true"'), "{{route}} {{reason}}"),),
    ),
    (
        "Breakers open",
        "short",
        names.BREAKER.text,
        ((f"max by (route) ({names.BREAKER.series}{{{_WHERE}}})", "{{route}}"),),
    ),
    ("Calls by outcome", "reqps", names.CALL.text, ((_rate(names.CALL.series, "outcome"), "{{outcome}}"),)),
    (
        "Store",
        "s",
        "Time since the store last answered, and how long an exchange takes.",
        (
            (f'max by (job) ({names.STORE_AGE.series}{{job=~"$job"}})', "last answer"),
            (f'max by (job) ({names.PULSE_DURATION.series}{{job=~"$job"}})', "exchange"),
        ),
    ),
    (
        "Trouble",
        "short",
        "Failures a second: of the store, of invalid answers, of observers. All are 0 in health.",
        tuple(
            (f'sum(rate({metric.series}{{job=~"$job"}}{_RATE}))', metric.name)
            for metric in (names.STORE_FAILURE, names.ROW_DROPPED, names.OBSERVER_FAILURE)
        ),
    ),
)
_ROUTE: Final[tuple[_Panel, ...]] = (
    (
        "Parts of the resistance, against the bands",
        "ohm",
        names.PART.text,
        (
            (f"max by (part) ({names.PART.series}{{{_WHERE}}})", "{{part}}"),
            (f'max by (tier) ({names.VOLTAGE.series}{{job=~"$job"}})', "{{tier}} flows above"),
        ),
    ),
    (
        "Decisions",
        "reqps",
        names.DECISION.text,
        ((_rate(_DECISION, "tier, outcome"), "{{tier}} {{outcome}}"),),
    ),
    (
        "Duration of admitted calls",
        "s",
        names.DURATION.text,
        (_quantile(0.5), _quantile(0.95), _quantile(0.99)),
    ),
    (
        "In flight and limit",
        "short",
        names.LIMIT.text,
        tuple(
            (f"sum by (route) ({metric.series}{{{_WHERE}}})", f"{{{{route}}}} {label}")
            for metric, label in ((names.IN_FLIGHT, "in flight"), (names.LIMIT, "limit"))
        ),
    ),
    ("Calls by outcome", "reqps", names.CALL.text, ((_rate(names.CALL.series, "outcome"), "{{outcome}}"),)),
    (
        "Changes of mode",
        "short",
        names.TRANSITION.text,
        ((f"sum by (mode) (increase({names.TRANSITION.series}{{{_WHERE}}}{_RATE}))", "{{mode}}"),),
    ),
)
_PANELS: Final = {"overview": ("Atrion: overview", _OVERVIEW), "route": ("Atrion: route", _ROUTE)}
DASHBOARDS: Final = tuple(_PANELS)
"""The names of the dashboards."""


def dashboard(name: str) -> dict[str, Any]:
    """One of :data:`DASHBOARDS`, for Grafana 9 or newer."""
    title, panels = _PANELS[name]
    return {
        "uid": f"atrion-{name}",
        "title": title,
        "tags": ["atrion"],
        "schemaVersion": 37,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [
                {"name": "source", "label": "Source", "type": "datasource", "query": "prometheus"},
                _variable("job", f"label_values({_DECISION}, job)"),
                _variable("route", f'label_values({_DECISION}{{job=~"$job"}}, route)'),
            ]
        },
        "panels": [_panel(number, panel) for number, panel in enumerate(panels)],
    }


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def _panel(number: int, panel: _Panel) -> dict[str, Any]:
    title, unit, text, queries = panel
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": title,
        "description": text,
        "datasource": _SOURCE,
        "gridPos": {"x": number % 2 * _WIDTH, "y": number // 2 * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "options": {
            "legend": {"displayMode": "table", "placement": "right", "calcs": ["lastNotNull", "max"]}
        },
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "datasource": _SOURCE,
                "expr": expression,
                "legendFormat": legend,
            }
            for place, (expression, legend) in enumerate(queries)
        ],
    }
