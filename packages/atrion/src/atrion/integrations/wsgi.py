"""Middleware for any WSGI application."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import Any, Unpack

from atrion.control.decision import Decision
from atrion.engine import Atrion
from atrion.errors import ConfigurationError
from atrion.integrations._admission import Admission, Admitted, Options
from atrion.integrations._environ import Environ, EnvironAdmission
from atrion.integrations._load_reports import REPORT
from atrion.integrations._refusal import reply
from atrion.integrations._threads import ServerThreads, port_of, waited_in_kernel

__all__ = ["AtrionMiddleware"]

StartResponse = Callable[..., Any]
WSGIApp = Callable[[Environ, StartResponse], Iterable[bytes]]
Respond = Callable[[Environ, Decision], WSGIApp]
"""Returns the response to a shed request: a WSGI application, such as a Werkzeug response."""


class AtrionMiddleware:
    """Admit or shed every request of a WSGI application, and measure the admitted ones.

    Responses, names and outcomes are those of the ASGI middleware. The server's thread pool counts as a bottleneck,
    and the time for which a request has waited is taken from gunicorn's socket, or from ``X-Request-Start``. A call is
    in flight until the server closes the body; its latency is the time to the first byte.

    Args:
        app: The application to guard.
        atrion: The engine that decides.
        threads: Threads of one process of the server, ≥ 1; None learns the number.
        response: Returns the WSGI application that answers a shed request, from the environment and the decision.
        admission: How requests are read, for frameworks; None names routes by the shape of the path.
        options: Those of :class:`Options`, whose functions take the WSGI environment.

    Raises:
        ConfigurationError: a value is invalid.
    """

    def __init__(
        self,
        app: WSGIApp,
        atrion: Atrion,
        *,
        threads: int | None = None,
        response: Respond | None = None,
        admission: Admission[Environ] | None = None,
        **options: Unpack[Options[Environ]],
    ) -> None:
        if not callable(app):
            raise ConfigurationError("app", app, "give a WSGI application")
        if response is not None and not callable(response):
            raise ConfigurationError("response", response, "give a function that returns a WSGI application")
        self.app = app
        self._response = response
        self._admission = EnvironAdmission(atrion, **options) if admission is None else admission
        self._threads = ServerThreads(threads)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        if self._admission.reports is not None:
            start_response = self._reporting(environ, start_response)
        port, waited = port_of(environ), waited_in_kernel(environ)
        verdict, leave = self._threads.begin(self._admission, environ, port, waited)
        body: Iterable[bytes] | None = None
        try:
            if verdict is None:
                return self.app(environ, start_response)
            if isinstance(verdict, Decision):
                return self._refuse(verdict, environ, start_response)
            body = self._serve(verdict, environ, start_response)
            if isinstance(body, _Body):
                body.leave = leave
            return body
        finally:
            if not isinstance(body, _Body):
                leave()

    def _reporting(self, environ: Environ, start_response: StartResponse) -> StartResponse:
        """``start_response``, which adds the load report if the request asks for it."""

        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            report = self._admission.load_report(environ)
            if report is not None and all(name.lower() != REPORT for name, _ in headers):
                headers = [*headers, (REPORT, report)]
            return start_response(status, headers, *exc_info)

        return start

    def _serve(self, admitted: Admitted, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            admitted.answer(int(status[:3]))
            return start_response(status, headers, *exc_info)

        try:
            with admitted:
                body = self.app(environ, start)
        except BaseException as error:
            rejection = admitted.rejection(error)
            admitted.end(error)
            if rejection is None:
                raise
            return self._refuse(rejection.decision, environ, start_response, sys.exc_info())
        wrapper = environ.get("wsgi.file_wrapper")
        if isinstance(body, (list, tuple)) or (isinstance(wrapper, type) and isinstance(body, wrapper)):
            admitted.end()  # the server sends a list at once, and a file through the kernel
            return body
        return _Body(body, admitted)

    def _refuse(
        self, decision: Decision, environ: Environ, start_response: StartResponse, exc_info: Any = None
    ) -> Iterable[bytes]:
        headers, body = reply(decision)
        if self._response is not None:
            try:
                return self._response(environ, decision)(environ, start_response)
            except Exception:
                self._admission.complain("response()")
        status = HTTPStatus.SERVICE_UNAVAILABLE
        start_response(f"{status.value} {status.phrase}", headers, *([] if exc_info is None else [exc_info]))
        return [body]


class _Body:
    """A body being sent; its request ends when the server closes it."""

    def __init__(self, body: Iterable[bytes], admitted: Admitted) -> None:
        self._body = body
        self._chunks = iter(body)
        self._admitted = admitted
        self._begun = self._whole = False
        self.leave: Callable[[], None] | None = None
        """Called when the thread has finished the request."""

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            with self._admitted.within():
                chunk = next(self._chunks)
        except StopIteration:
            self._whole = True
            raise
        except BaseException as error:
            self._admitted.end(error)
            raise
        if chunk and not self._begun:
            self._begun = True
            self._admitted.stream()
        return chunk

    def close(self) -> None:
        """The server has closed the body, sent or not."""
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        except BaseException as error:
            self._admitted.end(error)
            raise
        finally:
            self._end()

    def _end(self) -> None:
        self._admitted.end(left=not self._whole)
        leave, self.leave = self.leave, None
        if leave is not None:
            leave()

    def __del__(self) -> None:
        self._end()  # Werkzeug's server does not close what it sends when a client resets the connection
