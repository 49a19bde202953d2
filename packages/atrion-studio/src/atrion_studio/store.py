"""The nodes of a store as a source: each publishes its vitals for as long as somebody watches."""

from __future__ import annotations

from typing import Any

from atrion import Atrion
from atrion.errors import AtrionError, ConfigurationError
from atrion.providers.provider_urls import provider_from, without_password
from atrion.state.port import VITALS_EXPIRY, StateProvider, VitalsExchange
from atrion.vitals import unpack_vitals
from atrion_studio.merge import merged
from atrion_studio.source import Row, licence_of

__all__ = ["StoreSource"]


class StoreSource:
    """Every node that shares a store, read as one.

    Raises:
        ConfigurationError: the URL is unusable, or the store cannot pass on vitals.
    """

    engine: Atrion | None = None

    def __init__(self, url: str) -> None:
        provider = provider_from(url)
        if not isinstance(provider, VitalsExchange):
            raise ConfigurationError(
                "URL", url, "use a store that nodes share: workers:///folder or redis://host"
            )
        self.title: str = without_password(url)
        self._provider: StateProvider = provider
        self._vitals: VitalsExchange = provider
        self._connected = False
        self._failures = 0

    def attach(self) -> None:
        """Reading is what lets the nodes know."""

    def detach(self) -> None:
        """Nodes stop by themselves, a few seconds after the last reading."""

    async def read(self) -> tuple[dict[str, Row], dict[str, Any]]:
        """The routes of all nodes, joined, and the nodes with the age of what they said."""
        nodes: list[dict[str, Any]] = []
        found: dict[str, dict[str, Row]] = {}
        healthy = True
        try:
            if not self._connected:
                await self._provider.connect()
                self._connected = True
            for node, (age, packed) in sorted((await self._vitals.watch_vitals()).items()):
                rows = unpack_vitals(packed)
                if rows is None or age > VITALS_EXPIRY:
                    continue
                found[node] = rows
                nodes.append({"node": node, "age": round(age, 1), "routes": len(rows)})
        except (AtrionError, OSError, TimeoutError):
            healthy = self._connected = False
            self._failures += 1
        cluster = {
            "node": None,
            "provider": type(self._provider).__name__,
            "healthy": healthy,
            "failures": self._failures,
            "dropped_rows": 0,
            **licence_of(self._provider),
            "nodes": nodes,
        }
        return merged(found), cluster

    async def close(self) -> None:
        """Leave the store."""
        await self._provider.disconnect()
