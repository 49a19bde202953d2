"""Plugin for Litestar; routes are named by their path templates."""

from __future__ import annotations

from typing import Any, Unpack

from atrion.engine import Atrion
from atrion.errors import FlowRejected
from atrion.integrations._admission import Options
from atrion.integrations._missing import needs
from atrion.integrations._names import METHODS, Scope
from atrion.integrations._refusal import Respond, reply
from atrion.integrations._tiers import declared_tier, tier
from atrion.integrations.asgi import AtrionMiddleware

with needs("atrion.integrations.litestar", "litestar"):
    from litestar import Request, Response
    from litestar.config.app import AppConfig
    from litestar.middleware import DefineMiddleware
    from litestar.plugins import InitPlugin

__all__ = ["AtrionPlugin", "tier"]


class AtrionPlugin(InitPlugin):
    """Guard all routes of a Litestar application: ``Litestar(..., plugins=[AtrionPlugin(atrion)])``.

    Routes are named by their templates, such as ``GET /items/{id}``. Litestar answers requests without a route before
    any middleware. A :class:`FlowRejected` that a handler does not catch is answered like a shed request. Arguments are
    those of :class:`atrion.integrations.asgi.AtrionMiddleware`.

    Raises:
        ConfigurationError: a value is invalid.
    """

    def __init__(
        self, atrion: Atrion, *, response: Respond | None = None, **options: Unpack[Options[Scope]]
    ) -> None:
        AtrionMiddleware(_nobody, atrion, response=response, **options)  # type: ignore[arg-type]  # bad options fail here
        self._atrion = atrion
        self._given = options.pop("route", None)
        self._options: dict[str, Any] = {"response": response, **options}
        self._seen: set[str] = set()

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add the middleware, outermost, and the exception handler of rejections."""
        middleware: Any = AtrionMiddleware  # its ASGI types are less strict than Litestar's
        guard = DefineMiddleware(middleware, atrion=self._atrion, route=self._name, **self._options)
        app_config.middleware.insert(0, guard)
        handlers: Any = app_config.exception_handlers
        handlers.setdefault(FlowRejected, _refused)
        return app_config

    def _name(self, scope: Scope) -> str | None:
        method = scope["method"]
        said = None if self._given is None else self._given(scope)
        name = said or f"{method if method in METHODS else 'OTHER'} {scope['path_template'] or '/'}"
        if name not in self._seen:
            self._seen.add(name)
            found = declared_tier(getattr(scope.get("route_handler"), "fn", None))
            if found is not None:
                self._atrion.configure(name, tier=found)
        return name


async def _nobody(scope: Scope, receive: object, send: object) -> None:
    """An application to check options with."""


def _refused(request: Request[Any, Any, Any], error: FlowRejected) -> Response[bytes]:
    headers, body = reply(error.decision)
    return Response(body, status_code=503, headers=dict(headers), media_type="application/problem+json")
