"""What an integration says whose framework is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from atrion.errors import MissingExtraError

__all__ = ["needs"]


@contextmanager
def needs(feature: str, extra: str) -> Iterator[None]:
    """Around imports of a framework: one that is missing names the pip command.

    Raises:
        MissingExtraError: something within cannot be imported.
    """
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(feature, extra) from error
