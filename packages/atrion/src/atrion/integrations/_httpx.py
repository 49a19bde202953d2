"""What guards of httpx and of the libraries with its interface share: bodies of responses, and the context sent on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from atrion.integrations._outgoing import Clients, Sent, patience

__all__ = ["AsyncBody", "Body", "carry"]


def carry(clients: Clients, request: Any) -> None:
    """Send the context on, and wait no longer than the request being served can."""
    if clients.peers is None:
        return
    changes = clients.peers.headers(request.url.host, request.headers.get("baggage"))
    for name, value in changes.items():
        if value is None:
            request.headers.pop(name, None)
        else:
            request.headers[name] = value
    remaining = patience()
    if remaining is not None:
        given = request.extensions.get("timeout", {})
        parts = ("connect", "read", "write", "pool")
        timeout = {part: min(given.get(part) or remaining, remaining) for part in parts}
        request.extensions = {**request.extensions, "timeout": timeout}


class Body:
    """Ends the call when the body of its response is closed. Put it before the library's ``SyncByteStream``."""

    def __init__(self, stream: Any, sent: Sent) -> None:
        self._stream = stream
        self._sent = sent

    def __iter__(self) -> Iterator[bytes]:
        """Read it."""
        try:
            yield from self._stream
        except Exception as error:
            self._sent.end(error)
            raise

    def close(self) -> None:
        """Close it."""
        try:
            self._stream.close()
        finally:
            self._sent.end()


class AsyncBody:
    """As :class:`Body`, before the library's ``AsyncByteStream``."""

    def __init__(self, stream: Any, sent: Sent) -> None:
        self._stream = stream
        self._sent = sent

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Read it."""
        try:
            async for chunk in self._stream:
                yield chunk
        except Exception as error:
            self._sent.end(error)
            raise

    async def aclose(self) -> None:
        """Close it."""
        try:
            await self._stream.aclose()
        finally:
            self._sent.end()
