"""Admission for Django: one middleware for synchronous and asynchronous projects, set up in ``settings.ATRION``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from inspect import iscoroutinefunction
from typing import Any

from atrion.control.decision import Decision
from atrion.control.outcome import rejection_in
from atrion.engine import Atrion
from atrion.errors import ConfigurationError
from atrion.integrations._admission import Admission, Admitted, Options, braced
from atrion.integrations._load_reports import REPORT
from atrion.integrations._missing import needs
from atrion.integrations._names import METHODS, UNMATCHED
from atrion.integrations._refusal import reply
from atrion.integrations._threads import ServerThreads, port_of, waited_in_kernel
from atrion.integrations._tiers import tier

with needs("atrion.integrations.django", "django"):
    from asgiref.sync import markcoroutinefunction
    from django import conf
    from django.contrib.admindocs.views import simplify_regex
    from django.http import FileResponse, HttpRequest, HttpResponse
    from django.urls import Resolver404, resolve
    from django.utils.module_loading import import_string

__all__ = ["AtrionMiddleware", "engine", "tier"]

FUNCTIONS = {"TIER", "KEY", "ROUTE", "RESPONSE"}
KEYS = {
    *FUNCTIONS,
    "ENGINE",
    "TIERS",
    "POOL",
    "EXCLUDE",
    "PEERS",
    "THREADS",
    "TRUST_TIER_HEADER",
    "TRUST_REQUEST_START",
    "LOAD_REPORTS",
}
_engine: Atrion | None = None


def _settings() -> dict[str, Any]:
    """``settings.ATRION``, with dotted paths imported.

    Raises:
        ConfigurationError: it is no mapping, has an unknown key, or names what cannot be imported.
    """
    given = getattr(conf.settings, "ATRION", {})
    if not isinstance(given, Mapping):
        raise ConfigurationError("settings.ATRION", given, 'give a dict, such as {"EXCLUDE": ["/health"]}')
    found = dict(given)
    for key, value in given.items():
        if key not in KEYS:
            raise ConfigurationError("settings.ATRION", key, f"use keys among {', '.join(sorted(KEYS))}")
        if isinstance(value, str) and (key in FUNCTIONS or key == "ENGINE"):
            try:
                found[key] = import_string(value)
            except ImportError as error:
                cure = f"name something to import, such as 'shop.guard.name' ({error})"
                raise ConfigurationError(f"settings.ATRION[{key!r}]", value, cure) from error
    return found


def engine() -> Atrion:
    """The engine of ``settings.ATRION["ENGINE"]``; without one, an engine set up by the environment's ``ATRION_*``.

    Raises:
        ConfigurationError: the settings are unusable.
    """
    global _engine  # noqa: PLW0603  # one for the process, as settings are
    given: Atrion | None = _settings().get("ENGINE")
    if given is not None:
        return given
    if _engine is None:
        _engine = Atrion.from_config()
    return _engine


class _DjangoAdmission(Admission[Any]):
    def method(self, request: Any) -> str:
        return str(request.method or "")

    def path(self, request: Any) -> str:
        return str(request.path_info)

    def header(self, request: Any, name: str) -> str | None:
        value: str | None = request.headers.get(name)
        return value

    def address(self, request: Any) -> str | None:
        return str(request.META.get("REMOTE_ADDR", "")) or None

    def find(self, request: Any) -> tuple[str, object]:
        verb = request.method if request.method in METHODS else "OTHER"
        try:
            match = resolve(request.path_info, getattr(request, "urlconf", None))
        except Resolver404:
            return f"{verb} {UNMATCHED}", None
        return f"{verb} {braced(simplify_regex(match.route))}", getattr(match.func, "view_class", match.func)


class AtrionMiddleware:
    """Admit or shed every request of a Django project, and learn from how it ends; put it first in ``MIDDLEWARE``.

    Routes are named by the resolver, as ``GET /items/{id}/``; what matches none shares ``GET {unmatched}``. A
    :class:`FlowRejected` that leaves a view is answered as a shed request is. Settings are the options of every guard
    in capitals, with ``ENGINE``, ``THREADS`` (those of one process of a WSGI server; learnt by default) and
    ``RESPONSE`` (a function of the request and the decision that gives the answer to a shed request). ``TIER``,
    ``KEY`` and ``ROUTE`` take the ``HttpRequest``. Functions and the engine may be named by their dotted paths.

    Raises:
        ConfigurationError: a setting is unusable.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        options = _settings()
        options.pop("ENGINE", None)
        response = options.pop("RESPONSE", None)
        if response is not None and not callable(response):
            raise ConfigurationError("settings.ATRION['RESPONSE']", response, "give a function")
        threads = options.pop("THREADS", None)
        chosen: Options[Any] = {key.lower(): value for key, value in options.items()}  # type: ignore[assignment]
        self._admission = _DjangoAdmission(engine(), **chosen)
        self._threads = ServerThreads(threads)
        self._response = response
        self.get_response = get_response
        self._asynchronous = iscoroutinefunction(get_response)
        if self._asynchronous:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """Serve one request."""
        if self._asynchronous:
            return self._serve_async(request)
        return self._reported(request, self._serve(request))

    def _serve(self, request: HttpRequest) -> Any:
        port, waited = port_of(request.META), waited_in_kernel(request.META)
        verdict, leave = self._threads.begin(self._admission, request, port, waited)
        response: Any = None
        try:
            if verdict is None:
                return self.get_response(request)
            if isinstance(verdict, Decision):
                return self._refusal(request, verdict)
            try:
                with verdict:
                    response = self.get_response(request)
            except BaseException as error:
                verdict.end(error)
                raise
            return _watched(response, verdict, leave)
        finally:
            if not _streams(response):
                leave()

    async def _serve_async(self, request: HttpRequest) -> Any:
        return self._reported(request, await self._served_async(request))

    async def _served_async(self, request: HttpRequest) -> Any:
        verdict = self._admission.begin_on_loop(request, port_of(request.META))
        if verdict is None:
            return await self.get_response(request)
        if isinstance(verdict, Decision):
            return self._refusal(request, verdict)
        try:
            with verdict:
                response = await self.get_response(request)
        except BaseException as error:
            verdict.end(error)
            raise
        if _streams(response):
            # A stream that has not been begun by then is closed by nobody.
            _when_done(lambda task: verdict.end(left=True) if task.cancelled() else None)
        return _watched(response, verdict, None)

    def _reported(self, request: HttpRequest, response: Any) -> Any:
        """The response, with the load report if the request asks for it."""
        report = self._admission.load_report(request)
        if report is not None:
            response.setdefault(REPORT, report)
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> Any:
        """A guard further in has shed the request."""
        rejection = rejection_in(exception)
        return None if rejection is None else self._refusal(request, rejection.decision)

    def _refusal(self, request: HttpRequest, decision: Decision) -> Any:
        if self._response is not None:
            try:
                return self._response(request, decision)
            except Exception:
                self._admission.complain("RESPONSE")
        headers, body = reply(decision)
        return HttpResponse(body, status=503, headers=dict(headers))


def _streams(response: Any) -> bool:
    return getattr(response, "streaming", False) and not isinstance(response, FileResponse)


def _watched(response: Any, admitted: Admitted, leave: Callable[[], None] | None) -> Any:
    """The response, which is in flight until it has been sent where it is a stream; a file is the server's to send."""
    admitted.answer(response.status_code)
    if not _streams(response):
        admitted.end()
        return response
    chunks = response.streaming_content
    kind = _AsyncBody if response.is_async else _Body
    response.streaming_content = kind(chunks, admitted, leave)
    return response


def _when_done(callback: Callable[[asyncio.Task[Any]], object]) -> None:
    """Have ``callback`` called when the current task of asyncio, if any, has ended."""
    with suppress(RuntimeError):  # no loop of asyncio's
        task = asyncio.current_task()
        if task is not None:
            task.add_done_callback(callback)


class _Watched:
    """A stream on its way, which ends when Django closes its response."""

    def __init__(self, chunks: Any, admitted: Admitted, leave: Callable[[], None] | None) -> None:
        self._chunks = chunks
        self._admitted = admitted
        self._leave = leave
        self._whole = False

    def close(self) -> None:
        self._admitted.end(left=not self._whole)
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()

    def __del__(self) -> None:
        self.close()  # a task that is cancelled between view and server leaves its response unclosed


class _Body(_Watched):
    def __iter__(self) -> Iterator[bytes]:
        try:
            chunks = iter(self._chunks)
            while True:
                with self._admitted.within():
                    chunk = next(chunks, None)
                if chunk is None:
                    break
                self._admitted.stream()
                yield chunk
            self._whole = True
        except Exception as error:
            self._admitted.end(error)
            raise


class _AsyncBody(_Watched):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        # Django does not close the response if the server cancels the request, and sends it in another task.
        _when_done(lambda sending: self.close())
        try:
            chunks = aiter(self._chunks)
            while True:
                with self._admitted.within():
                    chunk = await anext(chunks, None)
                if chunk is None:
                    break
                self._admitted.stream()
                yield chunk
            self._whole = True
        except BaseException as error:
            self._admitted.end(error)
            raise
