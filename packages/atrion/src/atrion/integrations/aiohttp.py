"""Admission for aiohttp's web server: one line, and routes go by their resources."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Unpack

from atrion.control.decision import Decision
from atrion.engine import Atrion
from atrion.errors import ConfigurationError
from atrion.integrations._admission import Admission, Admitted, Options
from atrion.integrations._load_reports import REPORT
from atrion.integrations._missing import needs
from atrion.integrations._names import METHODS, UNMATCHED
from atrion.integrations._refusal import reply
from atrion.integrations._tiers import tier

with needs("atrion.integrations.aiohttp", "aiohttp"):
    from aiohttp import web
    from aiohttp.typedefs import Handler

__all__ = ["install", "tier"]

Respond = Callable[[web.Request, Decision], web.StreamResponse]
"""Gives the answer to a shed request."""
# Newer versions warn of keys that are plain text, and older ones know no other.
ADMITTED: Any = web.RequestKey("atrion", Admitted) if hasattr(web, "RequestKey") else "atrion"


class _AiohttpAdmission(Admission[web.Request]):
    def method(self, request: web.Request) -> str:
        return request.method

    def path(self, request: web.Request) -> str:
        return request.path

    def header(self, request: web.Request, name: str) -> str | None:
        return request.headers.get(name)

    def address(self, request: web.Request) -> str | None:
        return request.remote

    def find(self, request: web.Request) -> tuple[str, object]:
        verb = request.method if request.method in METHODS else "OTHER"
        route = request.match_info.route
        resource = route.resource
        return f"{verb} {UNMATCHED if resource is None else resource.canonical}", route.handler


def install(
    app: web.Application,
    atrion: Atrion,
    *,
    response: Respond | None = None,
    **options: Unpack[Options[web.Request]],
) -> None:
    """Guard every request of an application and of its subapplications; call it before it starts.

    Routes are named by their resources, as ``GET /items/{id}``, and what matches none shares ``GET {unmatched}``. A
    :class:`FlowRejected` that leaves a handler is answered as a shed request is. A stream is in flight until its
    handler returns; its latency ends when it begins.

    Args:
        app: The application.
        atrion: The engine that decides.
        response: Gives the answer to a shed request, from the request and the decision.
        options: Those of :class:`Options`, whose functions take the request.

    Raises:
        ConfigurationError: a value is unusable.
    """
    if not isinstance(app, web.Application):
        raise ConfigurationError("app", app, "give an aiohttp.web.Application")
    if response is not None and not callable(response):
        raise ConfigurationError("response", response, "give a function that returns a response")
    admission = _AiohttpAdmission(atrion, **options)

    def refused(request: web.Request, decision: Decision) -> web.StreamResponse:
        if response is not None:
            try:
                return response(request, decision)
            except Exception:
                admission.complain("response()")
        headers, body = reply(decision)
        return web.Response(body=body, status=503, headers=dict(headers))

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        verdict = admission.begin_on_loop(request, _port(request))
        if verdict is None:
            return await handler(request)
        if isinstance(verdict, Decision):
            return refused(request, verdict)
        try:
            request[ADMITTED] = verdict
            with verdict:
                answer = await handler(request)
        except web.HTTPException as error:  # an answer, though raised
            verdict.answer(error.status)
            verdict.end()
            raise
        except BaseException as error:
            rejection = verdict.rejection(error)
            verdict.end(error, left=request.transport is None or request.transport.is_closing())
            if rejection is None or verdict.status:
                raise
            return refused(request, rejection.decision)
        verdict.answer(answer.status)
        verdict.end()
        return answer

    app.middlewares.insert(0, guard)
    app.on_response_prepare.append(_begun)

    async def report(request: web.Request, response: web.StreamResponse) -> None:
        value = admission.load_report(request)
        if value is not None:
            response.headers.setdefault(REPORT, value)

    if admission.reports is not None:
        app.on_response_prepare.append(report)


async def _begun(request: web.Request, response: web.StreamResponse) -> None:
    """An answer begins: while its handler runs it is a stream."""
    admitted = request.get(ADMITTED)
    if isinstance(admitted, Admitted):
        admitted.answer(response.status)
        admitted.stream()


def _port(request: web.Request) -> object:
    name = None if request.transport is None else request.transport.get_extra_info("sockname")
    return name[1] if isinstance(name, tuple) else None
