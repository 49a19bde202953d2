"""Integration with Flask; routes are named by their rules."""

from __future__ import annotations

from typing import Unpack

from atrion.engine import Atrion
from atrion.errors import ConfigurationError, FlowRejected
from atrion.integrations._admission import Options, braced
from atrion.integrations._environ import Environ, EnvironAdmission
from atrion.integrations._missing import needs
from atrion.integrations._names import UNMATCHED
from atrion.integrations._refusal import reply
from atrion.integrations._tiers import tier
from atrion.integrations.wsgi import AtrionMiddleware, Respond

with needs("atrion.integrations.flask", "flask"):
    from flask import Flask, Response, request
    from flask.typing import ResponseReturnValue
    from werkzeug.exceptions import HTTPException, MethodNotAllowed
    from werkzeug.routing import MapAdapter, RequestRedirect, Rule

__all__ = ["install", "tier"]


class _FlaskAdmission(EnvironAdmission):
    def __init__(self, app: Flask, atrion: Atrion, **options: Unpack[Options[Environ]]) -> None:
        super().__init__(atrion, **options)
        self._app = app

    def find(self, request: Environ) -> tuple[str, object]:
        urls = self._app.url_map.bind_to_environ(request, self._app.config.get("SERVER_NAME"))
        try:
            rule, _ = _matched(urls, self.method(request))
        except HTTPException:
            return f"{self.verb(request)} {UNMATCHED}", None
        return f"{self.verb(request)} {braced(rule.rule)}", self._app.view_functions.get(rule.endpoint)


def _matched(urls: MapAdapter, method: str) -> tuple[Rule, object]:
    """The rule of a request; a 405, and a redirect to the path with a slash, have a rule, too."""
    try:
        return urls.match(None, None, True)
    except MethodNotAllowed as error:
        return urls.match(None, next(iter(error.valid_methods or [method])), True)
    except RequestRedirect:
        return urls.match(f"{urls.path_info}/", None, True)


def install(
    app: Flask,
    atrion: Atrion,
    *,
    threads: int | None = None,
    response: Respond | None = None,
    **options: Unpack[Options[Environ]],
) -> None:
    """Guard every request of a Flask application.

    Routes are named by their rules, such as ``GET /items/{id}``; requests that match none share ``GET {unmatched}``. A
    :class:`FlowRejected` that a view does not catch is answered like a shed request. Arguments are those of
    :class:`atrion.integrations.wsgi.AtrionMiddleware`.

    Raises:
        ConfigurationError: a value is invalid.
    """
    if not isinstance(app, Flask):
        raise ConfigurationError("app", app, "give a flask.Flask")
    admission = _FlaskAdmission(app, atrion, **options)
    app.wsgi_app = AtrionMiddleware(  # type: ignore[method-assign]  # as Flask's documentation has it
        app.wsgi_app, atrion, threads=threads, response=response, admission=admission
    )

    def answered(error: FlowRejected) -> ResponseReturnValue:
        if response is not None:
            return response(request.environ, error.decision)
        headers, body = reply(error.decision)
        return Response(body, 503, headers)

    app.register_error_handler(FlowRejected, answered)
