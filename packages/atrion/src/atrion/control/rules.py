"""Settings by route id and by pattern: from the least specific to the most specific, setting by setting."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from atrion.control.settings import Settings

__all__ = ["RouteRules"]


class _Rule:
    """The options of an id, or of the ids that a pattern with ``*`` matches."""

    def __init__(self, pattern: str) -> None:
        parts = pattern.split("*")
        self.pattern = pattern
        self.exact = len(parts) == 1
        self.length = sum(map(len, parts))
        self.given: dict[str, Any] = {}
        self.matched = False
        self._matches = re.compile(".*".join(map(re.escape, parts)), re.DOTALL).fullmatch

    def matches(self, route_id: str) -> bool:
        """Whether it applies to a route; ``*`` matches any characters, or none."""
        return self._matches(route_id) is not None


class RouteRules:
    """The settings of every route, from ``default`` and the rules that match its id.

    An id overrides patterns, and a pattern with more characters besides ``*`` overrides one with fewer; among equals,
    the later one wins. Routes that match the same rules share one settings object.

    Args:
        default: The engine's value of every option.
        enforced: False for shadow mode on every route, whatever the rules say.

    Raises:
        ConfigurationError: a value is unusable.
    """

    def __init__(self, default: Mapping[str, Any], enforced: bool = True) -> None:
        self._default = dict(default)
        self._enforced = enforced
        self._ids: dict[str, _Rule] = {}
        self._patterns: list[_Rule] = []
        self._forced: list[_Rule] = []
        self._made: dict[tuple[str | None, ...], Settings] = {}
        self._make(default)

    def _make(self, given: Mapping[str, Any]) -> Settings:
        if not self._enforced:
            given = {**given, "enforce": False}
        return Settings(**given)

    def add(self, pattern: str, given: Mapping[str, Any]) -> None:
        """Set the options ``given`` for an id or a pattern; its other options stay.

        Raises:
            ConfigurationError: a value is unusable.
        """
        self._make({**self._default, **given})  # refuses unusable values before anything is changed
        rule = self._ids.get(pattern) or next(
            (rule for rule in self._patterns if rule.pattern == pattern), None
        )
        if rule is None:
            rule = _Rule(pattern)
            if rule.exact:
                self._ids[pattern] = rule
            else:
                self._patterns = sorted([*self._patterns, rule], key=lambda rule: rule.length)
        rule.given.update(given)
        self._made.clear()

    def force(self, pattern: str, floor: float) -> Callable[[], None]:
        """Shed everything up to ``floor`` volts, whatever the rules say; returns a function that ends this."""
        rule = _Rule(pattern)
        rule.given["floor"] = floor
        self._forced.append(rule)
        self._made.clear()

        def end() -> None:
            self._forced.remove(rule)
            self._made.clear()

        return end

    def settings(self, route_id: str, pool: str | None = None) -> Settings:
        """The settings of a route, in ``pool`` unless another one is configured."""
        matching = [rule for rule in self._patterns if rule.matches(route_id)]
        if route_id in self._ids:
            matching.append(self._ids[route_id])
        matching += [rule for rule in self._forced if rule.matches(route_id)]
        key = (pool, *(rule.pattern for rule in matching))
        made = self._made.get(key)
        if made is None:
            given = self._default if pool is None else {**self._default, "pool": pool}
            for rule in matching:
                rule.matched = True
                given = {**given, **rule.given}
            made = self._made[key] = self._make(given)
        return made

    def unused(self) -> tuple[str, ...]:
        """Ids and patterns that no route has matched so far."""
        return tuple(rule.pattern for rule in (*self._ids.values(), *self._patterns) if not rule.matched)
