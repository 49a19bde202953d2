from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from atrion_cluster.licence import LicenseWatch, Secret
from atrion_cluster.licence.metrics import LicenseCollector
from atrion_cluster.redis import RedisClusterProvider
from licence_vendor import Vendor

ALERTS = Path(__file__).parents[4] / "examples" / "prometheus" / "license-alerts.yaml"


def scraped(provider: RedisClusterProvider) -> str:
    registry = CollectorRegistry()
    registry.register(LicenseCollector(provider))
    return generate_latest(registry).decode()


def test_a_licence_is_scraped_as_gauges(vendor: Vendor) -> None:
    text = vendor.issue(not_before="2026-01-01", expires="2899-12-31")
    page = scraped(RedisClusterProvider({"url": "redis://localhost"}, license=text))
    assert "atrion_license_expiry_timestamp_seconds 2.9348" in page
    assert "atrion_license_cluster_limit 5.0" in page
    assert 'atrion_license_state{state="active"} 1.0' in page
    assert 'atrion_license_state{state="lapsed"} 0.0' in page
    assert text not in page


def test_without_a_key_there_is_no_expiry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ATRION_LICENSE_KEY")
    page = scraped(RedisClusterProvider({"url": "redis://localhost"}))
    assert "expiry" not in page
    assert 'atrion_license_state{state="evaluation"} 1.0' in page


def test_the_alerts_ask_for_gauges_that_exist(vendor: Vendor) -> None:
    class Counted:
        def __init__(self) -> None:
            self._watch = LicenseWatch(Secret(vendor.issue()))
            self._watch.counted(2)
            self.license_status = self._watch.status

    registry = CollectorRegistry()
    registry.register(LicenseCollector(Counted()))
    page = generate_latest(registry).decode()
    rules = ALERTS.read_text()
    asked = set(re.findall(r"atrion_license_\w+", rules))
    assert len(asked) == 4
    assert asked <= set(re.findall(r"^(atrion_license_\w+)", page, re.MULTILINE))
    states = re.search(r'state=~"([^"]+)"', rules)
    assert states is not None
    assert all(f'state="{state}"' in page for state in states[1].split("|"))
