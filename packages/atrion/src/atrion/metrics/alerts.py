"""Prometheus alert rules, made from the metrics' own names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from atrion.metrics import names

__all__ = ["ALERTS", "Alert", "rules"]


@dataclass(frozen=True)
class Alert:
    """One alert.

    Attributes:
        name: Its name.
        expression: It is true while this query has a result.
        lasts: For how long it must be true, as Prometheus writes durations.
        severity: ``critical`` is worth waking somebody, ``warning`` is worth a look within the day.
        summary: What is wrong, with Prometheus's templates.
        action: What to do first; the documentation has more.
    """

    name: str
    expression: str
    lasts: str
    severity: Literal["critical", "warning"]
    summary: str
    action: str


_DECISION: Final = names.DECISION.series
_CALL: Final = names.CALL.series
_PERCENT: Final = "{{ $value | humanizePercentage }}"


def _rate(counter: str, which: str = "") -> str:
    """Events a second, by route, of the series of a counter that match."""
    return f"sum by (route) (rate({counter}{which}[5m]))"


ALERTS: Final = (
    Alert(
        "AtrionBreakerOpen",
        f"max by (route) ({names.BREAKER.series}) == 1",
        "1m",
        "critical",
        "The circuit breaker of {{ $labels.route }} has been open for a minute: only probes pass.",
        "See what the dependency behind the route says; the breaker closes by itself once probes succeed.",
    ),
    Alert(
        "AtrionShedsImportantRequests",
        _rate(_DECISION, '{outcome="shed",tier=~"high|critical"}')
        + " / "
        + _rate(_DECISION, '{tier=~"high|critical"}')
        + " > 0.01",
        "2m",
        "critical",
        f"{{{{ $labels.route }}}} sheds {_PERCENT} of its high and critical requests.",
        "Shedding the lower tiers does not suffice: add capacity, or mend what is slow or failing.",
    ),
    Alert(
        "AtrionShedsMuch",
        _rate(_DECISION, '{outcome="shed"}') + " / " + _rate(_DECISION) + " > 0.2",
        "5m",
        "warning",
        f"{{{{ $labels.route }}}} sheds {_PERCENT} of its requests.",
        "Look at the reason: a queue needs capacity, failures and late answers need the dependency mended.",
    ),
    Alert(
        "AtrionCallsFail",
        _rate(_CALL, '{outcome="failure"}') + " / " + _rate(_CALL) + " > 0.1",
        "2m",
        "warning",
        f"{_PERCENT} of the admitted calls of {{{{ $labels.route }}}} fail.",
        "See what the dependency behind the route says, and what was deployed last.",
    ),
    Alert(
        "AtrionStoreDown",
        f"min by (job, instance) ({names.STORE_HEALTHY.series}) == 0",
        "1m",
        "warning",
        "{{ $labels.instance }} does not reach its store: requests are unaffected, but nothing is shared.",
        "Run atrion doctor with the URL of the store.",
    ),
    Alert(
        "AtrionObserverFails",
        f"sum by (job, instance) (increase({names.OBSERVER_FAILURE.series}[10m])) > 0",
        "0m",
        "warning",
        "An observer in {{ $labels.instance }} raises exceptions: what it tells is incomplete.",
        "The first exception of each process is in its log, from the logger atrion.",
    ),
    Alert(
        "AtrionLicenseExpires",
        f"min({names.LICENSE.series}) - time() < 14 * 86400",
        "1h",
        "warning",
        "The licence ends in {{ $value | humanizeDuration }}; sharing goes on afterwards.",
        "Renew the licence, and replace the key in ATRION_LICENSE_KEY.",
    ),
)


def rules() -> dict[str, Any]:
    """The rules as a file for Prometheus; JSON is YAML."""
    return {
        "groups": [
            {
                "name": "atrion",
                "rules": [
                    {
                        "alert": alert.name,
                        "expr": alert.expression,
                        "for": alert.lasts,
                        "labels": {"severity": alert.severity},
                        "annotations": {"summary": alert.summary, "action": alert.action},
                    }
                    for alert in ALERTS
                ],
            }
        ]
    }
