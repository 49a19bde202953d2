"""Admission for any ASGI application, by a middleware that needs no framework."""

from __future__ import annotations

import inspect
import json
import logging
import math
import random
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from typing import Any

from atrion.control.decision import Decision
from atrion.control.flow import Flow
from atrion.control.outcome import rejection_in
from atrion.engine import MAX_ROUTE_ID, Atrion, check_name
from atrion.errors import ConfigurationError
from atrion.integrations._exchange import Exchange, Message, Receive, Send
from atrion.integrations._process import Loops, waited
from atrion.physics.voltage import Tier

__all__ = ["AtrionMiddleware"]

logger: logging.Logger = logging.getLogger("atrion.asgi")

_dice = random.Random()  # the host's common dice may be seeded for the host's sake

Scope = MutableMapping[str, Any]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"})
"""Methods that get ids of their own; clients can make up any number of others, which share ``OTHER``."""
MAX_SEGMENTS = 6
MAX_SEGMENT = 24
"""Characters above which a segment is taken for an id."""
MAX_NESTING = 16
UNMATCHED = "{unmatched}"
TAIL = "/{path}"

_ID = re.compile(
    r"[+-]?\d+"  # a number
    r"|\{?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\}?"  # a UUID
    r"|(0x)?[0-9a-f]{8,}"  # hexadecimal
    r"|(?=[a-f]*\d)[0-9a-f]{4,}"  # short hexadecimal, told from a word by its digits
    r"|(\D*\d){4,}.*"  # dates, order numbers, tokens
    r"|.*[^\w.~-].*",  # what no programmer names a resource
    re.IGNORECASE | re.ASCII | re.DOTALL,
)


def _normalised(path: str) -> str:
    """The shape of a path: segments that look like ids become ``{id}``, and what is deep is cut off."""
    segments = [segment for segment in path[:4096].split("/") if segment][:MAX_SEGMENTS]
    return "/" + "/".join(
        "{id}" if len(segment) > MAX_SEGMENT or _ID.fullmatch(segment) else segment for segment in segments
    )


def _routes_of(thing: object) -> list[Any] | None:
    """The routes of a router in Starlette's manner, or None for anything else."""
    routes = getattr(thing, "routes", None)
    if isinstance(routes, (list, tuple)) and all(
        callable(getattr(route, "matches", None)) for route in routes
    ):
        return list(routes)
    return None


def _flat(routes: Iterable[Any]) -> Iterator[Any]:
    for route in routes:
        included = getattr(route, "effective_route_contexts", None)  # FastAPI's include_router
        if callable(included):
            yield from included()
        else:
            yield route


def _path_of(route: Any) -> str:
    """A route's template; a mount's ends in ``/{path}``, and a host's is its name."""
    for field in ("path_format", "path", "host_format"):
        value = getattr(route, field, None)
        if isinstance(value, str):
            return value
    return UNMATCHED


def _match(routes: Iterable[Any], scope: Scope, depth: int = 0) -> str | None:
    """The template that serves ``scope``, or None; right path and wrong method counts too, as a 405 has a route."""
    partial: str | None = None
    for candidate in _flat(routes):
        match, child = candidate.matches(scope)
        rank = getattr(match, "value", match)
        if not rank:
            continue
        route = getattr(candidate, "starlette_route", None) or candidate
        template = _path_of(route)
        if rank == 1:
            partial = template if partial is None else partial
            continue
        inner = _routes_of(route)
        if not inner or depth >= MAX_NESTING:
            return template
        found = _match(inner, {**scope, **child}, depth + 1)
        return None if found is None else template.removesuffix(TAIL) + found
    return partial


def _header(scope: Scope, wanted: bytes) -> str | None:
    """The first header of that name, in lower case, or None."""
    for name, value in scope.get("headers") or ():
        if name.lower() == wanted:
            text: str = value.decode("latin-1")
            return text
    return None


def _is_callable(field: str, value: object, gives: str) -> None:
    if value is None:
        return
    if not callable(value):
        raise ConfigurationError(
            field, value, f"give a function of the ASGI scope that returns {gives}, or None"
        )
    if inspect.iscoroutinefunction(value) or inspect.iscoroutinefunction(getattr(value, "__call__", None)):  # noqa: B004
        raise ConfigurationError(
            field, value, f"give a plain function that returns {gives}, not an async one"
        )


def _prefixes(exclude: object) -> tuple[str, ...]:
    cure = 'give path prefixes that begin with "/", such as ("/health",)'
    if isinstance(exclude, (str, bytes)) or not isinstance(exclude, Iterable):
        raise ConfigurationError("exclude", exclude, cure)
    found = []
    for prefix in exclude:
        if not isinstance(prefix, str) or not prefix.startswith("/"):
            raise ConfigurationError("exclude", prefix, cure)
        found.append(prefix.rstrip("/"))
    return tuple(found)


class AtrionMiddleware:
    """Admit or shed every HTTP request of an ASGI application, and learn from how it ends.

    A shed request is answered 503 with ``Retry-After`` (whole seconds, ≥ 1, jittered so that clients do not
    return together) and an RFC 9457 problem. Replies of 5xx and exceptions are failures; 4xx and clients that
    leave are nobody's fault here. A call ends with the last byte of its reply, whatever the application does
    then; a streamed reply is in flight until that, and its latency ends with its first byte. Time spent waiting
    for the client, in ``receive`` or ``send``, is no latency. A :class:`FlowRejected` that leaves the application
    before any reply is answered as a shed request is. WebSockets and lifespan pass through. Trouble inside Atrion
    is logged once per kind, and the request flows.

    Routes are named by their template, as ``GET /items/{id}``: Starlette and FastAPI are asked for it, and what
    matches none of their routes shares ``GET {unmatched}``. Elsewhere the path's shape serves: segments that look
    like ids become ``{id}``, and at most six are kept.

    Args:
        app: The application to guard.
        atrion: The engine that decides; connecting it stays the caller's business.
        tier: Gives the tier of a scope; None or an exception means the header's tier, or NORMAL.
        key: Gives a scope's stable key (a user or session), so that one caller meets one decision.
        pool: Bottleneck that all routes behind this middleware share, for those who know, 1 to 256 characters; None
            leaves it to the engine to find out.
        route: Gives the route id, 1 to 256 characters and of bounded variety; None means the usual naming.
        exclude: Path prefixes, by whole segments, that are never shed nor measured, such as ``/health``.
        trust_tier_header: Take the tier from ``X-Atrion-Tier``; only behind a gateway that sets or strips it.
        trust_request_start: Let ``X-Request-Start`` say how long a request has waited before it came here; only
            behind a proxy that sets it.

    Raises:
        ConfigurationError: a value is unusable.
    """

    def __init__(
        self,
        app: ASGIApp,
        atrion: Atrion,
        *,
        tier: Callable[[Scope], Tier | str | None] | None = None,
        key: Callable[[Scope], str | None] | None = None,
        pool: str | None = None,
        route: Callable[[Scope], str | None] | None = None,
        exclude: Iterable[str] = (),
        trust_tier_header: bool = False,
        trust_request_start: bool = False,
    ) -> None:
        if not callable(app):
            raise ConfigurationError("app", app, "give an ASGI application")
        if not callable(getattr(atrion, "flow", None)):
            raise ConfigurationError("atrion", atrion, "give an Atrion")
        _is_callable("tier", tier, "a tier")
        _is_callable("key", key, "a key")
        _is_callable("route", route, "a route id")
        if not isinstance(trust_tier_header, bool):
            raise ConfigurationError("trust_tier_header", trust_tier_header, "give True or False")
        if not isinstance(trust_request_start, bool):
            raise ConfigurationError("trust_request_start", trust_request_start, "give True or False")
        self.app = app
        self.atrion = atrion
        self._tier = tier
        self._key = key
        self._route = route
        if pool is not None:
            check_name("pool", pool)
        self._pool = pool
        self._exclude = _prefixes(exclude)
        self._trusting = trust_tier_header
        self._stamped = trust_request_start
        self._loops = Loops()
        self._complained: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] != "http" or self._excluded(scope):
            await self.app(scope, receive, send)
            return
        refusal: tuple[Message, Message] | None = None
        flow: Flow | None = None
        try:
            route = self._route_id(scope)
            if self._pool is not None:
                self.atrion.default_pool(route, self._pool)
            flow = self.atrion.flow(route, self._tier_of(scope), key=self._key_of(scope))
            flow.behind(self._loops.mine().arrive(self._waited(scope) if self._stamped else None))
            decision = flow.decide()
            if decision.allowed:
                flow.enclose()
            else:
                refusal = _refusal(decision)
        except Exception:
            self._complain("a decision")
        if refusal is not None:
            await _refuse(refusal, send)
        elif flow is None or not flow.open:
            await self.app(scope, receive, send)
        else:
            await self._guard(flow, scope, receive, send)

    async def _guard(self, flow: Flow, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve an admitted request. What happens after its last byte is nobody's measure."""
        exchange = Exchange(flow, receive, send, self._complain)
        refusal: tuple[Message, Message] | None = None
        error: BaseException | None = None
        try:
            await self.app(scope, exchange.receive, exchange.send)
        except BaseException as raised:
            error = raised
            refusal = self._refusal_for(raised, exchange)
            if refusal is None:
                raise
        finally:
            exchange.leave(error)
            error = None  # no cycle through the traceback
        if refusal is not None:
            await _refuse(refusal, send)

    def _refusal_for(self, error: BaseException, exchange: Exchange) -> tuple[Message, Message] | None:
        """The reply to a call that a guard further in has shed, where there is still room for a reply."""
        if exchange.started:
            return None
        try:
            rejection = rejection_in(error)
            return None if rejection is None else _refusal(rejection.decision)
        except Exception:
            self._complain("a refusal")
            return None

    def _complain(self, what: str) -> None:
        """Log the exception being handled, once per kind: trouble at every request must not become a flood."""
        if what not in self._complained:
            self._complained.add(what)
            logger.warning("atrion: %s failed and the request goes on without it", what, exc_info=True)  # noqa: LOG014

    def _excluded(self, scope: Scope) -> bool:
        if not self._exclude:
            return False
        path = scope.get("path", "")
        return any(path == prefix or path.startswith(prefix + "/") for prefix in self._exclude)

    # --- what the scope says -------------------------------------------------------------------------------

    def _tier_of(self, scope: Scope) -> Tier:
        try:
            if self._tier is not None:
                said = self._tier(scope)
                if said is not None:
                    return Tier.parse(said)
        except Exception:
            self._complain("tier()")
            return Tier.NORMAL
        said = _header(scope, b"x-atrion-tier") if self._trusting else None
        if said is not None:
            try:
                return Tier.parse(said.strip())
            except ConfigurationError:
                pass
        return Tier.NORMAL

    @staticmethod
    def _waited(scope: Scope) -> float | None:
        """Seconds for which the request has waited before it came here, if the proxy says so."""
        stamp = _header(scope, b"x-request-start")
        return None if stamp is None else waited(stamp, time.time())

    def _key_of(self, scope: Scope) -> str | None:
        if self._key is not None:
            try:
                said = self._key(scope)
                return None if said is None else str(said)
            except Exception:
                self._complain("key()")
        return None

    def _route_id(self, scope: Scope) -> str:
        if self._route is not None:
            try:
                said = self._route(scope)
                if isinstance(said, str) and said:
                    return said[:MAX_ROUTE_ID]
            except Exception:
                self._complain("route()")
        method = scope.get("method", "GET")
        try:
            path = self._template(scope)
        except Exception:
            self._complain("finding the template")
            path = None
        if path is None:
            path = _normalised(scope.get("path", "/"))
        return f"{method if method in METHODS else 'OTHER'} {path}"[:MAX_ROUTE_ID]

    def _template(self, scope: Scope) -> str | None:
        """The template that will serve ``scope``, or None where no router can be asked."""
        current = scope.get("route")  # set already when this middleware sits below a router
        before = ""
        if current is not None:
            before = _path_of(current)
            if not hasattr(current, "routes"):
                return before
        for owner in (self.app, scope.get("app")):
            routes = _routes_of(owner)
            if routes is not None:
                found = _match(routes, dict(scope))  # FastAPI takes notes in the scope it is asked about
                if found is not None:
                    return before.removesuffix(TAIL) + found
                return before or UNMATCHED
        return before or None


async def _refuse(refusal: tuple[Message, Message], send: Send) -> None:
    for message in refusal:
        await send(message)


def _refusal(decision: Decision) -> tuple[Message, Message]:
    seconds = max(math.ceil(decision.retry_after), 1)
    seconds += _dice.randint(0, seconds // 4 + 1)
    body = json.dumps(
        {
            "type": "about:blank",
            "title": "Service Unavailable",
            "status": 503,
            "detail": f"{decision.route} sheds load; come back in {seconds} s.",
            "route": decision.route,
            "reason": str(decision.reason),
            "retry_after": seconds,
        }
    ).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"retry-after", str(seconds).encode()),
        (b"cache-control", b"no-store"),
    ]
    return (
        {"type": "http.response.start", "status": 503, "headers": headers},
        {"type": "http.response.body", "body": body},
    )
