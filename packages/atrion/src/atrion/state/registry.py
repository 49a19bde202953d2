"""Providers by URL, found among the entry points of the group ``atrion.providers``."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from atrion.errors import ConfigurationError
from atrion.state.memory import InMemoryProvider
from atrion.state.port import StateProvider

__all__ = ["GROUP", "provider_from"]

GROUP = "atrion.providers"
_METHODS = ("connect", "disconnect", "get_vector", "update_vector")


def _without_password(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:  # what cannot be read cannot be shown safely either
        return url.partition(":")[0] + "://…"
    if parts.password is None:
        return url
    return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:***@{parts.hostname or ''}"))


def provider_from(source: Any, field: str = "provider") -> StateProvider:
    """The provider meant by ``source``: None (memory), a URL, or a provider itself; ``field`` names it in errors.

    Raises:
        ConfigurationError: the URL's scheme is unknown, or the object lacks a method of the port.
    """
    if source is None:
        return InMemoryProvider()
    if isinstance(source, str):
        scheme = source.partition(":")[0]
        if scheme == "memory":
            return InMemoryProvider()
        known = {entry.name: entry for entry in entry_points(group=GROUP)}
        if scheme not in known:
            names = ", ".join(sorted({"memory", *known}))
            cure = f"the known schemes are {names}; install the package that brings another, such as atrion-cluster"
            raise ConfigurationError(field, _without_password(source), cure)
        factory = known[scheme].load()
        try:
            provider: StateProvider = factory.from_url(source)
        except ValueError as error:
            raise ConfigurationError(field, _without_password(source), str(error)) from error
        return provider
    for method in _METHODS:
        if not callable(getattr(source, method, None)):
            raise ConfigurationError(field, source, f"it needs the methods {', '.join(_METHODS)}")
    checked: StateProvider = source
    return checked
