"""Guards for gRPC's clients, synchronous and asynchronous, by interceptors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Unpack

from atrion.engine import Atrion
from atrion.integrations._missing import needs
from atrion.integrations._outgoing import ClientOptions, Clients, Sent, patience, until_answered

with needs("atrion.integrations.grpc_client", "grpc"):
    import grpc

__all__ = ["ClientInterceptor", "aio_interceptors"]

_FAILURES = frozenset({"UNKNOWN", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "DEADLINE_EXCEEDED"})


def _finish(sent: Sent, code: Any, trailing: Any) -> None:
    """End a call as its status says."""
    name = getattr(code, "name", "OK")
    pushback = dict(trailing or ()).get("grpc-retry-pushback-ms")
    if pushback is not None and str(pushback).isdecimal() and name != "UNAVAILABLE":
        sent.held(int(pushback) / 1e3)
    elif name in _FAILURES:
        sent.fail()
    elif name != "OK":
        sent.ignore()
    sent.end()


class _Details(grpc.ClientCallDetails):  # type: ignore[misc]  # grpcio has no types
    """Details of a call with other metadata and timeout."""

    def __init__(self, details: Any, metadata: Any, timeout: float | None) -> None:
        self.method = details.method
        self.timeout = timeout
        self.metadata = metadata
        self.credentials = details.credentials
        self.wait_for_ready = details.wait_for_ready
        self.compression = getattr(details, "compression", None)


class _Calls:
    """What the interceptors share."""

    def __init__(self, atrion: Atrion, options: ClientOptions) -> None:
        self._clients = Clients(atrion, **options)

    def begin(self, details: Any) -> tuple[Sent | None, float | None, list[tuple[str, Any]]]:
        """The call in flight, its timeout in seconds, and its metadata.

        Raises:
            FlowRejected: it was shed.
        """
        method = details.method.decode() if isinstance(details.method, bytes) else str(details.method)
        sent = self._clients.begin("", name=method.lstrip("/"))
        metadata = list(details.metadata or ())
        timeout: float | None = details.timeout
        peers = self._clients.peers
        if peers is not None:  # a channel leads to a peer, or it has no such interceptor
            members = [value for name, value in metadata if name == "baggage"]
            others = [
                member
                for value in members
                for member in str(value).split(",")
                if not member.strip().startswith("atrion.")
            ]
            baggage = peers.carried(others)["baggage"]
            metadata = [(name, value) for name, value in metadata if name != "baggage"]
            if baggage is not None:
                metadata.append(("baggage", baggage))
            remaining = patience()
            if remaining is not None:  # gRPC sends it as grpc-timeout
                timeout = remaining if timeout is None else min(timeout, remaining)
        return sent, timeout, metadata


class ClientInterceptor(
    grpc.UnaryUnaryClientInterceptor,  # type: ignore[misc]  # grpcio has no types
    grpc.UnaryStreamClientInterceptor,  # type: ignore[misc]
    grpc.StreamUnaryClientInterceptor,  # type: ignore[misc]
    grpc.StreamStreamClientInterceptor,  # type: ignore[misc]
):
    """Admit or shed the calls of a channel: ``grpc.intercept_channel(channel, ClientInterceptor(atrion))``.

    A shed call raises :class:`FlowRejected` before it is sent. UNKNOWN, INTERNAL, UNAVAILABLE, DATA_LOSS and
    DEADLINE_EXCEEDED are failures; other codes are the caller's fault; ``grpc-retry-pushback-ms`` raises the resistance
    for that long, unless it comes with UNAVAILABLE, as something is broken then. A call is in flight until its status
    has come. Without a ``dependency``, routes are named by methods, as ``shop.Orders/Get``. With ``peers``, the
    channel's server is one of them.

    Args:
        atrion: The engine that decides.
        options: Those of :class:`ClientOptions`.

    Raises:
        ConfigurationError: an option is unusable.
    """

    def __init__(self, atrion: Atrion, **options: Unpack[ClientOptions]) -> None:
        self._calls = _Calls(atrion, options)

    def _send(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        sent, timeout, metadata = self._calls.begin(details)
        with until_answered(sent):
            call = continuation(_Details(details, metadata, timeout), request)
        if sent is not None:
            call.add_done_callback(lambda done: _finish(sent, done.code(), done.trailing_metadata()))
            return _Stream(call, sent) if hasattr(call, "__next__") else call
        return call

    intercept_unary_unary = _send
    intercept_unary_stream = _send
    intercept_stream_unary = _send
    intercept_stream_stream = _send


class _Stream:
    """A call of many answers, which tells of the first one; else it is the call itself."""

    def __init__(self, call: Any, sent: Sent) -> None:
        self._call = call
        self._sent = sent

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        answer = next(self._call)
        self._sent.began()
        return answer


def aio_interceptors(atrion: Atrion, **options: Unpack[ClientOptions]) -> list[Any]:
    """As :class:`ClientInterceptor`: ``grpc.aio.insecure_channel(target, interceptors=aio_interceptors(atrion))``.

    Raises:
        ConfigurationError: an option is unusable.
    """
    calls = _Calls(atrion, options)
    return [kind(calls) for kind in (_UnaryUnary, _UnaryStream, _StreamUnary, _StreamStream)]


class _Aio:
    def __init__(self, calls: _Calls) -> None:
        self._calls = calls

    async def _send(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        sent, timeout, metadata = self._calls.begin(details)
        with until_answered(sent):
            changed = grpc.aio.ClientCallDetails(
                details.method,
                timeout,
                grpc.aio.Metadata(*metadata),
                details.credentials,
                details.wait_for_ready,
            )
            call = await continuation(changed, request)
        if sent is not None:
            call.add_done_callback(_finisher(sent))
            if hasattr(call, "__aiter__"):
                call.add_done_callback(_watched(call, sent))
        return call


def _watched(call: Any, sent: Sent) -> Callable[[Any], None]:
    """Wait for a stream's first answer, with which its metadata come; returns what ends that."""

    async def first() -> None:
        await call.initial_metadata()
        sent.began()

    waiting = asyncio.ensure_future(first())
    waiting.add_done_callback(
        lambda done: done.cancelled() or done.exception()
    )  # the call tells of its errors

    def end(done: Any) -> None:
        waiting.cancel()

    return end


def _finisher(sent: Sent) -> Callable[[Any], None]:
    def done(call: Any) -> None:
        _finish(sent, _now(call.code()), _now(call.trailing_metadata()))

    return done


def _now(coroutine: Any) -> Any:
    """The result of a coroutine that does not wait, as those of a call that is done."""
    try:
        coroutine.send(None)
    except StopIteration as result:
        return result.value
    except BaseException:  # the call was cancelled before it had a status
        return None
    coroutine.close()
    return None


class _UnaryUnary(_Aio, grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[misc]  # grpcio has no types
    intercept_unary_unary = _Aio._send


class _UnaryStream(_Aio, grpc.aio.UnaryStreamClientInterceptor):  # type: ignore[misc]  # grpcio has no types
    intercept_unary_stream = _Aio._send


class _StreamUnary(_Aio, grpc.aio.StreamUnaryClientInterceptor):  # type: ignore[misc]  # grpcio has no types
    intercept_stream_unary = _Aio._send


class _StreamStream(_Aio, grpc.aio.StreamStreamClientInterceptor):  # type: ignore[misc]  # grpcio has no types
    intercept_stream_stream = _Aio._send
