"""Errors of integrations whose framework is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from atrion.errors import MissingExtraError

__all__ = ["needs"]


@contextmanager
def needs(feature: str, extra: str) -> Iterator[None]:
    """Put around the imports of a framework; if one fails, the error names the pip command.

    Raises:
        MissingExtraError: something within cannot be imported.
    """
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(feature, extra) from error
