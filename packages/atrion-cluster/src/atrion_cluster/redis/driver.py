"""What is used of redis-py and asyncio that is not their public interface, and nothing else.

redis-py has no way to drop a connection at once, nor to look whether the server has hung up; asyncio has none to end
the transports of a loop that is closed. ``tests/redis/test_driver.py`` says when a new version has changed any of it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from redis.asyncio import Connection

__all__ = ["detach", "end_transport", "streams_of"]


def streams_of(connection: Connection) -> tuple[asyncio.StreamReader | None, asyncio.StreamWriter | None]:
    """The streams of a connection; None where it has none."""
    return connection._reader, connection._writer


def detach(connection: Connection) -> None:
    """Take a connection's streams away: it would complain when it is collected, and close them once more."""
    connection._reader = connection._writer = None


def end_transport(transport: asyncio.WriteTransport) -> None:
    """Close the socket of a ``transport`` whose loop is closed and will never do it."""
    unfinished: Any = transport
    with suppress(RuntimeError):
        unfinished.abort()
    with suppress(RuntimeError, AttributeError):
        unfinished._call_connection_lost(None)  # what the loop would have called next; uvloop has none
