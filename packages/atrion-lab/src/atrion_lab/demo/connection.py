"""A client's HTTP/1.1 connection with little overhead, so that the load generator is not the bottleneck."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

__all__ = ["Connection"]

HEAD_END = b"\r\n\r\n"
LENGTH = b"\r\ncontent-length:"
CLOSE = b"\r\nconnection: close"


class Connection(asyncio.Protocol):
    """One keep-alive connection with one request at a time; ``heard`` gets the status, 0 if it is lost."""

    __slots__ = ("_buffer", "heard", "transport")

    def __init__(self) -> None:
        self.transport: Any = None
        self.heard: Callable[[int], object] | None = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = transport

    def ask(self, request: bytes, heard: Callable[[int], object]) -> None:
        """Send a request; ``heard`` is called once, unless the connection is closed before."""
        self.heard = heard
        self.transport.write(request)

    def hang_up(self) -> None:
        """Close without waiting for the answer."""
        self.heard = None
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Report the status when the response is complete."""
        self._buffer = data = self._buffer + data if self._buffer else data
        end = data.find(HEAD_END)
        if end < 0:
            return
        head = data[:end].lower()
        at = head.find(LENGTH)
        length = int(head[at + len(LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(data) >= end + len(HEAD_END) + length:
            self._buffer = b""
            if CLOSE in head:
                self.transport.close()  # the server may not have closed it yet when the next request is due
            self._tell(int(data[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:
        """Report that no answer will come."""
        self._tell(0)

    def _tell(self, status: int) -> None:
        heard, self.heard = self.heard, None
        if heard is not None:
            heard(status)
