"""The decision about each request of an ASGI application. Compiled: a request pays for it before it is served."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, final

from atrion.control.decision import Decision
from atrion.engine import MAX_ROUTE_ID, Atrion
from atrion.errors import ConfigurationError
from atrion.integrations._arrivals import waited
from atrion.integrations._context import admit
from atrion.integrations._exchange import Exchange
from atrion.integrations._loop_thread import LoopThread
from atrion.integrations._names import UNMATCHED, RouteNames, Scope
from atrion.integrations._options import excluded
from atrion.integrations._process import Loops
from atrion.integrations._tiers import PathTiers
from atrion.physics.voltage import Tier
from atrion.propagation import Peers, RequestContext

__all__ = ["AsgiAdmission", "header"]

Reader = Callable[[Scope], Any]
"""A function of the application's, which may return anything."""


def header(scope: Scope, name: str) -> str | None:
    """The first header of a name in lower case, or None."""
    wanted = name.encode()
    for found, value in scope.get("headers") or ():
        if found.lower() == wanted:
            text: str = value.decode("latin-1")
            return text
    return None


def _address(scope: Scope) -> str | None:
    """The address of the peer, or None where it is none or nobody says."""
    client = scope.get("client")
    return str(client[0]) if client else None


@final
class AsgiAdmission:
    """Admits or sheds the requests of one application; the options are those of the middleware.

    Errors in here or in the application's functions go to ``complain``, and the request passes without a guard.
    """

    def __init__(
        self,
        app: object,
        atrion: Atrion,
        complain: Callable[[str], None],
        tier: Reader | None,
        tiers: PathTiers | None,
        key: Reader | None,
        pool: str | None,
        route: Reader | None,
        exclude: tuple[str, ...],
        trust_tier_header: bool,
        trust_request_start: bool,
        peers: Peers | None,
    ) -> None:
        self._atrion = atrion
        self._complain = complain
        self._tier = tier
        self._tiers = tiers
        self._key = key
        self._pool = pool
        self._route = route
        self._exclude = exclude
        self._trusting = trust_tier_header
        self._stamped = trust_request_start
        self._tiered = tier is not None or tiers is not None or trust_tier_header
        self._peers = peers
        self._names = RouteNames(app)
        self._loops = Loops()

    def admit(self, scope: Scope) -> Exchange | Decision | None:
        """The request in flight, or the decision that sheds it; None where it passes without a guard."""
        try:
            if self._passes(scope):
                return None
            route = self._route_id(scope)
            if self._pool is not None:
                self._atrion.default_pool(route, self._pool)
            tier = self._tier_of(scope) if self._tiered else None
            key = None if self._key is None else self._key_of(scope)
            context: RequestContext | None = None
            if self._peers is None:
                call = self._atrion.flow(route, tier, key=key)
            else:
                address, reader = _address(scope), partial(header, scope)
                found, context = admit(self._atrion, self._peers, route, tier, key, address, reader)
                if isinstance(found, Decision):
                    return found
                call = found
            thread: LoopThread = self._loops.own or self._loops.mine()
            server = scope.get("server")
            port = server[1] if server else None
            call.behind(thread.arrive(port, self._waited(scope) if self._stamped else None))
            if not call.try_begin():
                return call.rejection()
            thread.admit()
            return Exchange(call, self._complain, route.endswith(UNMATCHED), context) if call.active else None
        except Exception:
            self._complain("a decision")
            return None

    def answered(self, scope: Scope) -> None:
        """A request that matched no route was answered below 400."""
        self._names.answered(scope)

    def _passes(self, scope: Scope) -> bool:
        """Whether the request is excluded, or a CORS preflight: a browser reports a shed one as a CORS error."""
        if self._exclude and excluded(self._names.path(scope), self._exclude):
            return True
        return scope.get("method") == "OPTIONS" and header(scope, "access-control-request-method") is not None

    def _tier_of(self, scope: Scope) -> Tier | None:
        """The request's tier; None means the route's."""
        try:
            said = None if self._tier is None else self._tier(scope)
            if said is not None:
                return Tier.parse(said)
        except Exception:
            self._complain("tier()")
        declared = header(scope, "x-atrion-tier") if self._trusting else None
        if declared is not None:
            try:
                return Tier.parse(declared.strip())
            except ConfigurationError:  # an invalid value from a client
                pass
        if self._tiers is None:
            return None
        return self._tiers.of(scope.get("method", "GET"), self._names.path(scope))

    def _key_of(self, scope: Scope) -> str | None:
        try:
            said = None if self._key is None else self._key(scope)
            return None if said is None else str(said)
        except Exception:
            self._complain("key()")
            return None

    def _waited(self, scope: Scope) -> float | None:
        """Seconds for which the request has waited before it arrived, if the proxy reports it."""
        stamp = header(scope, "x-request-start")
        return None if stamp is None else waited(stamp, time.time())

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
