"""Admission for any ASGI application, by a middleware that needs no framework."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable, Iterable, Mapping

from atrion.control.call import Call
from atrion.control.decision import Decision
from atrion.control.outcome import rejection_in
from atrion.engine import MAX_ROUTE_ID, Atrion, check_name
from atrion.errors import ConfigurationError
from atrion.integrations._exchange import Exchange, Receive, Send
from atrion.integrations._names import UNMATCHED, RouteNames, Scope
from atrion.integrations._process import Loops, waited
from atrion.integrations._refusal import ASGIApp, Respond, problem, with_retry_after
from atrion.integrations._tiers import PathTiers
from atrion.physics.voltage import Tier, TierLike

__all__ = ["AtrionMiddleware"]

logger: logging.Logger = logging.getLogger("atrion.asgi")


def _header(scope: Scope, wanted: bytes) -> str | None:
    """The first header of that name, in lower case, or None."""
    for name, value in scope.get("headers") or ():
        if name.lower() == wanted:
            text: str = value.decode("latin-1")
            return text
    return None


def _port(scope: Scope) -> object:
    """The port that the server listens on, or None where it is no port or nobody says."""
    server = scope.get("server")
    return server[1] if server else None


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
        found.append(prefix.rstrip("/") or "/")
    return tuple(found)


class AtrionMiddleware:
    """Admit or shed every HTTP request of an ASGI application, and learn from how it ends.

    A shed request is answered 503 with ``Retry-After`` (whole seconds, ≥ 1, jittered so that clients do not
    return together) and an RFC 9457 problem. Replies of 5xx and exceptions are failures; 4xx and clients that
    leave are nobody's fault here. A call ends with the last byte of its reply, whatever the application does
    then; a streamed reply is in flight until that, and its latency ends with its first byte. Time spent waiting
    for the client, in ``receive`` or ``send``, is no latency. A :class:`FlowRejected` that leaves the application
    before any reply is answered as a shed request is. WebSockets, lifespan and the preflight requests of browsers pass
    through. Trouble inside Atrion
    is logged once per kind, and the request flows.

    Routes are named by their template, as ``GET /v1/items/{id}``: Starlette and FastAPI are asked for it, from the
    outermost router down, so a route has one name wherever the middleware stands. The prefix of a server or proxy
    (``root_path``) is no part of it. What matches none of their routes shares ``GET {unmatched}``, unless it is seen to
    be answered. Elsewhere the path's shape serves: segments that look like ids become ``{id}``, at most six are kept,
    and of those that differ below one path the first 24 are told apart and the rest become ``{…}``.

    Args:
        app: The application to guard.
        atrion: The engine that decides; connecting it stays the caller's business.
        tier: Gives the tier of a scope; None or an exception leaves it to the header, then to ``tiers``, then to the
            route, which is normal unless configured otherwise.
        tiers: Tiers by path, such as ``{"/checkout/*": "critical"}``, after a method or not; ``*`` stands for any
            characters, and the longest pattern that matches counts.
        key: Gives a scope's stable key (a user or session), so that one caller meets one decision.
        pool: Bottleneck that all routes behind this middleware share, for those who know, 1 to 256 characters; None
            leaves it to the engine to find out.
        response: Gives the ASGI application, such as a Starlette response, that answers a shed request; it takes the
            scope and the :class:`Decision`. ``Retry-After`` and ``Cache-Control`` are added where it does not set them.
        route: Gives the route id, 1 to 256 characters and of bounded variety; None means the usual naming.
        exclude: Path prefixes, by whole segments, that are never shed nor measured, such as ``/health``: of the path
            that a client sends, without the server's or proxy's prefix. ``/`` is the root alone.
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
        tiers: Mapping[str, TierLike] | None = None,
        key: Callable[[Scope], str | None] | None = None,
        pool: str | None = None,
        response: Respond | None = None,
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
        _is_callable("response", response, "an ASGI application")
        if not isinstance(trust_tier_header, bool):
            raise ConfigurationError("trust_tier_header", trust_tier_header, "give True or False")
        if not isinstance(trust_request_start, bool):
            raise ConfigurationError("trust_request_start", trust_request_start, "give True or False")
        self.app = app
        self.atrion = atrion
        self._tier = tier
        self._key = key
        self._route = route
        self._tiers = None if tiers is None else PathTiers(tiers)
        self._response = response
        self._disabled: bool = getattr(atrion, "disabled", False)
        if pool is not None:
            check_name("pool", pool)
        self._pool = pool
        self._exclude = _prefixes(exclude)
        self._names = RouteNames(app)
        self._trusting = trust_tier_header
        self._stamped = trust_request_start
        self._tiered = tier is not None or tiers is not None or trust_tier_header
        self._loops = Loops()
        self._complained: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] != "http" or self._disabled or self._passes(scope):
            await self.app(scope, receive, send)
            return
        refusal: ASGIApp | None = None
        call: Call | None = None
        route = ""
        try:
            route = self._route_id(scope)
            if self._pool is not None:
                self.atrion.default_pool(route, self._pool)
            tier = self._tier_of(scope) if self._tiered else None
            call = self.atrion.flow(route, tier, key=None if self._key is None else self._key_of(scope))
            thread = self._loops.mine()
            wait = self._waited(scope) if self._stamped else None
            call.behind(thread.arrive(_port(scope), wait))
            decision = call.decide()
            if decision.allowed:
                thread.admit()
                call.enclose()
            else:
                refusal = self._refusal(scope, decision)
        except Exception:
            self._complain("a decision")
        if refusal is not None:
            await refusal(scope, receive, send)
        elif call is None or not call.active:
            await self.app(scope, receive, send)
        else:
            await self._guard(route, call, scope, receive, send)

    async def _guard(self, route: str, call: Call, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve an admitted request. What happens after its last byte is nobody's measure."""
        exchange = Exchange(call, receive, send, self._complain)
        refusal: ASGIApp | None = None
        error: BaseException | None = None
        try:
            await self.app(scope, exchange.receive, exchange.send)
        except BaseException as raised:
            error = raised
            refusal = self._refusal_for(scope, raised, exchange)
            if refusal is None:
                raise
        finally:
            exchange.leave(error)
            error = None  # no cycle through the traceback
            if 0 < exchange.status < 400 and route.endswith(UNMATCHED):
                self._names.answered(scope)
        if refusal is not None:
            await refusal(scope, receive, send)

    def _refusal(self, scope: Scope, decision: Decision) -> ASGIApp:
        """What answers a shed request."""
        if self._response is not None:
            try:
                return with_retry_after(self._response(scope, decision), decision)
            except Exception:
                self._complain("response()")
        return problem(decision)

    def _refusal_for(self, scope: Scope, error: BaseException, exchange: Exchange) -> ASGIApp | None:
        """The reply to a call that a guard further in has shed, where there is still room for a reply."""
        if exchange.started:
            return None
        try:
            rejection = rejection_in(error)
            return None if rejection is None else self._refusal(scope, rejection.decision)
        except Exception:
            self._complain("a refusal")
            return None

    def _complain(self, what: str) -> None:
        """Log the exception being handled, once per kind: trouble at every request must not become a flood."""
        if what not in self._complained:
            self._complained.add(what)
            logger.warning("atrion: %s failed and the request goes on without it", what, exc_info=True)  # noqa: LOG014

    def _passes(self, scope: Scope) -> bool:
        """Whether it is excluded, or a browser asks by CORS if it may send one: shed, that looks like a refusal."""
        if self._exclude:
            path = self._names.path(scope)
            for prefix in self._exclude:
                if path == prefix or (prefix != "/" and path.startswith(f"{prefix}/")):
                    return True
        return (
            scope.get("method") == "OPTIONS" and _header(scope, b"access-control-request-method") is not None
        )

    # --- what the scope says -------------------------------------------------------------------------------

    def _tier_of(self, scope: Scope) -> Tier | None:
        """The request's tier; None leaves it to the route."""
        try:
            if self._tier is not None:
                said = self._tier(scope)
                if said is not None:
                    return Tier.parse(said)
        except Exception:
            self._complain("tier()")
        said = _header(scope, b"x-atrion-tier") if self._trusting else None
        if said is not None:
            try:
                return Tier.parse(said.strip())
            except ConfigurationError:
                pass
        return (
            None
            if self._tiers is None
            else self._tiers.of(scope.get("method", "GET"), self._names.path(scope))
        )

    @staticmethod
    def _waited(scope: Scope) -> float | None:
        """Seconds for which the request has waited before it came here, if the proxy says so."""
        stamp = _header(scope, b"x-request-start")
        return None if stamp is None else waited(stamp, time.time())

    def _key_of(self, scope: Scope) -> str | None:
        try:
            said = None if self._key is None else self._key(scope)
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
        try:
            name = self._names.name(scope)
        except Exception:
            self._complain("finding the template")
            name = self._names.shape(scope)
        return name[:MAX_ROUTE_ID]
