"""Middleware for any ASGI application."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from atrion.control.call import Call
from atrion.control.decision import Decision
from atrion.control.outcome import rejection_in
from atrion.engine import MAX_ROUTE_ID, Atrion, check_name
from atrion.errors import ConfigurationError
from atrion.integrations._context import admit, check_peers
from atrion.integrations._exchange import Exchange, Receive, Send
from atrion.integrations._load_reports import ASKING, LoadReports
from atrion.integrations._messages import receiving, sending
from atrion.integrations._names import UNMATCHED, RouteNames, Scope
from atrion.integrations._options import check_flag, check_function, excluded, prefixes
from atrion.integrations._process import Loops, waited
from atrion.integrations._refusal import ASGIApp, Respond, problem, with_retry_after
from atrion.integrations._tiers import PathTiers
from atrion.physics.voltage import Tier, TierLike
from atrion.propagation import Peers, RequestContext, use

__all__ = ["AtrionMiddleware"]

logger: logging.Logger = logging.getLogger("atrion.asgi")


def _header(scope: Scope, wanted: bytes) -> str | None:
    """The first header of that name, in lower case, or None."""
    for name, value in scope.get("headers") or ():
        if name.lower() == wanted:
            text: str = value.decode("latin-1")
            return text
    return None


def _text_header(scope: Scope, name: str) -> str | None:
    return _header(scope, name.encode())


def _address(scope: Scope) -> str | None:
    """The address of the peer, or None where it is none or nobody says."""
    client = scope.get("client")
    return str(client[0]) if client else None


def _port(scope: Scope) -> object:
    """The port that the server listens on, or None if unknown."""
    server = scope.get("server")
    return server[1] if server else None


class AtrionMiddleware:
    """Admit or shed every HTTP request of an ASGI application, and measure the admitted ones.

    A shed request is answered with 503, ``Retry-After`` (whole seconds, ≥ 1, jittered so that clients do not all
    return at once) and an RFC 9457 problem. Responses of 5xx and exceptions are failures; 4xx and clients that
    disconnect are ignored. A call ends with the last byte of its response; the latency of a stream is the time to its
    first byte. Time spent waiting for the client, in ``receive`` or ``send``, is excluded. A :class:`FlowRejected`
    that the application does not catch is answered like a shed request, unless a response has started. WebSockets,
    lifespan and CORS preflight requests pass through. Errors inside Atrion are logged once per kind, and the request
    is admitted.

    Routes of Starlette and FastAPI are named by their templates, such as ``GET /v1/items/{id}``, including mounts and
    prefixes of routers, but not the prefix of a server or proxy (``root_path``). Requests that match none share
    ``GET {unmatched}``, unless they are answered below 400. Other applications' routes are named by the shape of the
    path: segments that look like ids become ``{id}``, at most six segments are kept, and below each path the first 24
    other segments are distinguished and the rest become ``{…}``.

    Args:
        app: The application to guard.
        atrion: The engine that decides; the middleware does not connect it.
        tier: Returns the tier of a scope; None or an exception means the header, then ``tiers``, then the route's
            tier, which is normal by default.
        tiers: Tiers by path, such as ``{"/checkout/*": "critical"}``, optionally after a method; ``*`` matches any
            characters, and the longest matching pattern wins.
        key: Returns a stable key (a user or session) of a scope, so that a caller gets the same decision each time.
        pool: Name of the bottleneck that all routes behind this middleware share, 1 to 256 characters; None lets the
            engine infer it.
        response: Returns the response to a shed request, an ASGI application such as a Starlette response, from the
            scope and the :class:`Decision`. ``Retry-After`` and ``Cache-Control`` are added if it does not set them.
        route: Returns the route id, 1 to 256 characters; the number of ids must be bounded. None means the default.
        exclude: Path prefixes, in whole segments, that are neither shed nor measured, such as ``/health``; of the path
            without the prefix of the server or proxy. ``/`` is only the root.
        trust_tier_header: Take the tier from ``X-Atrion-Tier``; only behind a gateway that sets or removes it.
        trust_request_start: Take the time for which a request has waited from ``X-Request-Start``; only behind a
            proxy that sets it.
        peers: The services whose tier, place and deadline are accepted; the request's context is then set for the
            application, as :mod:`atrion.propagation` has it.
        load_reports: Tell load balancers how loaded this process is, in responses to requests that ask for it.

    Raises:
        ConfigurationError: a value is invalid.
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
        peers: Peers | None = None,
        load_reports: bool = False,
    ) -> None:
        if not callable(app):
            raise ConfigurationError("app", app, "give an ASGI application")
        if not callable(getattr(atrion, "flow", None)):
            raise ConfigurationError("atrion", atrion, "give an Atrion")
        check_function("tier", tier, "a tier")
        check_function("key", key, "a key")
        check_function("route", route, "a route id")
        check_function("response", response, "an ASGI application")
        check_flag("trust_tier_header", trust_tier_header)
        check_flag("trust_request_start", trust_request_start)
        check_flag("load_reports", load_reports)
        check_peers(peers)
        self.app = app
        self.atrion = atrion
        self._peers = peers
        self._tier = tier
        self._key = key
        self._route = route
        self._tiers = None if tiers is None else PathTiers(tiers)
        self._response = response
        self._disabled: bool = getattr(atrion, "disabled", False)
        if pool is not None:
            check_name("pool", pool)
        self._pool = pool
        self._exclude = prefixes(exclude)
        self._names = RouteNames(app)
        self._trusting = trust_tier_header
        self._stamped = trust_request_start
        self._tiered = tier is not None or tiers is not None or trust_tier_header
        self._loops = Loops()
        self._complained: set[str] = set()
        wanted = load_reports and not self._disabled
        self._reports = LoadReports(atrion, self._complain) if wanted else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        if self._reports is not None and scope["type"] == "http":
            wanted = _text_header(scope, ASKING)
            if wanted is not None:
                send = self._reports.sending(wanted, send)
        if scope["type"] != "http" or self._disabled or self._passes(scope):
            await self.app(scope, receive, send)
            return
        found: Call | Decision | None = None
        context: RequestContext | None = None
        route = ""
        try:
            route = self._route_id(scope)
            if self._pool is not None:
                self.atrion.default_pool(route, self._pool)
            tier = self._tier_of(scope) if self._tiered else None
            key = None if self._key is None else self._key_of(scope)
            if self._peers is None:
                found = self.atrion.flow(route, tier, key=key)
            else:
                address, header = _address(scope), partial(_text_header, scope)
                found, context = admit(self.atrion, self._peers, route, tier, key, address, header)
            if isinstance(found, Call):
                found = self._begin(found, scope)
        except Exception:
            self._complain("a decision")
        if isinstance(found, Decision):
            await self._refusal(scope, found)(scope, receive, send)
        elif not isinstance(found, Call) or not found.active:
            await self.app(scope, receive, send)
        elif context is None:
            await self._guard(route, found, scope, receive, send)
        else:
            with use(context):
                await self._guard(route, found, scope, receive, send)

    def _begin(self, call: Call, scope: Scope) -> Call | Decision:
        """The call in flight, or the decision that sheds it."""
        thread = self._loops.mine()
        wait = self._waited(scope) if self._stamped else None
        call.behind(thread.arrive(_port(scope), wait))
        decision = call.decide()
        if not decision.allowed:
            return decision
        thread.admit()
        call.enclose()
        return call

    async def _guard(self, route: str, call: Call, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve an admitted request, which is measured until its last byte."""
        exchange = Exchange(call, self._complain)
        refusal: ASGIApp | None = None
        error: BaseException | None = None
        try:
            await self.app(scope, receiving(exchange, receive), sending(exchange, send))
        except BaseException as raised:
            error = raised
            refusal = self._refusal_for(scope, raised, exchange)
            if refusal is None:
                raise
        finally:
            exchange.leave(error)
            error = None  # avoids a reference cycle through the traceback
            if 0 < exchange.status < 400 and route.endswith(UNMATCHED):
                self._names.answered(scope)
        if refusal is None and exchange.refused is not None:
            refusal = self._refusal(scope, exchange.refused.decision)
        if refusal is not None:
            await refusal(scope, receive, send)

    def _refusal(self, scope: Scope, decision: Decision) -> ASGIApp:
        """The response to a shed request."""
        if self._response is not None:
            try:
                return with_retry_after(self._response(scope, decision), decision)
            except Exception:
                self._complain("response()")
        return problem(decision)

    def _refusal_for(self, scope: Scope, error: BaseException, exchange: Exchange) -> ASGIApp | None:
        """The response to a call that a nested guard has shed, unless a response has started."""
        if exchange.started:
            return None
        try:
            rejection = rejection_in(error)
            return None if rejection is None else self._refusal(scope, rejection.decision)
        except Exception:
            self._complain("a refusal")
            return None

    def _complain(self, what: str) -> None:
        """Log the exception being handled, once per kind."""
        if what not in self._complained:
            self._complained.add(what)
            logger.warning("atrion: %s failed and the request goes on without it", what, exc_info=True)  # noqa: LOG014

    def _passes(self, scope: Scope) -> bool:
        """Whether the request is excluded, or a CORS preflight: a browser reports a shed one as a CORS error."""
        if self._exclude and excluded(self._names.path(scope), self._exclude):
            return True
        return (
            scope.get("method") == "OPTIONS" and _header(scope, b"access-control-request-method") is not None
        )

    # --- reading the scope --------------------------------------------------------------------------------

    def _tier_of(self, scope: Scope) -> Tier | None:
        """The request's tier; None means the route's."""
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
        """Seconds for which the request has waited before it arrived, if the proxy reports it."""
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
