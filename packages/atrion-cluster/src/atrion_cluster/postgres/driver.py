"""A psycopg connection that is closed at once; the only use of the way in which psycopg waits.

``tests/postgres/test_driver.py`` fails if a new version of psycopg changes this.
"""

from __future__ import annotations

import asyncio
from typing import Any

from psycopg import AsyncConnection, waiting

__all__ = ["Connection"]


class Connection(AsyncConnection[tuple[Any, ...]]):
    """A connection that is closed at once when what it waits for is cancelled.

    The driver would first ask the server to cancel, and wait seconds for one that hangs.
    """

    async def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for ``gen``."""
        try:
            return await waiting.wait_async(gen, self.pgconn.socket, interval=interval, timeout=timeout)
        except asyncio.CancelledError:
            self.pgconn.finish()
            raise

    def drop(self) -> None:
        """Close it, without waiting for the server."""
        self.pgconn.finish()
