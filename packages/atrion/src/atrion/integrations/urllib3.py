"""A guard for urllib3: a pool manager whose every attempt is a call."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Unpack

from atrion.engine import Atrion
from atrion.integrations._missing import needs
from atrion.integrations._outgoing import ClientOptions, Clients, Sent, patience, until_answered

with needs("atrion.integrations.urllib3", "urllib3"):
    import urllib3
    from urllib3.exceptions import LocationValueError

__all__ = ["AtrionPoolManager", "until_closed"]

_attempt: ContextVar[Sent | None] = ContextVar("atrion_urllib3_attempt", default=None)


def until_closed(response: Any, sent: Sent) -> None:
    """End the call when the response's connection goes back to its pool, or is closed."""
    release, close = response.release_conn, response.close

    def ending(method: Any) -> Any:
        def end() -> None:
            try:
                method()
            finally:
                sent.end()

        return end

    response.release_conn, response.close = ending(release), ending(close)
    if response.closed or getattr(response, "_connection", None) is None:
        sent.end()  # the body was there with the head


class _Guarded:
    """A pool of connections to one host; every attempt of its requests is a call."""

    clients: Clients

    def urlopen(self, method: str, url: str, *arguments: Any, **options: Any) -> Any:
        pool: Any = super()
        earlier = _attempt.get()
        if earlier is not None:  # urllib3 tries again, from within the attempt that failed
            _judge(earlier, options.get("retries") or (arguments[2] if len(arguments) > 2 else None))
        host, port, scheme = self.host, self.port, self.scheme  # type: ignore[attr-defined]  # of the pool
        default = {"http": 80, "https": 443}.get(scheme)
        sent = self.clients.begin(host, None if port == default else port)
        token = _attempt.set(sent)
        try:
            with until_answered(sent, (LocationValueError,)):
                _carry(self.clients, host, arguments, options)
                response = pool.urlopen(method, url, *arguments, **options)
        finally:
            _attempt.reset(token)
        if sent is not None:
            headers = response.headers
            sent.answered(response.status, headers.get("retry-after"), headers.get("proxy-status"))
            until_closed(response, sent)
        return response


def _judge(sent: Sent, retries: Any) -> None:
    """End an attempt that is followed by another, as the history of retries tells of it."""
    history = getattr(retries, "history", ())
    last = history[-1] if history else None
    if last is not None and last.error is not None:
        sent.end(last.error)
    elif last is not None and last.status is not None:
        sent.answered(last.status)
        sent.end()
    else:
        sent.fail()
        sent.end()


def _carry(clients: Clients, host: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    if clients.peers is None:
        return
    if len(arguments) < 2:  # the headers are not among those given by position
        headers = dict(options.get("headers") or {})
        baggage = next((value for name, value in headers.items() if name.lower() == "baggage"), None)
        for name, value in clients.peers.headers(host, baggage).items():
            headers = {each: kept for each, kept in headers.items() if each.lower() != name}
            if value is not None:
                headers[name] = value
        options["headers"] = headers
    remaining = patience()
    if remaining is not None and not isinstance(options.get("timeout"), (int, float)):
        options["timeout"] = remaining
    elif remaining is not None:
        options["timeout"] = min(options["timeout"], remaining)


class AtrionPoolManager(urllib3.PoolManager):
    """A ``urllib3.PoolManager`` whose requests are admitted or shed; its other arguments are those of urllib3.

    A shed request raises :class:`FlowRejected` before it is sent. Every attempt is a call: timeouts, connections that
    fail and 5xx are failures, 4xx are not; 429 and 503 with ``Retry-After`` raise the resistance for that long. A
    request is in flight until its response has been read or closed.

    Args:
        atrion: The engine that decides.
        options: Those of :class:`ClientOptions`.
        manager: Arguments of urllib3's manager.

    Raises:
        ConfigurationError: an option is unusable.
    """

    def __init__(
        self, atrion: Atrion, *, manager: dict[str, Any] | None = None, **options: Unpack[ClientOptions]
    ) -> None:
        super().__init__(**(manager or {}))
        clients = Clients(atrion, **options)
        kinds = self.pool_classes_by_scheme
        guarded: Any = {
            scheme: type(f"Guarded{kind.__name__}", (_Guarded, kind), {"clients": clients})
            for scheme, kind in kinds.items()
        }
        self.pool_classes_by_scheme = guarded
