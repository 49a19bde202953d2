"""What guards of servers share: their options, the decision about one request, and whose fault its outcome is."""

from __future__ import annotations

import logging
import re
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from typing import Generic, Protocol, Self, TypedDict, TypeVar

from atrion.control.base import Key
from atrion.control.call import Call
from atrion.control.decision import Decision
from atrion.control.outcome import Rejections, outcome_of, rejection_in, stems_from_rejection
from atrion.control.process import Process
from atrion.engine import MAX_ROUTE_ID, Atrion, check_name
from atrion.errors import ConfigurationError, FlowRejected
from atrion.integrations._arrivals import waited
from atrion.integrations._context import admit, check_peers
from atrion.integrations._load_reports import ASKING, LoadReports
from atrion.integrations._names import UNMATCHED
from atrion.integrations._options import check_flag, check_function, excluded, prefixes
from atrion.integrations._process import Loops
from atrion.integrations._tiers import PathTiers, declared_tier
from atrion.physics.voltage import Tier, TierLike
from atrion.propagation import Peers, RequestContext, use
from atrion.sensing.telemetry import Outcome

__all__ = ["Admission", "Admitted", "Arrive", "Options", "braced"]

R = TypeVar("R")
_VARIABLE = re.compile(r"<(?:[^<>:]*:)?([^<>]+)>")


class Options(TypedDict, Generic[R], total=False):
    """What every guard of a server takes; ``R`` is what the framework calls a request.

    ``tier``: gives a request's tier; None or an exception leaves it to the header, to ``tiers``, to the handler's
    :func:`tier` decorator, then to the route. ``tiers``: tiers by path, such as ``{"/checkout/*": "critical"}``.
    ``key``: gives a request's stable key (a user or session). ``pool``: the bottleneck that all routes share.
    ``route``: gives a route id of bounded variety; None means the framework's own name. ``exclude``: path prefixes, by
    whole segments, never shed nor measured. ``trust_tier_header``: take the tier from ``X-Atrion-Tier``; only behind a
    gateway that sets or strips it. ``trust_request_start``: let ``X-Request-Start`` say how long a request has waited.
    ``peers``: the services whose tier, place and deadline are accepted; the request's context is then set for its
    handler. ``load_reports``: tell load balancers how loaded this process is, in responses to requests that ask for it
    (and in every reply of gRPC).
    """

    tier: Callable[[R], TierLike | None] | None
    tiers: Mapping[str, TierLike] | None
    key: Callable[[R], Key | None] | None
    pool: str | None
    route: Callable[[R], str | None] | None
    exclude: Iterable[str]
    trust_tier_header: bool
    trust_request_start: bool
    peers: Peers | None
    load_reports: bool


class Arrive(Protocol):
    """Tells the process's queue of a request that waited for so many seconds, where known, before it came here."""

    def __call__(self, wait: float | None, /) -> Process: ...


def braced(template: str) -> str:
    """A template of Werkzeug's or Django's, such as ``/items/<int:id>``, as others write it: ``/items/{id}``."""
    return _VARIABLE.sub(r"{\1}", template)


class Admission(ABC, Generic[R]):
    """Decides about the requests of one application. A subclass for each framework reads its requests.

    Errors in here or in the caller's functions are logged once per kind, and the request goes on without a guard.

    Raises:
        ConfigurationError: an option is unusable.
    """

    def __init__(
        self,
        atrion: Atrion,
        *,
        tier: Callable[[R], TierLike | None] | None = None,
        tiers: Mapping[str, TierLike] | None = None,
        key: Callable[[R], Key | None] | None = None,
        pool: str | None = None,
        route: Callable[[R], str | None] | None = None,
        exclude: Iterable[str] = (),
        trust_tier_header: bool = False,
        trust_request_start: bool = False,
        peers: Peers | None = None,
        load_reports: bool = False,
    ) -> None:
        if not callable(getattr(atrion, "flow", None)):
            raise ConfigurationError("atrion", atrion, "give an Atrion")
        check_peers(peers)
        check_function("tier", tier, "a tier")
        check_function("key", key, "a key")
        check_function("route", route, "a route id")
        check_flag("trust_tier_header", trust_tier_header)
        check_flag("trust_request_start", trust_request_start)
        check_flag("load_reports", load_reports)
        if pool is not None:
            check_name("pool", pool)
        self.atrion: Atrion = atrion
        self.logger: logging.Logger = logging.getLogger(
            type(self).__module__.replace("atrion.integrations", "atrion")
        )
        self._tier = tier
        self._tiers = None if tiers is None else PathTiers(tiers)
        self._key = key
        self._pool = pool
        self._route = route
        self._exclude = prefixes(exclude)
        self._trusts_tier = trust_tier_header
        self._trusts_start = trust_request_start
        self._peers = peers
        self._loops = Loops()
        self._complained: set[str] = set()
        self.reports: LoadReports | None = None
        """What tells load balancers of the load, if it is wanted."""
        if load_reports and not getattr(atrion, "disabled", False):
            self.reports = LoadReports(atrion, self.complain)

    # --- how a request of the framework is read ------------------------------------------------------------

    @abstractmethod
    def method(self, request: R) -> str:
        """The request's method, in upper case."""

    @abstractmethod
    def path(self, request: R) -> str:
        """The path that a client sends, below the prefix of the server."""

    @abstractmethod
    def header(self, request: R, name: str) -> str | None:
        """The header of a name in lower case, or None."""

    def address(self, request: R) -> str | None:
        """The address of the peer, where it is known."""
        return None

    @abstractmethod
    def find(self, request: R) -> tuple[str, object]:
        """The name of the route that serves the request, and its handler where that is known."""

    # --- the decision --------------------------------------------------------------------------------------

    def begin(self, request: R, arrive: Arrive | None = None) -> Admitted | Decision | None:
        """The request in flight, or the decision that sheds it; None where it goes on without a guard."""
        try:
            if self.atrion.disabled or self._passes(request):
                return None
            name, handler = self._name(request)
            if self._pool is not None:
                self.atrion.default_pool(name, self._pool)
            tier, key = self._tier_of(request, handler), self._key_of(request)
            context: RequestContext | None = None
            if self._peers is None:
                call = self.atrion.flow(name, tier, key=key)
            else:
                address, header = self.address(request), partial(self.header, request)
                found, context = admit(self.atrion, self._peers, name, tier, key, address, header)
                if isinstance(found, Decision):
                    return found
                call = found
            if arrive is not None:
                call.behind(arrive(self._waited(request)))
            decision = call.decide()
            if not decision.allowed:
                return decision
            return Admitted(call, self.complain, context) if call.active else None
        except Exception:
            self.complain("a decision")
            return None

    def begin_on_loop(self, request: R, port: object = None) -> Admitted | Decision | None:
        """As :meth:`begin`, for a request that came to the server's ``port`` and waits for this thread's event loop."""
        thread = self._loops.mine()
        verdict = self.begin(request, lambda wait: thread.arrive(port, wait))
        if isinstance(verdict, Admitted):
            thread.admit()
        return verdict

    def load_report(self, request: R) -> str | None:
        """The value of the response header that reports the load; None if the request does not ask for it."""
        reports = self.reports
        wanted = None if reports is None else self.header(request, ASKING)
        return None if wanted is None or reports is None else reports.header(wanted)

    def complain(self, what: str) -> None:
        """Log the exception being handled, once per kind: an error at every request must not flood the log."""
        if what not in self._complained:
            self._complained.add(what)
            text = "atrion: %s failed and the request goes on without it"
            self.logger.warning(text, what, exc_info=True)  # noqa: LOG014  # the exception is being handled

    def _passes(self, request: R) -> bool:
        """Whether it is excluded, or a CORS preflight: a browser reports a shed one as a CORS error."""
        if self._exclude and excluded(self.path(request), self._exclude):
            return True
        return (
            self.method(request) == "OPTIONS"
            and self.header(request, "access-control-request-method") is not None
        )

    def _name(self, request: R) -> tuple[str, object]:
        try:
            name, handler = self.find(request)
        except Exception:  # an invalid request must not bypass the guard
            self.complain("finding the route")
            name, handler = UNMATCHED, None
        if self._route is not None:
            try:
                said = self._route(request)
                if isinstance(said, str) and said:
                    name = said
            except Exception:
                self.complain("route()")
        return name[:MAX_ROUTE_ID], handler

    def _tier_of(self, request: R, handler: object) -> Tier | None:
        """The request's tier; None leaves it to the route."""
        try:
            said = None if self._tier is None else self._tier(request)
            if said is not None:
                return Tier.parse(said)
        except Exception:
            self.complain("tier()")
        header = self.header(request, "x-atrion-tier") if self._trusts_tier else None
        if header is not None:
            try:
                return Tier.parse(header.strip())
            except ConfigurationError:  # an invalid value from a client
                pass
        if self._tiers is not None:
            found = self._tiers.of(self.method(request), self.path(request))
            if found is not None:
                return found
        return declared_tier(handler)

    def _key_of(self, request: R) -> str | None:
        try:
            said = None if self._key is None else self._key(request)
            return None if said is None else str(said)
        except Exception:
            self.complain("key()")
            return None

    def _waited(self, request: R) -> float | None:
        """Seconds for which the request has waited before it came here, if the proxy says so."""
        stamp = self.header(request, "x-request-start") if self._trusts_start else None
        return None if stamp is None else waited(stamp, time.time())


class Admitted:
    """A request in flight. ``with`` it, its handler runs; it ends with :meth:`end`, in whatever context."""

    __slots__ = ("_call", "_complain", "_context", "_rejections", "_used", "rejected", "status")

    def __init__(
        self, call: Call, complain: Callable[[str], None], context: RequestContext | None = None
    ) -> None:
        self._context = context
        self._used: AbstractContextManager[RequestContext] | None = None
        self._call = call
        self._complain = complain
        self._rejections = Rejections()
        self.status: int = 0
        self.rejected: bool = False
        """The response was made from a rejection by an error handler."""

    def __enter__(self) -> Self:
        """The handler begins."""
        self._rejections.enter()
        self._call.enclose()
        if self._context is not None:
            self._used = use(self._context)
            self._used.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        """It has returned; the answer may still be on its way."""
        if self._used is not None:
            with suppress(ValueError):  # a generator that is closed in another context
                self._used.__exit__(None, None, None)
        self._rejections.leave()
        self._call.suspend()

    def within(self) -> AbstractContextManager[object]:
        """Around each part of a body that is made after the handler has returned: it has the request's context."""
        return nullcontext() if self._context is None else use(self._context)

    def answer(self, status: int) -> None:
        """The answer has this status."""
        self.status = status
        self.rejected = stems_from_rejection(sys.exception()) or (status == 503 and self._rejections.seen)

    def stream(self) -> None:
        """The answer begins: latency ends here, while it is in flight until :meth:`end`."""
        try:
            if 0 < self.status < 400:
                self._call.answer()
        except Exception:
            self._complain("a measurement")

    def rejection(self, error: BaseException) -> FlowRejected | None:
        """The rejection that ``error`` is, by a guard further in; the request is then answered as a shed one is."""
        found = rejection_in(error)
        self.rejected = self.rejected or found is not None
        return found

    def end(self, error: BaseException | None = None, *, left: bool = False) -> None:
        """The request has ended, by ``error`` if any, or as its client has ``left``; only the first end counts."""
        call = self._call
        try:
            if call.active:
                if self.rejected or rejection_in(error) is not None:
                    call.ignore()
                elif self.status >= 500:
                    call.fail()
                elif left or self.status >= 400:
                    call.ignore()
                elif error is not None:
                    if outcome_of(error) == Outcome.FAILURE:
                        call.fail()
                    else:  # cancelled, the caller's fault, or the process is leaving
                        call.ignore()
                call.finish()
        except Exception:
            self._complain("a measurement")
