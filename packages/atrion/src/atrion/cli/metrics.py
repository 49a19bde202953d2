"""``atrion metrics``: what is measured, and dashboards and alert rules made of it."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any

from atrion.cli.parser import examples
from atrion.metrics.alerts import rules
from atrion.metrics.dashboards import DASHBOARDS, dashboard
from atrion.metrics.names import METRICS

__all__ = ["add_parser"]


def add_parser(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "metrics",
        help="list the metrics, or print a dashboard or alert rules made of them",
        epilog=examples(
            "atrion metrics list",
            "atrion metrics dashboard overview > overview.json    for Grafana",
            "atrion metrics alerts > atrion-alerts.yml            for Prometheus",
        ),
    )
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True)
    listing = kinds.add_parser("list", help="every metric, with its unit and labels")
    listing.add_argument("--json", action="store_true", help="print one JSON array")
    listing.set_defaults(run=_list)
    drawing = kinds.add_parser("dashboard", help="a dashboard of Grafana, as JSON")
    drawing.add_argument("name", choices=DASHBOARDS, help="all routes, or one in detail")
    drawing.set_defaults(run=_dashboard)
    kinds.add_parser("alerts", help="alert rules for Prometheus; JSON, which is YAML").set_defaults(
        run=_alerts
    )


def _list(arguments: argparse.Namespace) -> int:
    if arguments.json:
        print(json.dumps([asdict(metric) | {"prometheus": metric.series} for metric in METRICS], indent=2))
        return 0
    for metric in METRICS:
        labels = ", ".join(metric.labels)
        print(f"{metric.series}" + (f"{{{labels}}}" if labels else ""))
        print(f"    {metric.name}, a {metric.kind} in {metric.unit}. {metric.text}")
    return 0


def _dashboard(arguments: argparse.Namespace) -> int:
    print(json.dumps(dashboard(arguments.name), indent=2))
    return 0


def _alerts(arguments: argparse.Namespace) -> int:
    print(json.dumps(rules(), indent=2, ensure_ascii=False))
    return 0
