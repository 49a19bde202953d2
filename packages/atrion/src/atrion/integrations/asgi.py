"""Middleware for any ASGI application."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping

from atrion.control.decision import Decision
from atrion.control.outcome import rejection_in
from atrion.engine import Atrion, check_name
from atrion.errors import ConfigurationError
from atrion.integrations._asgi_admission import AsgiAdmission, header
from atrion.integrations._context import check_peers
from atrion.integrations._exchange import Exchange, Receive, Send
from atrion.integrations._load_reports import ASKING, LoadReports
from atrion.integrations._messages import receiving, sending
from atrion.integrations._names import Scope
from atrion.integrations._options import check_flag, check_function, prefixes
from atrion.integrations._refusal import ASGIApp, Respond, problem, with_retry_after
from atrion.integrations._tiers import PathTiers
from atrion.physics.voltage import Tier, TierLike
from atrion.propagation import Peers, use

__all__ = ["AtrionMiddleware"]

logger: logging.Logger = logging.getLogger("atrion.asgi")


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
        if pool is not None:
            check_name("pool", pool)
        self.app = app
        self.atrion = atrion
        self._response = response
        self._disabled: bool = getattr(atrion, "disabled", False)
        self._complained: set[str] = set()
        self._admission = AsgiAdmission(
            app,
            atrion,
            self._complain,
            tier,
            None if tiers is None else PathTiers(tiers),
            key,
            pool,
            route,
            prefixes(exclude),
            trust_tier_header,
            trust_request_start,
            peers,
        )
        wanted = load_reports and not self._disabled
        self._reports = LoadReports(atrion, self._complain) if wanted else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        found: Exchange | Decision | None = None
        if scope["type"] == "http" and not self._disabled:
            if self._reports is not None:
                wanted = header(scope, ASKING)
                if wanted is not None:
                    send = self._reports.sending(wanted, send)
            found = self._admission.admit(scope)
        if found is None:
            await self.app(scope, receive, send)
        elif isinstance(found, Decision):
            await self._refusal(scope, found)(scope, receive, send)
        elif found.context is None:
            await self._guard(found, scope, receive, send)
        else:
            with use(found.context):
                await self._guard(found, scope, receive, send)

    async def _guard(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve an admitted request, which is measured until its last byte."""
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
            if exchange.unmatched and 0 < exchange.status < 400:
                self._admission.answered(scope)
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
