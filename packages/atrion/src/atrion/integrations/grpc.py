"""Interceptors for gRPC servers, with threads and with asyncio."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, NamedTuple, Unpack
from urllib.parse import unquote

from atrion.control.decision import Decision
from atrion.engine import Atrion
from atrion.integrations._admission import Admission, Admitted, Options
from atrion.integrations._missing import needs
from atrion.integrations._plain_context import PlainContext
from atrion.integrations._refusal import retry_after
from atrion.integrations._threads import ServerThreads
from atrion.physics.modes import Mode
from atrion.propagation import GRPC_DEADLINE

with needs("atrion.integrations.grpc", "grpc"):
    import grpc
    from google.protobuf.any_pb2 import Any as AnyMessage
    from google.protobuf.duration_pb2 import Duration
    from google.rpc.error_details_pb2 import RetryInfo
    from google.rpc.status_pb2 import Status

__all__ = ["AioServerInterceptor", "GrpcRequest", "ServerInterceptor"]

HEALTH = ("/grpc.health.v1.Health",)
_CODES: dict[int, Any] = {code.value[0]: code for code in grpc.StatusCode}
_FAULTS = frozenset(
    code.value[0]
    for code in (
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    )
)


def _answered(admitted: Admitted, context: Any) -> None:
    """Set the outcome of a call from its status code: failure, ignored, or success."""
    code = context.code()
    number = code if isinstance(code, int) else 0 if code is None else code.value[0]
    admitted.answer(200 if number == 0 else 500 if number in _FAULTS else 400)


Metadata = tuple[tuple[str, str | bytes], ...]


def _refusal(decision: Decision) -> tuple[Any, str, Metadata]:
    """Status code, details and trailing metadata, with the time after which to retry."""
    broken = decision.mode is Mode.CIRCUIT_BREAKER
    code = grpc.StatusCode.UNAVAILABLE if broken else grpc.StatusCode.RESOURCE_EXHAUSTED
    seconds = retry_after(decision)
    details = f"{decision.route} sheds load ({decision.reason}); come back in {seconds} s."
    info = AnyMessage()
    info.Pack(RetryInfo(retry_delay=Duration(seconds=seconds)))
    status = Status(code=code.value[0], message=details, details=[info])
    return (
        code,
        details,
        (
            ("grpc-retry-pushback-ms", str(seconds * 1000)),
            ("grpc-status-details-bin", status.SerializeToString()),
        ),
    )


class GrpcRequest(NamedTuple):
    """A call as functions of options see it: its details, and the servicer's context."""

    method: str
    invocation_metadata: Any
    context: Any


class _GrpcAdmission(Admission[GrpcRequest]):
    def method(self, request: GrpcRequest) -> str:
        return "POST"

    def path(self, request: GrpcRequest) -> str:
        return str(request.method)

    def address(self, request: GrpcRequest) -> str | None:
        kind, _, rest = str(request.context.peer()).partition(":")  # such as ipv4:10.0.0.1:5000
        if kind not in {"ipv4", "ipv6"}:
            return None
        return unquote(rest).rpartition(":")[0].strip("[]") or None

    def header(self, request: GrpcRequest, name: str) -> str | None:
        if name == GRPC_DEADLINE:  # gRPC itself reads it
            remaining = request.context.time_remaining()
            return None if remaining is None else f"{min(int(max(remaining, 0.0) * 1e3), 99_999_999)}m"
        for key, value in request.invocation_metadata or ():
            if key == name and isinstance(value, str):
                return value
        return None

    def find(self, request: GrpcRequest) -> tuple[str, object]:
        return str(request.method).lstrip("/"), None


def _request(details: Any, context: Any) -> GrpcRequest:
    return GrpcRequest(details.method, details.invocation_metadata, context)


def _rebuilt(handler: Any, behavior: Callable[..., Any]) -> Any:
    """A method's handler with another ``behavior``."""
    makers = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    make = makers[handler.request_streaming, handler.response_streaming]
    return make(behavior, handler.request_deserializer, handler.response_serializer)


def _plain(behavior: Callable[..., Any]) -> Callable[..., Any]:
    """A plain function under asyncio, or a generator, whose context can be asked."""
    return lambda request, context: behavior(request, PlainContext(context))


def _behavior(handler: Any) -> Callable[..., Any]:
    found: Callable[..., Any] = (
        handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    )
    return found


class _Guard:
    """Base of both interceptors: the guard around a handler that runs in a thread."""

    def __init__(self, atrion: Atrion, threads: int | None, options: Any) -> None:
        options.setdefault("exclude", HEALTH)
        self.admission = _GrpcAdmission(atrion, **options)
        self._threads = ServerThreads(threads)

    def in_thread(self, details: Any, handler: Any) -> Any:
        """The handler of one call, guarded; the call waits for a thread from now on."""
        behavior = _behavior(handler)
        number = self._threads.queue()

        def begin(context: Any) -> tuple[Admitted | Decision | None, Callable[[], None]]:
            self.report(context)
            return self._threads.begin(self.admission, _request(details, context), number=number)

        def unary(request: Any, context: Any) -> Any:
            verdict, leave = begin(context)
            try:
                if verdict is None:
                    return behavior(request, context)
                if isinstance(verdict, Decision):
                    return _abort(context, verdict)
                try:
                    with verdict:
                        answer = behavior(request, context)
                except BaseException as error:
                    return _failed(context, verdict, error)
                _answered(verdict, context)
                self.report(context)
                verdict.end()
                return answer
            finally:
                leave()

        def stream(request: Any, context: Any) -> Iterator[Any]:
            verdict, leave = begin(context)
            try:
                if verdict is None:
                    yield from behavior(request, context)
                elif isinstance(verdict, Decision):
                    _abort(context, verdict)
                else:
                    yield from self._streamed(behavior, request, context, verdict)
            finally:
                leave()

        return _rebuilt(handler, stream if handler.response_streaming else unary)

    def report(self, context: Any) -> None:
        """Put the load report into the trailing metadata, if it is wanted.

        This is done before a call is served, as one that is aborted takes no metadata any more, and again afterwards,
        as handlers replace what is there.
        """
        reports = self.admission.reports
        if reports is not None:
            try:
                _add_trailers(context, reports.trailer())
            except Exception:
                self.admission.complain("a load report")

    def _streamed(
        self, behavior: Callable[..., Any], request: Any, context: Any, admitted: Admitted
    ) -> Iterator[Any]:
        # A generator that is not closed ends with the call at the latest.
        context.add_callback(lambda: admitted.end(left=True))
        try:
            with admitted:
                for answer in behavior(request, context):
                    _next_answer(admitted)
                    yield answer
        except GeneratorExit:
            admitted.end(left=True)
            raise
        except BaseException as error:
            _failed(context, admitted, error)
        _answered(admitted, context)
        self.report(context)
        admitted.end()


def _add_trailers(context: Any, metadata: Metadata) -> None:
    """Add trailing metadata to what the call has already; what it has of the same name stays."""
    context.set_trailing_metadata(_trailers(context, metadata))


def _trailers(context: Any, metadata: Metadata) -> Metadata:
    found = tuple(context.trailing_metadata() or ())
    names = {name for name, _ in found}
    return (*found, *(each for each in metadata if each[0] not in names))


def _next_answer(admitted: Admitted) -> None:
    """The next of a stream's answers is there; latency ends with the first."""
    if admitted.status == 0:
        admitted.answer(200)
        admitted.stream()


def _abort(context: Any, decision: Decision) -> Any:
    code, details, metadata = _refusal(decision)
    _add_trailers(context, metadata)
    context.abort(code, details)


def _failed(context: Any, admitted: Admitted, error: BaseException) -> Any:
    """A handler has raised, as ``context.abort`` does."""
    rejection = admitted.rejection(error)
    if rejection is None:
        if context.code() is not None:
            _answered(admitted, context)
        admitted.end(error, left=not context.is_active())
        raise error
    admitted.end(error)
    return _abort(context, rejection.decision)


class ServerInterceptor(grpc.ServerInterceptor):  # type: ignore[misc]  # grpcio has no types
    """Admit or shed every call of a ``grpc.server``, and measure the admitted ones.

    A shed call is answered with RESOURCE_EXHAUSTED, or UNAVAILABLE if the route's breaker is open, with
    ``grpc-retry-pushback-ms`` and a ``RetryInfo``. Routes are named like ``shop.Orders/Get``. UNKNOWN, INTERNAL,
    UNAVAILABLE, DATA_LOSS, DEADLINE_EXCEEDED and exceptions are failures; other codes and clients that cancel are
    ignored. Waiting for one of the server's threads counts as a queue.

    Args:
        atrion: The engine that decides.
        threads: Threads of the server, ≥ 1; None learns the number.
        options: Those of :class:`Options`, whose functions take a :class:`GrpcRequest`; health checks are excluded
            by default, and paths are such as ``/shop.Orders/Get``.

    Raises:
        ConfigurationError: a value is invalid.
    """

    def __init__(
        self, atrion: Atrion, *, threads: int | None = None, **options: Unpack[Options[GrpcRequest]]
    ) -> None:
        self._guard = _Guard(atrion, threads, options)

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        """Guard the handler of a call."""
        handler = continuation(handler_call_details)
        return None if handler is None else self._guard.in_thread(handler_call_details, handler)


class AioServerInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpcio has no types
    """Like :class:`ServerInterceptor`, for ``grpc.aio.server``.

    Raises:
        ConfigurationError: a value is invalid.
    """

    def __init__(
        self, atrion: Atrion, *, threads: int | None = None, **options: Unpack[Options[GrpcRequest]]
    ) -> None:
        self._guard = _Guard(atrion, threads, options)

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        """Guard the handler of a call."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        behavior = _behavior(handler)
        if inspect.isasyncgenfunction(behavior):
            return _rebuilt(handler, self._stream(behavior, handler_call_details))
        if inspect.iscoroutinefunction(behavior):
            return _rebuilt(handler, self._coroutine(behavior, handler_call_details))
        return _rebuilt(handler, _plain(_behavior(self._guard.in_thread(handler_call_details, handler))))

    def _coroutine(self, behavior: Callable[..., Awaitable[Any]], details: Any) -> Callable[..., Any]:
        """The guard of a coroutine, which returns one response or writes several."""

        async def serve(request: Any, context: Any) -> Any:
            self._guard.report(context)
            verdict = self._guard.admission.begin_on_loop(_request(details, context))
            if verdict is None:
                return await behavior(request, context)
            if isinstance(verdict, Decision):
                return await _abort_async(context, verdict)
            try:
                with verdict:
                    answer = await behavior(request, context)
            except BaseException as error:
                return await _failed_async(context, verdict, error)
            _answered(verdict, context)
            self._guard.report(context)
            verdict.end()
            return answer

        return serve

    def _stream(
        self, behavior: Callable[..., AsyncIterator[Any]], details: Any
    ) -> Callable[..., AsyncIterator[Any]]:
        async def serve(request: Any, context: Any) -> AsyncIterator[Any]:
            self._guard.report(context)
            verdict = self._guard.admission.begin_on_loop(_request(details, context))
            if verdict is None:
                async for answer in behavior(request, context):
                    yield answer
            elif isinstance(verdict, Decision):
                await _abort_async(context, verdict)
            else:
                try:
                    with verdict:
                        async for answer in behavior(request, context):
                            _next_answer(verdict)
                            yield answer
                except GeneratorExit:
                    verdict.end(left=True)
                    raise
                except BaseException as error:
                    await _failed_async(context, verdict, error)
                _answered(verdict, context)
                self._guard.report(context)
                verdict.end()

        return serve


async def _abort_async(context: Any, decision: Decision) -> Any:
    code, details, metadata = _refusal(decision)
    await context.abort(code, details, _trailers(context, metadata))


async def _failed_async(context: Any, admitted: Admitted, error: BaseException) -> Any:
    rejection = admitted.rejection(error)
    if rejection is None:
        if context.code():
            _answered(admitted, context)
        admitted.end(error, left=context.cancelled())
        raise error
    admitted.end(error)
    return await _abort_async(context, rejection.decision)
