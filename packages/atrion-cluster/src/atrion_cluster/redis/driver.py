"""All uses of private parts of redis-py and asyncio.

redis-py cannot drop a connection at once, or check whether the server has closed it; asyncio cannot end the transports
of a closed loop. ``tests/redis/test_driver.py`` fails if a new version changes any of this.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from redis.asyncio import Connection

__all__ = ["detach", "end_transport", "streams_of"]


def streams_of(connection: Connection) -> tuple[asyncio.StreamReader | None, asyncio.StreamWriter | None]:
    """The streams of a connection; None if it has none."""
    return connection._reader, connection._writer


def detach(connection: Connection) -> None:
    """Detach a connection's streams: on garbage collection it would warn, and close them again."""
    connection._reader = connection._writer = None


def end_transport(transport: asyncio.WriteTransport) -> None:
    """Close the socket of a ``transport`` whose loop is closed."""
    unfinished: Any = transport
    with suppress(RuntimeError):
        unfinished.abort()
    with suppress(RuntimeError, AttributeError):
        unfinished._call_connection_lost(None)  # what the loop would have called next; not present in uvloop
