"""Alert rules, judged by Prometheus's own tool on what a collector told in runs of the lab."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.samples import Sample

from atrion import Atrion
from atrion.engine import on_engine
from atrion.integrations.prometheus import AtrionCollector
from atrion.metrics import names
from atrion.metrics.alerts import ALERTS, rules
from atrion.metrics.dashboards import DASHBOARDS, dashboard
from atrion.providers.memory import InMemoryProvider
from atrion_lab.policies.catalog import controller
from atrion_lab.scenario import World
from atrion_lab.scenario_file import read_text

SCRAPE = 15
"""Seconds between scrapes."""
MINUTES = 9

CALM = """
name = "shop"
seconds = 540
[servers.api]
workers = 2
service = {{ law = "fixed", mean = 0.05 }}
{phases}
[[traffic]]
to = "api"
arrivals = {{ law = "poisson", rate = {rate} }}
mix = {mix}
keys = 100
{more}
"""
EVERYBODY = "{ critical = 0.1, high = 0.1, normal = 0.3, low = 0.2, bulk = 0.3 }"
DEAD = "[[servers.api.phases]]\nstart = 60\nfail = 1.0\nfail_after = 0.005"
GRAY = "[[servers.api.phases]]\nstart = 60\nfail = 0.5\nfail_after = 0.05"

Told = dict[str, list[float]]
"""Values by series, one a scrape; NaN where it was absent."""


def tool() -> str:
    found = shutil.which("promtool")
    assert found is not None, "promtool is missing: scripts/debian-packages prometheus"
    return found


def series_of(sample: Sample, instance: str) -> str:
    labels = sample.labels | {"job": "shop", "instance": instance}
    return sample.name + "{" + ",".join(f"{name}={json.dumps(value)}" for name, value in labels.items()) + "}"


def play(
    phases: str = "",
    rate: float = 20.0,
    mix: str = EVERYBODY,
    more: str = "",
    prepare: Callable[[Atrion], object] = lambda engine: None,
) -> Told:
    """Run a shop of 40 calls a second, and scrape each of its processes."""
    text = CALM.format(phases=phases, rate=rate, mix=mix, more=more)
    collectors: list[AtrionCollector] = []
    told: Told = {}

    def begin(engine: Atrion) -> None:
        collectors.append(AtrionCollector(engine))
        prepare(engine)

    with ExitStack() as stack:
        stack.callback(on_engine(begin))
        world = World(read_text(text, Path()).scenario, controller("atrion"), 1)
        if world.network is not None:
            stack.enter_context(world.network.quiet())
        world.start()
        for scrape in range(MINUTES * 60 // SCRAPE):
            world.simulation.run(float(scrape * SCRAPE))
            for pod, collector in enumerate(collectors):
                for family in collector.collect():
                    for sample in family.samples:
                        values = told.setdefault(series_of(sample, f"pod-{pod}"), [])
                        values += [math.nan] * (scrape - len(values))
                        values.append(sample.value)
    return told


def judged(told: Told, folder: Path, query: str, *expected: float, minutes: int = MINUTES) -> str:
    """What promtool finds wrong if the ``query`` does not give the ``expected`` values; nothing if it does."""
    (folder / "rules.yml").write_text(json.dumps(rules()))
    test = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": f"{SCRAPE}s",
                "input_series": [
                    {
                        "series": name,
                        "values": " ".join("_" if math.isnan(v) else f"{v:.17g}" for v in values),
                    }
                    for name, values in told.items()
                ],
                "promql_expr_test": [
                    {
                        "expr": query,
                        "eval_time": f"{minutes}m",
                        "exp_samples": [{"labels": "{}", "value": value} for value in expected],
                    }
                ],
            }
        ],
    }
    (folder / "test.yml").write_text(json.dumps(test))
    done = subprocess.run(
        [tool(), "test", "rules", "test.yml"], cwd=folder, check=False, capture_output=True, text=True
    )
    return "" if done.returncode == 0 else (done.stdout + done.stderr)[-2000:]


def fires(alert: str) -> str:
    """1 if the alert has fired at any time."""
    return f'group(max_over_time(ALERTS{{alertname="{alert}",alertstate="firing"}}[1d]))'


def raise_always(engine: Atrion) -> None:
    class Broken:
        def on_tick(self, state: object) -> None:
            raise RuntimeError("broken")

    engine.observe(Broken())


SCENARIOS: dict[str, Callable[[], Told]] = {
    "AtrionBreakerOpen": lambda: play(phases=DEAD),
    "AtrionShedsImportantRequests": lambda: play(rate=100.0, mix="{ critical = 1.0 }"),
    "AtrionShedsMuch": lambda: play(rate=120.0),
    "AtrionCallsFail": lambda: play(phases=GRAY),
    "AtrionStoreDown": lambda: play(more="[cluster]\npods = 2\ninterval = 1.0\napart = [60.0, 500.0, 0.5]"),
    "AtrionObserverFails": lambda: play(prepare=raise_always),
}


@pytest.fixture(scope="module")
def calm() -> Told:
    return play()


@pytest.mark.slow
def test_no_alert_fires_in_calm(calm: Told, tmp_path: Path) -> None:
    assert judged(calm, tmp_path, 'max_over_time(ALERTS{alertstate="firing"}[1d])') == ""


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("alert", SCENARIOS)
def test_each_alert_fires_in_its_scenario_and_not_in_calm(alert: str, calm: Told, tmp_path: Path) -> None:
    assert judged(SCENARIOS[alert](), tmp_path, fires(alert), 1.0) == ""
    # The tool would notice if it had not fired.
    assert "got" in judged(calm, tmp_path, fires(alert), 1.0)


@pytest.mark.parametrize("days, expected", [(10, (1.0,)), (40, ())])
def test_a_licence_that_ends_soon_is_told(days: int, expected: tuple[float, ...], tmp_path: Path) -> None:
    class Licensed(InMemoryProvider):
        def license_status(self) -> SimpleNamespace:
            return SimpleNamespace(ends_at=86_400.0 * days)  # the tool's time begins at 0

    collector = AtrionCollector(Atrion(provider=Licensed()))
    told = {
        series_of(sample, "pod-0"): [sample.value] * 500
        for family in collector.collect()
        for sample in family.samples
    }
    assert judged(told, tmp_path, fires("AtrionLicenseExpires"), *expected, minutes=100) == ""


def test_every_alert_has_its_scenario() -> None:
    assert {*SCENARIOS, "AtrionLicenseExpires"} == {alert.name for alert in ALERTS}


def test_promtool_finds_no_fault_in_the_rules(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(json.dumps(rules()))
    done = subprocess.run(
        [tool(), "check", "rules", tmp_path / "rules.yml"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_name_in_dashboards_and_alerts_is_told(calm: Told) -> None:
    text = json.dumps([rules(), *(dashboard(name) for name in DASHBOARDS)])
    asked = set(re.findall(r"\batrion_[a-z_]+", text))
    seen = {name.partition("{")[0] for name in calm}
    # Nothing breaks in calm, and one process alone has neither licence nor pulse; other tests see these.
    elsewhere = {names.TRANSITION, names.LICENSE, names.PULSE_DURATION, names.STORE_AGE}
    assert asked <= seen | {metric.series for metric in elsewhere}
    assert {names.DECISION.series, names.PART.series} <= asked


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_query_of_a_dashboard_is_one(name: str, calm: Told, tmp_path: Path) -> None:
    board: dict[str, Any] = dashboard(name)
    for panel in board["panels"]:
        for target in panel["targets"]:
            query = (
                target["expr"].replace("$__rate_interval", "5m").replace("$job", ".*").replace("$route", ".*")
            )
            # Whatever it gives, it can be evaluated, with labels that are there.
            assert judged(calm, tmp_path, f"group(({query}) * 0) or vector(1)", 1.0) == "", target["expr"]
