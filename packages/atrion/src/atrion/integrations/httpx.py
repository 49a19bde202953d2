"""Guards for httpx: transports, synchronous and asynchronous, around those that send."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Unpack

from atrion.engine import Atrion
from atrion.integrations._missing import needs
from atrion.integrations._outgoing import ClientOptions, Clients, Sent, patience, until_answered

with needs("atrion.integrations.httpx", "httpx"):
    import httpx

__all__ = ["AsyncAtrionTransport", "AtrionTransport"]

CALLERS = (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL)
"""Errors of whoever makes a request."""


def _carry(clients: Clients, request: httpx.Request) -> None:
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


class AtrionTransport(httpx.BaseTransport):
    """Admit or shed the requests of an ``httpx.Client``: ``httpx.Client(transport=AtrionTransport(atrion))``.

    A shed request raises :class:`FlowRejected` before it is sent. Timeouts, connections that fail and 5xx are failures,
    4xx are not; 429 and 503 with ``Retry-After`` raise the resistance for that long. A request is in flight until
    its response is closed.

    Args:
        atrion: The engine that decides.
        transport: What sends; None for ``httpx.HTTPTransport()``.
        options: Those of :class:`ClientOptions`.

    Raises:
        ConfigurationError: an option is unusable.
    """

    def __init__(
        self, atrion: Atrion, transport: httpx.BaseTransport | None = None, **options: Unpack[ClientOptions]
    ) -> None:
        self._clients = Clients(atrion, **options)
        self._transport = httpx.HTTPTransport() if transport is None else transport

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request."""
        sent = self._clients.begin(request.url.host, request.url.port)
        with until_answered(sent, CALLERS):
            _carry(self._clients, request)
            response = self._transport.handle_request(request)
        if sent is not None:
            sent.answered(response.status_code, response.headers.get("retry-after"))
            assert isinstance(response.stream, httpx.SyncByteStream)  # what a synchronous transport gives
            response.stream = _Stream(response.stream, sent)
        return response

    def close(self) -> None:
        """Close what sends."""
        self._transport.close()


class AsyncAtrionTransport(httpx.AsyncBaseTransport):
    """As :class:`AtrionTransport`, for ``httpx.AsyncClient``.

    Raises:
        ConfigurationError: an option is unusable.
    """

    def __init__(
        self,
        atrion: Atrion,
        transport: httpx.AsyncBaseTransport | None = None,
        **options: Unpack[ClientOptions],
    ) -> None:
        self._clients = Clients(atrion, **options)
        self._transport = httpx.AsyncHTTPTransport() if transport is None else transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request."""
        sent = self._clients.begin(request.url.host, request.url.port)
        with until_answered(sent, CALLERS):
            _carry(self._clients, request)
            response = await self._transport.handle_async_request(request)
        if sent is not None:
            sent.answered(response.status_code, response.headers.get("retry-after"))
            assert isinstance(response.stream, httpx.AsyncByteStream)  # what an asynchronous transport gives
            response.stream = _AsyncStream(response.stream, sent)
        return response

    async def aclose(self) -> None:
        """Close what sends."""
        await self._transport.aclose()


class _Stream(httpx.SyncByteStream):
    def __init__(self, stream: httpx.SyncByteStream, sent: Sent) -> None:
        self._stream = stream
        self._sent = sent

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except Exception as error:
            self._sent.end(error)
            raise

    def close(self) -> None:
        try:
            self._stream.close()
        finally:
            self._sent.end()


class _AsyncStream(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, sent: Sent) -> None:
        self._stream = stream
        self._sent = sent

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._stream:
                yield chunk
        except Exception as error:
            self._sent.end(error)
            raise

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            self._sent.end()
