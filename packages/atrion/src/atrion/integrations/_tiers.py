"""Tiers by path, and tiers of handlers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from atrion.errors import ConfigurationError
from atrion.physics.voltage import Tier, TierLike

__all__ = ["PathTiers", "declared_tier", "tier"]

F = TypeVar("F", bound=Callable[..., Any])
MARK = "__atrion_tier__"


def tier(value: TierLike) -> Callable[[F], F]:
    """A decorator that sets the tier of a handler's requests, unless an option of the guard does.

    Put it below the framework's decorators, next to the function.

    Raises:
        ConfigurationError: the tier is invalid.
    """
    parsed = Tier.parse(value)

    def mark(handler: F) -> F:
        setattr(handler, MARK, parsed)
        return handler

    return mark


def declared_tier(handler: object) -> Tier | None:
    """The tier that :func:`tier` has set for a handler, or None."""
    found = getattr(handler, MARK, None)
    return found if isinstance(found, Tier) else None


class PathTiers:
    """Tiers of paths by patterns such as ``/checkout/*`` or ``POST /orders``; the longest match wins.

    ``*`` matches any characters, or none.

    Raises:
        ConfigurationError: a pattern or a tier is unusable.
    """

    def __init__(self, tiers: Mapping[str, TierLike]) -> None:
        cure = 'give tiers by path, such as {"/checkout/*": "critical"}'
        if not isinstance(tiers, Mapping):
            raise ConfigurationError("tiers", tiers, cure)
        self._tiers: list[tuple[re.Pattern[str], Tier]] = []
        for pattern in sorted(tiers, key=lambda pattern: -len(str(pattern).replace("*", ""))):
            if re.match(r"([A-Z]+ )?[/*]", str(pattern)) is None:
                raise ConfigurationError("tiers", pattern, cure)
            method, _, path = pattern.rpartition(" ")
            expression = f"{method or '[A-Z]+'} " + ".*".join(map(re.escape, path.split("*")))
            tier = Tier.parse(tiers[pattern], f"tiers[{pattern!r}]")
            self._tiers.append((re.compile(expression, re.DOTALL), tier))

    def of(self, method: str, path: str) -> Tier | None:
        """The tier of a request, or None if no pattern matches."""
        said = f"{method} {path}"
        for pattern, tier in self._tiers:
            if pattern.fullmatch(said):
                return tier
        return None
