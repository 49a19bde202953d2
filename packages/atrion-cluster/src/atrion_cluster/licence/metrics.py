"""A licence as gauges for Prometheus (``pip install "atrion-cluster[prometheus]"``), read when they are scraped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

try:
    from prometheus_client import Metric
    from prometheus_client.core import GaugeMetricFamily
    from prometheus_client.registry import Collector
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        'licence metrics need an optional extra: pip install "atrion-cluster[prometheus]"'
    ) from error

from atrion_cluster.licence.status import LicenseState, LicenseStatus

__all__ = ["LicenseCollector", "Licensed"]


class Licensed(Protocol):
    """A provider that knows how its licence stands."""

    def license_status(self) -> LicenseStatus:
        """How it stands now."""
        ...


class LicenseCollector(Collector):
    """``REGISTRY.register(LicenseCollector(provider))``.

    - ``atrion_license_expiry_timestamp_seconds``: when the licence's last day ends; absent without a key.
    - ``atrion_license_clusters`` and ``atrion_license_cluster_limit``: namespaces in the store and how many are
      covered; absent where they are unknown or unlimited.
    - ``atrion_license_state``: 1 for the state it is in, 0 for the others.
    """

    def __init__(self, provider: Licensed) -> None:
        self._provider = provider

    def collect(self) -> Iterator[Metric]:
        """The gauges."""
        status = self._provider.license_status()
        for name, text, value in (
            ("expiry_timestamp_seconds", "When the licence's last day ends.", status.ends_at),
            ("clusters", "Namespaces in use in the same store.", status.clusters),
            ("cluster_limit", "Clusters that the licence covers.", status.limit),
        ):
            if value is not None:
                yield GaugeMetricFamily(f"atrion_license_{name}", text, value=value)
        states = GaugeMetricFamily("atrion_license_state", "1 for how the licence stands.", labels=["state"])
        for state in LicenseState:
            states.add_metric([state.value], float(state is status.state))
        yield states
