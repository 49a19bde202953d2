"""A guard for requests: an adapter to mount on a session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack
from urllib.parse import urlsplit

from atrion.engine import Atrion
from atrion.integrations._missing import needs
from atrion.integrations._outgoing import ClientOptions, Clients, patience, until_answered
from atrion.integrations.urllib3 import until_closed

with needs("atrion.integrations.requests", "requests"):
    from requests import PreparedRequest, Response, Session
    from requests.adapters import HTTPAdapter
    from requests.exceptions import InvalidHeader, InvalidProxyURL, InvalidURL

__all__ = ["AtrionAdapter", "install"]


class AtrionAdapter(HTTPAdapter):
    """Admit or shed the requests of a ``requests.Session``: ``session.mount("https://", AtrionAdapter(atrion))``.

    A shed request raises :class:`FlowRejected` before it is sent. Timeouts, connections that fail and 5xx are failures,
    4xx are not; 429 and 503 with ``Retry-After`` raise the resistance for that long. With ``stream=True`` a
    request is in flight until its response has been read or closed.

    Args:
        atrion: The engine that decides.
        adapter: Arguments of ``requests.adapters.HTTPAdapter``.
        options: Those of :class:`ClientOptions`.

    Raises:
        ConfigurationError: an option is unusable.
    """

    def __init__(
        self, atrion: Atrion, *, adapter: Mapping[str, Any] | None = None, **options: Unpack[ClientOptions]
    ) -> None:
        super().__init__(**(adapter or {}))
        self._clients = Clients(atrion, **options)

    def send(
        self,
        request: PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> Response:
        """Send one request."""
        url = urlsplit(request.url or "")
        sent = self._clients.begin(str(url.hostname), url.port)
        with until_answered(sent, (InvalidURL, InvalidHeader, InvalidProxyURL)):
            timeout = self._carry(request, str(url.hostname), timeout)
            response = super().send(request, stream, timeout, verify, cert, proxies)
            if sent is not None:
                headers = response.headers
                sent.answered(response.status_code, headers.get("retry-after"), headers.get("proxy-status"))
                if stream:
                    until_closed(response.raw, sent)
                else:
                    response.content  # noqa: B018  # it is read here, as the session would
                    sent.end()
        return response

    def _carry(self, request: PreparedRequest, host: str, timeout: Any) -> Any:
        """Send the context on; the timeout that is left."""
        peers = self._clients.peers
        if peers is None:
            return timeout
        baggage = request.headers.get("baggage")
        text = baggage.decode("latin-1") if isinstance(baggage, bytes) else baggage
        for name, value in peers.headers(host, text).items():
            if value is None:
                request.headers.pop(name, None)
            else:
                request.headers[name] = value
        remaining = patience()
        if remaining is None:
            return timeout
        parts = timeout if isinstance(timeout, tuple) else (timeout, timeout)
        return tuple(remaining if part is None else min(part, remaining) for part in parts)


def install(session: Session, atrion: Atrion, **options: Unpack[ClientOptions]) -> None:
    """Guard all requests of a session.

    Raises:
        ConfigurationError: an option is unusable.
    """
    for scheme in ("http://", "https://"):
        session.mount(scheme, AtrionAdapter(atrion, **options))
