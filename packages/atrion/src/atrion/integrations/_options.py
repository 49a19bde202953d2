"""Checks of the options that guards of servers share."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

from atrion.errors import ConfigurationError

__all__ = ["check_flag", "check_function", "excluded", "prefixes"]


def check_function(field: str, value: object, gives: str) -> None:
    """Refuse what is not a plain function of a request that returns what it ``gives``; None is allowed.

    Raises:
        ConfigurationError: it is something else.
    """
    if value is None:
        return
    if not callable(value):
        raise ConfigurationError(field, value, f"give a function of a request that returns {gives}, or None")
    if inspect.iscoroutinefunction(value) or inspect.iscoroutinefunction(getattr(value, "__call__", None)):  # noqa: B004
        raise ConfigurationError(
            field, value, f"give a plain function that returns {gives}, not an async one"
        )


def check_flag(field: str, value: object) -> None:
    """Refuse what is neither True nor False.

    Raises:
        ConfigurationError: it is something else.
    """
    if not isinstance(value, bool):
        raise ConfigurationError(field, value, "give True or False")


def prefixes(exclude: object) -> tuple[str, ...]:
    """The path prefixes in ``exclude``, without a slash at their end.

    Raises:
        ConfigurationError: there is something else among them.
    """
    cure = 'give path prefixes that begin with "/", such as ("/health",)'
    if isinstance(exclude, (str, bytes)) or not isinstance(exclude, Iterable):
        raise ConfigurationError("exclude", exclude, cure)
    found = []
    for prefix in exclude:
        if not isinstance(prefix, str) or not prefix.startswith("/"):
            raise ConfigurationError("exclude", prefix, cure)
        found.append(prefix.rstrip("/") or "/")
    return tuple(found)


def excluded(path: str, exclude: tuple[str, ...]) -> bool:
    """Whether a path lies below one of the prefixes, by whole segments; ``/`` is the root alone."""
    for prefix in exclude:  # noqa: SIM110  # at every request, a generator costs more
        if path == prefix or (prefix != "/" and path.startswith(f"{prefix}/")):
            return True
    return False
