"""Integration with FastAPI: for a whole application, or as a dependency of endpoints; both documented in OpenAPI."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from functools import wraps
from typing import Any, Unpack

from atrion.control.base import Key
from atrion.engine import Atrion, check_name
from atrion.errors import ConfigurationError, FlowRejected
from atrion.integrations._admission import Options
from atrion.integrations._missing import needs
from atrion.integrations._refusal import REDUCED_CAPACITY, Respond, reply
from atrion.integrations._routers import TAIL, Scope, flat, path_of
from atrion.integrations._tiers import declared_tier, tier
from atrion.integrations.asgi import AtrionMiddleware
from atrion.physics.voltage import TierLike, level_of

with needs("atrion.integrations.fastapi", "fastapi"):
    from fastapi import FastAPI, Request, Response

__all__ = ["SHED", "guard", "install", "refused", "tier"]

SHED: dict[int | str, dict[str, Any]] = {
    503: {
        "description": "The service sheds load; come back after the seconds in Retry-After.",
        "headers": {"Retry-After": {"schema": {"type": "integer", "minimum": 1}}},
        "content": {
            "application/problem+json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "type": {"type": "string", "const": REDUCED_CAPACITY},
                        "title": {"type": "string"},
                        "status": {"type": "integer", "const": 503},
                        "detail": {"type": "string"},
                        "route": {"type": "string"},
                        "reason": {"type": "string"},
                        "retry_after": {"type": "integer", "minimum": 1},
                    },
                }
            }
        },
    }
}
"""For ``responses=`` of an endpoint, a router or an application: documents the 503 in OpenAPI."""


async def refused(request: Request, error: Exception) -> Response:
    """An exception handler of :class:`FlowRejected`: responds with 503, ``Retry-After`` and an RFC 9457 problem."""
    if not isinstance(error, FlowRejected):
        raise error
    headers, body = reply(error.decision)
    return Response(body, 503, dict(headers))


def guard(
    atrion: Atrion,
    route_id: str,
    *,
    tier: TierLike | None = None,
    key: Callable[[Request], Key | None] | None = None,
) -> Callable[[Request], AsyncIterator[Any]]:
    """A dependency, ``Depends(guard(atrion, "payments"))``, that guards an endpoint's use of a route.

    It raises :class:`FlowRejected` if shed; register a response with :func:`install` or
    ``app.add_exception_handler(FlowRejected, refused)``. Its value is the :class:`~atrion.Call`, in flight until
    FastAPI leaves the dependency. Exceptions of the endpoint are its outcome; report other failures with
    ``call.fail()``.

    Args:
        atrion: The engine that decides.
        route_id: The route, 1 to 256 characters.
        tier: The tier of its calls; None means the route's.
        key: Returns a stable key of a request.

    Raises:
        ConfigurationError: the route id, the tier or the key is invalid.
    """
    check_name("route_id", route_id)
    if tier is not None:
        level_of(tier)
    if key is not None and not callable(key):
        raise ConfigurationError("key", key, "give a function of the request that returns a key, or None")

    async def guarded(request: Request) -> AsyncIterator[Any]:
        async with atrion.flow(route_id, tier, key=None if key is None else key(request)) as call:
            yield call

    return guarded


def install(
    app: FastAPI,
    atrion: Atrion,
    *,
    response: Respond | None = None,
    **options: Unpack[Options[Scope]],
) -> None:
    """Guard every request of a FastAPI application; call it before the application starts.

    It adds the ASGI middleware, the tiers of endpoints from :func:`tier`, the response to a :class:`FlowRejected` that
    an endpoint or a dependency raises, and the 503 in OpenAPI. Arguments are those of
    :class:`atrion.integrations.asgi.AtrionMiddleware`.

    Raises:
        ConfigurationError: a value is invalid.
    """
    if not isinstance(app, FastAPI):
        raise ConfigurationError("app", app, "give a fastapi.FastAPI")
    AtrionMiddleware(app, atrion, response=response, **options)  # type: ignore[arg-type]  # bad options fail here
    given = options.get("tier")
    seen = 0

    def declared(scope: Scope) -> TierLike | None:
        nonlocal seen
        if seen != len(app.router.routes):  # routes were added
            seen = len(app.router.routes)
            for name, endpoint in _endpoints(app.router.routes):
                found = declared_tier(endpoint)
                if found is not None:
                    atrion.configure(name, tier=found)
        return None if given is None else given(scope)

    arguments: dict[str, Any] = {**options, "tier": declared}
    app.add_middleware(AtrionMiddleware, atrion=atrion, response=response, **arguments)
    app.add_exception_handler(FlowRejected, refused)
    documented = app.openapi

    @wraps(documented)
    def openapi() -> dict[str, Any]:
        schema = documented()
        for path in schema.get("paths", {}).values():
            for operation in path.values():
                if isinstance(operation, dict) and "responses" in operation:
                    operation["responses"].setdefault("503", SHED[503])
        return schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it


def _endpoints(routes: Iterable[Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    """The functions of all endpoints by the names that the middleware gives to their routes."""
    for candidate in flat(routes):
        route = getattr(candidate, "starlette_route", None) or candidate
        path = prefix + path_of(route)
        inner = getattr(route, "routes", None)
        if inner:
            yield from _endpoints(inner, path.removesuffix(TAIL))
        for method in getattr(route, "methods", None) or ():
            yield f"{method} {path}", getattr(route, "endpoint", None)
