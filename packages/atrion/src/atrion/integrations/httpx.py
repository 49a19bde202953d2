"""Guards for httpx: transports, synchronous and asynchronous, around those that send."""

from __future__ import annotations

from typing import Unpack

from atrion.engine import Atrion
from atrion.integrations._httpx import AsyncBody, Body, carry
from atrion.integrations._missing import needs
from atrion.integrations._outgoing import ClientOptions, Clients, until_answered

with needs("atrion.integrations.httpx", "httpx"):
    import httpx

__all__ = ["AsyncAtrionTransport", "AtrionTransport"]

CALLERS = (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL)
"""Errors that the request causes."""


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
            carry(self._clients, request)
            response = self._transport.handle_request(request)
        if sent is not None:
            headers = response.headers
            sent.answered(response.status_code, headers.get("retry-after"), headers.get("proxy-status"))
            response.stream = _Body(response.stream, sent)
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
            carry(self._clients, request)
            response = await self._transport.handle_async_request(request)
        if sent is not None:
            headers = response.headers
            sent.answered(response.status_code, headers.get("retry-after"), headers.get("proxy-status"))
            response.stream = _AsyncBody(response.stream, sent)
        return response

    async def aclose(self) -> None:
        """Close what sends."""
        await self._transport.aclose()


class _Body(Body, httpx.SyncByteStream):
    pass


class _AsyncBody(AsyncBody, httpx.AsyncByteStream):
    pass
