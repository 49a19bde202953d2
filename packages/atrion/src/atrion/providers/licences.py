"""Handing a licence key to the providers that take one."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from atrion.errors import ConfigurationError

__all__ = ["Licensed", "use_license"]


@runtime_checkable
class Licensed(Protocol):
    """Optional: a provider that takes a licence key."""

    def use_license(self, license: str) -> None:
        """Take a licence key.

        Raises:
            ConfigurationError: it is malformed, wrongly signed or not yet valid.
        """
        ...


def use_license(license: str | None, *providers: object) -> ConfigurationError | None:
    """Give the key to each provider that takes one; returns why it was refused, None if it was not.

    The error is returned without its frames, whose local variables hold the key.
    """
    if not license:
        return None
    for provider in providers:
        if isinstance(provider, Licensed):
            try:
                provider.use_license(license)
            except ConfigurationError as error:
                return error.with_traceback(None)
    return None
