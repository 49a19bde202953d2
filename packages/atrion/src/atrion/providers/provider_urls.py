"""Providers by URL: those of this package, and entry points of the group ``atrion.providers``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from atrion.errors import ConfigurationError
from atrion.providers.memory import InMemoryProvider
from atrion.state.port import StateProvider

__all__ = ["GROUP", "provider_from", "without_password"]

GROUP = "atrion.providers"
OWN = {
    "memory": ("atrion.providers.memory", "InMemoryProvider"),
    "workers": ("atrion.providers.workers", "WorkersProvider"),
}
"""Providers of this package, which work without package metadata (PyInstaller, zipapp) as well."""
CLUSTER = ("redis", "postgres")
"""Prefixes of the schemes that atrion-cluster provides."""
_METHODS = ("connect", "disconnect", "get_vector", "update_vector")
_SECRET = re.compile(r"((?:^|[?&])[^=&]*(?:password|passwd|secret|token)[^=&]*=)[^&]*", re.IGNORECASE)


def without_password(url: str) -> str:
    """A URL that may be logged: passwords before the host and in the query are replaced by ``***``."""
    try:
        parts = urlsplit(url)
    except ValueError:  # a URL that cannot be parsed cannot be redacted
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


def _known() -> dict[str, Callable[[], Any]]:
    """Loaders of provider classes, by scheme."""
    from importlib.metadata import entry_points  # takes longer to import than all of this package

    own: dict[str, Callable[[], Any]] = {
        scheme: partial(_imported, module, name) for scheme, (module, name) in OWN.items()
    }
    return own | {entry.name: entry.load for entry in entry_points(group=GROUP)}


def _imported(module: str, name: str) -> Any:
    return getattr(import_module(module), name)


def _cure(scheme: str, known: Iterable[str]) -> str:
    schemes = f"the known schemes are {', '.join(sorted(known))}"
    if not scheme.startswith(CLUSTER):
        return f"{schemes}; other packages add theirs as entry points of {GROUP}"
    return (
        f"{schemes}; {scheme} comes with: pip install atrion-cluster (a bundle has to include the metadata of that"
        " package, or to make the provider itself and give it instead of a URL)"
    )


def provider_from(source: StateProvider | str | None, field: str = "provider") -> StateProvider:
    """The provider for ``source``: None (memory), a URL, or a provider; errors call it ``field``.

    Raises:
        ConfigurationError: an unknown scheme, or an object without all methods of the port or of ClusterSync.
    """
    if source is None:
        return InMemoryProvider()
    if isinstance(source, str):
        scheme = source.partition(":")[0]
        if scheme == "memory":
            return InMemoryProvider()
        known = _known()
        if scheme not in known:
            raise ConfigurationError(field, without_password(source), _cure(scheme, known))
        factory = known[scheme]()
        try:
            provider: StateProvider = factory.from_url(source)
        except ValueError as error:
            raise ConfigurationError(field, without_password(source), str(error)) from error
        return provider
    for method in _METHODS:
        if not callable(getattr(source, method, None)):
            raise ConfigurationError(field, source, f"it needs the methods {', '.join(_METHODS)}")
    if hasattr(source, "exchange") != hasattr(source, "listen"):
        raise ConfigurationError(
            field, source, "a provider with one of exchange and listen needs the other too"
        )
    return source
