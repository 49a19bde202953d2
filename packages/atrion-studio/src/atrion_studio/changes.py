"""The few things that may be changed from the Studio, if it was allowed to: each leaves a line for the audit."""

from __future__ import annotations

import logging
import time
from collections import deque
from dataclasses import replace
from typing import Any

from atrion import SLO, Atrion
from atrion.errors import ConfigurationError

__all__ = ["Changes"]

audit: logging.Logger = logging.getLogger("atrion.studio.audit")

KEPT = 100
"""Changes that are shown, the last ones."""


class Changes:
    """Applies changes to an engine, and remembers the last of them."""

    def __init__(self, engine: Atrion) -> None:
        self.engine = engine
        self.made: deque[dict[str, Any]] = deque(maxlen=KEPT)

    def apply(self, wanted: dict[str, Any], who: str) -> dict[str, Any]:
        """Change ``wanted["setting"]`` of ``wanted["route"]`` to ``wanted["value"]``; returns the audit's line.

        Settings are ``gamma``, ``latency`` (seconds, or None for no promise), ``error_rate``, ``enforce``, and
        ``reset``, which takes no value.

        Raises:
            ConfigurationError: an unknown route or setting, or an unusable value; nothing was changed then.
        """
        setting, route_id, value = wanted.get("setting"), wanted.get("route"), wanted.get("value")
        if not isinstance(route_id, str) or route_id not in self.engine.routes:
            raise ConfigurationError("route", route_id, "name a route that the Studio shows")
        engine = self.engine
        settings = engine.routes[route_id].settings
        slo: SLO = settings.slo
        before: Any = None
        match setting:
            case "gamma":
                before = settings.gamma
                engine.configure(route_id, gamma=_given(setting, value))
            case "latency":
                before = slo.latency
                engine.configure(route_id, slo=replace(slo, latency=value))
            case "error_rate":
                before = slo.error_rate
                engine.configure(route_id, slo=replace(slo, error_rate=_given(setting, value)))
            case "enforce":
                before = settings.enforce
                engine.configure(route_id, enforce=_given(setting, value))
            case "reset":
                engine.reset(route_id)
            case _:
                raise ConfigurationError(
                    "setting", setting, "use gamma, latency, error_rate, enforce or reset"
                )
        line = {
            "at": time.time(),
            "who": who,
            "route": route_id,
            "setting": setting,
            "before": before,
            "after": value,
        }
        self.made.append(line)
        audit.warning(
            "%s changed %s of %s from %r to %r",
            who,
            setting,
            route_id,
            before,
            value,
            extra={name: entry for name, entry in line.items() if name != "at"},
        )
        return line


def _given(setting: str, value: Any) -> Any:
    """A value that must not be missing: the engine takes None for "unchanged"."""
    if value is None:
        raise ConfigurationError(setting, value, "give a value")
    return value
