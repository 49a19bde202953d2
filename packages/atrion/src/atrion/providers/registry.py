"""Providers by URL, found among the entry points of the group ``atrion.providers``."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from atrion.errors import ConfigurationError
from atrion.providers.memory import InMemoryProvider
from atrion.state.port import StateProvider

__all__ = ["GROUP", "provider_from", "without_password"]

GROUP = "atrion.providers"
_METHODS = ("connect", "disconnect", "get_vector", "update_vector")
_SECRET = re.compile(r"((?:^|[?&])[^=&]*(?:password|passwd|secret|token)[^=&]*=)[^&]*", re.IGNORECASE)


def without_password(url: str) -> str:
    """A URL as it may be shown and logged: secrets become ``***``, before the host and in the query."""
    try:
        parts = urlsplit(url)
    except ValueError:  # what cannot be read cannot be shown safely either
        return url.partition(":")[0] + "://…"
    if "@" not in parts.netloc and "@" in url:  # a password with a bare / or ? or # in it looks like a path
        return f"{parts.scheme}://…"
    login, at, hosts = parts.netloc.rpartition("@")
    user, colon, _ = login.partition(":")
    shown = f"{user}{colon}***{at}{hosts}" if colon else parts.netloc
    query = _SECRET.sub(r"\1***", parts.query)
    if (shown, query) == (parts.netloc, parts.query):
        return url
    return urlunsplit(parts._replace(netloc=shown, query=query))


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
            cure = (
                f"the known schemes are {names}; redis and postgresql come with: pip install atrion-cluster"
            )
            raise ConfigurationError(field, without_password(source), cure)
        factory = known[scheme].load()
        try:
            provider: StateProvider = factory.from_url(source)
        except ValueError as error:
            raise ConfigurationError(field, without_password(source), str(error)) from error
        return provider
    for method in _METHODS:
        if not callable(getattr(source, method, None)):
            raise ConfigurationError(field, source, f"it needs the methods {', '.join(_METHODS)}")
    checked: StateProvider = source
    return checked
