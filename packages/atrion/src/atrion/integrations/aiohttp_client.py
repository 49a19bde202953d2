"""A guard for aiohttp's client: a middleware of its session, which needs aiohttp 3.12."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Unpack

from atrion.engine import Atrion
from atrion.integrations._missing import needs
from atrion.integrations._outgoing import ClientOptions, Clients, Sent, patience, until_answered

with needs("atrion.integrations.aiohttp_client", "aiohttp"):
    from aiohttp import ClientResponse, InvalidURL

if TYPE_CHECKING:
    from aiohttp import ClientHandlerType, ClientMiddlewareType, ClientRequest

__all__ = ["guard"]


def guard(atrion: Atrion, **options: Unpack[ClientOptions]) -> ClientMiddlewareType:
    """Admit or shed the requests of a session: ``aiohttp.ClientSession(middlewares=[guard(atrion)])``.

    A shed request raises :class:`FlowRejected` before it is sent. Timeouts, connections that fail and 5xx are failures,
    4xx are not; 429 and 503 with ``Retry-After`` raise the resistance for that long. A request is in flight until its
    response has been read or released. With ``peers``, it waits for the head of the response no longer than the request
    being served can.

    Args:
        atrion: The engine that decides.
        options: Those of :class:`ClientOptions`.

    Raises:
        ConfigurationError: an option is unusable.
    """
    clients = Clients(atrion, **options)

    async def send(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        url = request.url
        host = str(url.host)
        sent = clients.begin(host, None if url.is_default_port() else url.port)
        with until_answered(sent, (InvalidURL,)):
            if clients.peers is not None:
                for name, value in clients.peers.headers(host, request.headers.get("baggage")).items():
                    request.headers.pop(name, None)
                    if value is not None:
                        request.headers[name] = value
            async with asyncio.timeout(patience() if clients.peers is not None else None):
                response = await handler(request)
        if sent is not None:
            headers = response.headers
            sent.answered(response.status, headers.get("retry-after"), headers.get("proxy-status"))
            _until_released(response, sent)
        return response

    return send


def _until_released(response: ClientResponse, sent: Sent) -> None:
    """End the call when the response gives its connection back."""
    connection = response.connection
    if connection is None:  # the body was there with the head
        sent.end()
    else:
        connection.add_callback(lambda: sent.end(response.content.exception()))
