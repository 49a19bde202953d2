"""What guards of clients share: the call of a dependency, whose fault its outcome is, and what it asks for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Final, TypedDict
from weakref import WeakKeyDictionary

from atrion.control.base import Key
from atrion.control.call import Call
from atrion.control.decision import Decision, Reason
from atrion.control.process import NOT_CRITICAL, Process
from atrion.engine import MAX_ROUTE_ID, Atrion
from atrion.errors import ConfigurationError, FlowRejected
from atrion.integrations._budget import requested
from atrion.integrations._context import too_late
from atrion.integrations._proxy_status import is_broken
from atrion.integrations._retry_after import LONGEST_HOLD, seconds_of
from atrion.physics.modes import Mode
from atrion.physics.voltage import Tier, TierLike, level_of
from atrion.propagation import Peers, RequestContext, current

__all__ = ["ClientOptions", "Clients", "Hold", "Sent", "holds", "patience", "until_answered"]

logger: logging.Logger = logging.getLogger("atrion.clients")

LEAST_PATIENCE: Final = 0.001
"""Seconds that a client waits at least: many refuse a timeout of 0."""
OVERLOADED: Final = frozenset({429, 503})


class ClientOptions(TypedDict, total=False):
    """What every guard of a client takes.

    ``dependency``: the name of what is called; None goes by host. ``tier``: the tier of calls; None takes that of the
    request being served, else the route's own. ``key``: gives the caller's stable key, without arguments. ``peers``:
    the services to which the request's context is sent on. ``exclude``: hosts, or patterns such as ``*.example``, that
    are neither shed nor measured.
    """

    dependency: str | None
    tier: TierLike | None
    key: Callable[[], Key | None] | None
    peers: Peers | None
    exclude: Iterable[str]


def patience() -> float | None:
    """Seconds above 0 for which a client may wait within the request being served; None without a deadline."""
    remaining = current().remaining()
    return None if remaining is None else max(remaining, LEAST_PATIENCE)


class Hold:
    """A dependency asked to be left alone: until then, calls of its route have so many ohms more against them."""

    def __init__(self) -> None:
        self.process = Process()
        self._ohms = 0.0

    @property
    def until(self) -> float:
        """When it ends."""
        return self.process.until

    def extend(self, seconds: float, now: float, ohms: float = NOT_CRITICAL) -> None:
        """Leave it alone for so many seconds from now on; by default, all but critical calls do."""
        self._ohms = ohms if now >= self.until else max(ohms, self._ohms)
        self.process.until = max(self.until, now + seconds)
        self.press(now)

    def press(self, now: float) -> None:
        """Set the resistance of this time: ``process`` has it for the route."""
        self.process.ohms = self._ohms if now < self.until else 0.0

    def left(self, volts: float, now: float) -> float:
        """Seconds until a call of ``volts`` may pass again, as far as is known."""
        return max(self.until - now, 0.0)


class Clients:
    """Decides about the calls of one client. Nothing of Atrion's but :class:`FlowRejected` gets into them.

    Raises:
        ConfigurationError: an option is unusable.
    """

    def __init__(
        self,
        atrion: Atrion,
        *,
        dependency: str | None = None,
        tier: TierLike | None = None,
        key: Callable[[], Key | None] | None = None,
        peers: Peers | None = None,
        exclude: Iterable[str] = (),
    ) -> None:
        if not callable(getattr(atrion, "flow", None)):
            raise ConfigurationError("atrion", atrion, "give an Atrion")
        if dependency is not None:
            atrion.find(dependency)
        if tier is not None:
            level_of(tier)
        if key is not None and not callable(key):
            raise ConfigurationError("key", key, "give a function without arguments, or None")
        if isinstance(exclude, (str, bytes)):
            raise ConfigurationError("exclude", exclude, 'give a list of hosts, such as ["localhost"]')
        self.atrion: Atrion = atrion
        self._dependency = dependency
        self._tier = tier
        self._key = key
        self.peers: Peers | None = peers
        self._exclude = tuple(exclude)
        self._complained = False

    def begin(
        self, host: str, port: int | None = None, *, name: str | None = None, cost: float | None = None
    ) -> Sent | None:
        """Begin a call of ``host``; None where it is excluded. ``port`` is None where it is the scheme's own.

        The route is the dependency's name, else ``name``, else the host and port. A ``cost`` is that of the call.

        Raises:
            FlowRejected: it was shed, or cannot be answered before the deadline of the request being served.
        """
        if self.excluded(host):
            return None
        name = self.name_of(host, port, name)
        context = current()
        tier = self.tier_of(context)
        late = too_late(self.atrion, name, tier, context)
        if late is not None:
            raise FlowRejected(late)
        place = context.place if self._key is None else None
        call = self.atrion.flow(name, tier, key=self._key_of(), place=place, cost=cost)
        hold = holds(self.atrion).get(name)
        if hold is not None:
            call.behind(hold.process)
            hold.press(self.atrion.now())
        if not call.try_begin():
            raise FlowRejected(_waiting(call.rejection(), hold, self.atrion.now()))
        requested(name)
        if not call.active:
            return None
        peers = self.peers
        peer = place is not None and peers is not None and (not host or peers.knows(host))
        return Sent(call, self.atrion, name, peer)

    def excluded(self, host: str) -> bool:
        """Whether calls of ``host`` are neither shed nor measured."""
        return self.atrion.disabled or any(fnmatchcase(host, pattern) for pattern in self._exclude)

    def name_of(self, host: str, port: int | None, name: str | None = None) -> str:
        """The route of calls, as :meth:`begin` has it."""
        return (self._dependency or name or (host if port is None else f"{host}:{port}"))[:MAX_ROUTE_ID]

    def tier_of(self, context: RequestContext) -> Tier | None:
        """The tier of a call within a request; None for the route's own."""
        return context.tier if self._tier is None else Tier.parse(self._tier)

    def _key_of(self) -> Key | None:
        try:
            return None if self._key is None else self._key()
        except Exception:
            if not self._complained:
                self._complained = True
                logger.warning("atrion: key() failed and calls go on without it", exc_info=True)
            return None


_all_holds: WeakKeyDictionary[Atrion, dict[str, Hold]] = WeakKeyDictionary()


def holds(atrion: Atrion) -> dict[str, Hold]:
    """What dependencies asked for, by name: shared by all clients of an engine."""
    found = _all_holds.get(atrion)
    return _all_holds.setdefault(atrion, {}) if found is None else found


def _waiting(decision: Decision, hold: Hold | None, now: float) -> Decision:
    """A rejection that says how long a dependency asked to be left alone."""
    left = 0.0 if hold is None else hold.left(decision.voltage, now)
    if decision.retry_after >= left:
        return decision
    mode = int(Mode(decision.mode))
    return Decision(
        False, decision.route, decision.resistance, decision.voltage, mode, Reason.SATURATED, left
    )


@contextmanager
def until_answered(sent: Sent | None, ignore: tuple[type[BaseException], ...] = ()) -> Iterator[None]:
    """End a call, unless it is excluded, with what is raised inside; errors in ``ignore`` are the caller's fault."""
    try:
        yield
    except BaseException as error:
        if sent is not None:
            sent.end(error, ignore)
        raise


class Sent:
    """A call of a dependency, in flight until :meth:`end`; only the first end counts.

    The dependency may be a ``peer`` that decides by the same tier and place.
    """

    __slots__ = ("_atrion", "_call", "_name", "_peer")

    def __init__(self, call: Call, atrion: Atrion, name: str, peer: bool = False) -> None:
        self._peer = peer
        self._call = call
        self._atrion = atrion
        self._name = name

    def answered(self, status: int, retry_after: str | None = None, proxy_status: str | None = None) -> None:
        """The head of an HTTP answer came: latency ends here.

        5xx are failures, 4xx the caller's fault; 429 and 503 with ``Retry-After`` raise the resistance for that long,
        but a ``Proxy-Status`` that says that something further on does not answer makes them failures.
        """
        seconds = seconds_of(retry_after) if status in OVERLOADED else None
        if seconds is not None and not is_broken(proxy_status):
            self.held(seconds)
        elif status >= 500:
            self._call.fail()
        elif status >= 400:
            self._call.ignore()
        else:
            self.began()

    def began(self) -> None:
        """The first of a stream's messages came: latency ends here."""
        self._call.answer()

    def report(self, cost: float) -> None:
        """What the call really cost."""
        self._call.report(cost=cost)

    def held(self, seconds: float) -> None:
        """The dependency is overloaded, and asks to be left alone for so many seconds."""
        seconds = min(seconds, LONGEST_HOLD)
        ohms = NOT_CRITICAL
        if self._peer:  # it decides by the same voltage: what is above that of this call may pass it
            base = self._atrion.find(self._name).settings.constants.base
            ohms = min(max(self._call.voltage - base, 0.0), ohms)
        hold = holds(self._atrion).setdefault(self._name, Hold())
        hold.extend(seconds, self._call.now(), ohms)
        self._call.behind(hold.process)  # a router may ask before the next call begins
        self._call.ignore()

    def fail(self) -> None:
        """A failure that raises nothing."""
        self._call.fail()

    def ignore(self) -> None:
        """The caller's own fault."""
        self._call.ignore()

    def end(self, error: BaseException | None = None, ignore: tuple[type[BaseException], ...] = ()) -> None:
        """The call has ended, by ``error`` if any; classes of errors in ``ignore`` are the caller's fault."""
        self._call.finish_with(error, ignore)
