"""What travels with a request: its tier, its place in the tier, its deadline and the number of the attempt.

A server's guard accepts it from trusted peers and sets it for its handler; clients' guards send it on to hosts of the
same system, and remove it towards all others. A hop may lower a tier and shorten a deadline, and never the contrary.
Deadlines travel as the milliseconds that remain, so no clocks are compared.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import quote, unquote

from atrion.errors import ConfigurationError
from atrion.physics.config import check_number
from atrion.physics.voltage import Tier, TierLike

__all__ = [
    "FIELDS",
    "GRPC_DEADLINE",
    "MAX_ATTEMPT",
    "NOTHING",
    "Header",
    "Peers",
    "RequestContext",
    "current",
    "on_use",
    "use",
]

DEADLINE: Final = "x-request-deadline"
"""Header with the milliseconds that remain."""
ENVOY_DEADLINE: Final = "x-envoy-expected-rq-timeout-ms"
GRPC_DEADLINE: Final = "grpc-timeout"
FIELDS: Final = ("baggage", DEADLINE, ENVOY_DEADLINE, GRPC_DEADLINE)
"""Headers that are read."""
LONGEST: Final = 8192
"""Bytes of baggage, as W3C bounds it; what is longer is not read."""
MAX_TIMEOUT: Final = 86_400.0
MAX_ATTEMPT: Final = 1000
_GRPC_TIMEOUT: Final = re.compile(r"(\d{1,8})([HMSmun])")
_GRPC_UNITS: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
Header = Callable[[str], str | None]
"""Gives the header of a name in lower case, or None."""


@dataclass(frozen=True, slots=True)
class RequestContext:
    """What is known of the request that is being served; nothing where a field is None.

    Attributes:
        tier: Its tier.
        place: Its place in the tier's band, in [0, 1): the same at every hop, so that all refuse the same requests.
        deadline: When its answer is worth nothing any more, in seconds of ``time.monotonic()``.
        attempt: How often it was tried before, 0 to 1000.
    """

    tier: Tier | None = None
    place: float | None = None
    deadline: float | None = None
    attempt: int = 0

    def remaining(self) -> float | None:
        """Seconds until the deadline, 0 where it has passed; None without one."""
        return None if self.deadline is None else max(self.deadline - time.monotonic(), 0.0)

    def narrowed(
        self,
        *,
        tier: TierLike | None = None,
        place: float | None = None,
        timeout: float | None = None,
        attempt: int | None = None,
    ) -> RequestContext:
        """The context with a lower tier, an earlier deadline (``timeout`` in seconds from now, ≥ 0), another attempt.

        A tier that is higher and a deadline that is later change nothing. A place is kept once there is one.

        Raises:
            ConfigurationError: a value is unusable.
        """
        parsed = self.tier if tier is None else Tier.parse(tier)
        if parsed is not None and self.tier is not None:
            parsed = min(parsed, self.tier)
        deadline = self.deadline
        if timeout is not None:
            check_number("timeout", timeout, 0.0)
            due = time.monotonic() + timeout
            deadline = due if deadline is None else min(deadline, due)
        if place is not None:
            check_number("place", place, 0.0, 1.0)
        if attempt is not None:
            check_number("attempt", attempt, 0, MAX_ATTEMPT)
        return RequestContext(
            parsed,
            place if self.place is None else self.place,
            deadline,
            self.attempt if attempt is None else int(attempt),
        )


NOTHING: Final = RequestContext()
"""The context of a request of which nothing is known."""
_current: Final[ContextVar[RequestContext]] = ContextVar("atrion_request", default=NOTHING)
_on_use: list[Callable[[], None]] = []


def on_use(heard: Callable[[], None]) -> None:
    """Call ``heard`` when a context is used for the first time in this process: before that, nobody needs to look."""
    _on_use.append(heard)


def current() -> RequestContext:
    """The context of the request that is being served here; an empty one outside of requests."""
    return _current.get()


@contextmanager
def use(
    context: RequestContext | None = None,
    *,
    tier: TierLike | None = None,
    place: float | None = None,
    timeout: float | None = None,
    attempt: int | None = None,
) -> Iterator[RequestContext]:
    """Within it, ``context``, or else the current one, narrowed as in :meth:`RequestContext.narrowed`.

    Raises:
        ConfigurationError: a value is unusable.
    """
    while _on_use:
        _on_use.pop()()
    base = _current.get() if context is None else context
    narrowed = base.narrowed(tier=tier, place=place, timeout=timeout, attempt=attempt)
    token = _current.set(narrowed)
    try:
        yield narrowed
    finally:
        _current.reset(token)


class Peers:
    """The services that belong together: whose context is accepted, and to which hosts it is sent on.

    A peer is trusted if any of ``networks``, ``secret`` and ``accept`` says so; with none of them, nobody is, as at the
    edge. A proxy within a network vouches for what passes it: it has to remove what strangers send.

    Args:
        networks: Networks of peers' addresses, such as ``10.0.0.0/8``.
        secret: Shared by the peers, at least 16 characters: tier and place are signed with it.
        accept: Gives whether a peer is trusted, from its address (None where unknown) and a function that gives headers
            by their names in lower case.
        hosts: Hosts that the context is sent to, such as ``payments`` or ``*.svc.cluster.local``.

    Raises:
        ConfigurationError: a value is unusable.
    """

    def __init__(
        self,
        *,
        networks: Iterable[str] = (),
        secret: str | None = None,
        accept: Callable[[str | None, Header], bool] | None = None,
        hosts: Iterable[str] = (),
    ) -> None:
        if isinstance(networks, str) or isinstance(hosts, str):
            field, value = ("networks", networks) if isinstance(networks, str) else ("hosts", hosts)
            raise ConfigurationError(field, value, "give a list of texts")
        self._networks: list[IPv4Network | IPv6Network] = []
        for network in networks:
            try:
                self._networks.append(ip_network(network))
            except ValueError as error:
                cure = "give a network such as 10.0.0.0/8"
                raise ConfigurationError("networks", network, cure) from error
        if secret is not None and len(secret) < 16:
            raise ConfigurationError("secret", "…", "give at least 16 characters")
        if accept is not None and not callable(accept):
            raise ConfigurationError("accept", accept, "give a function of an address and of headers")
        self._hosts: tuple[str, ...] = tuple(host.lower() for host in hosts)
        self._secret: bytes | None = None if secret is None else secret.encode()
        self._accept = accept

    # --- what comes in -------------------------------------------------------------------------------------

    def accepted(self, address: str | None, header: Header) -> RequestContext:
        """The context of a request from a peer at ``address``, without invalid values; empty if it is not trusted."""
        members = _members(header("baggage"))
        return self.read(header) if self._trusts(address, header, members) else NOTHING

    def read(self, header: Header) -> RequestContext:
        """The context that headers describe, from any sender; invalid values are left out."""
        members = _members(header("baggage"))
        return RequestContext(
            _tier(members.get("atrion.tier")),
            _number(members.get("atrion.place"), 1.0),
            _deadline(header),
            int(_number(members.get("atrion.attempt"), MAX_ATTEMPT) or 0),
        )

    def _trusts(self, address: str | None, header: Header, members: dict[str, str]) -> bool:
        if self._networks and address is not None:
            try:
                found = ip_address(address.partition("%")[0])
            except ValueError:  # a Unix socket has no address
                pass
            else:
                mapped = getattr(found, "ipv4_mapped", None) or found
                if any(mapped in network for network in self._networks):
                    return True
        if self._secret is not None:
            said = members.get("atrion.mac", "")
            if hmac.compare_digest(said.encode(), self._mac(members).encode()):
                return True
        return self._accept is not None and bool(self._accept(address, header))

    def _mac(self, members: dict[str, str]) -> str:
        signed = "\n".join(members.get(f"atrion.{name}", "") for name in ("tier", "place"))
        return hmac.new(self._secret or b"", signed.encode(), hashlib.sha256).hexdigest()[:32]

    # --- what goes out -------------------------------------------------------------------------------------

    def knows(self, host: str) -> bool:
        """Whether a host, without its port, belongs to the system."""
        return any(fnmatchcase(host.lower(), pattern) for pattern in self._hosts)

    def headers(self, host: str, baggage: str | None = None) -> dict[str, str | None]:
        """Headers to set on a request to ``host``, whose ``baggage`` is so far as given; None removes one."""
        kept = [member for member in (baggage or "").split(",") if member.strip() and not _is_ours(member)]
        if not self.knows(host):
            return {"baggage": ",".join(kept) or None, DEADLINE: None, "x-atrion-tier": None}
        return self.carried(kept)

    def carried(self, kept: Iterable[str] = ()) -> dict[str, str | None]:
        """Headers with the current context, for peers; ``kept`` are other members of the baggage."""
        context = _current.get()
        ours: dict[str, str] = {}
        if context.tier is not None:
            ours["atrion.tier"] = context.tier.name.lower()
        if context.place is not None:
            ours["atrion.place"] = f"{math.floor(context.place * 1e6) / 1e6:.6f}"
        if self._secret is not None and ours:
            ours["atrion.mac"] = self._mac(ours)
        if context.attempt:
            ours["atrion.attempt"] = str(context.attempt)
        members = [*kept, *(f"{name}={quote(value)}" for name, value in ours.items())]
        remaining = context.remaining()
        return {
            "baggage": ",".join(members) or None,
            DEADLINE: None if remaining is None else str(int(remaining * 1000)),
        }


def _is_ours(member: str) -> bool:
    return member.partition("=")[0].strip().startswith("atrion.")


def _members(baggage: str | None) -> dict[str, str]:
    """Our members of a W3C baggage."""
    found = {}
    if baggage is not None and len(baggage) <= LONGEST:
        for member in baggage.split(","):
            name, _, value = member.partition(";")[0].partition("=")
            if _is_ours(member):
                found[name.strip()] = unquote(value.strip())
    return found


def _tier(text: str | None) -> Tier | None:
    try:
        return None if text is None else Tier.parse(text)
    except ConfigurationError:
        return None


def _number(text: str | None, below: float) -> float | None:
    """A number in [0, below), or None."""
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if 0.0 <= number < below else None


def _deadline(header: Header) -> float | None:
    """The earliest of the deadlines that a request brings."""
    timeouts = []
    for name in (DEADLINE, ENVOY_DEADLINE):
        milliseconds = _number(header(name), MAX_TIMEOUT * 1e3)
        if milliseconds is not None:
            timeouts.append(milliseconds / 1e3)
    match = _GRPC_TIMEOUT.fullmatch((header(GRPC_DEADLINE) or "").strip())
    if match is not None:
        timeouts.append(int(match[1]) * _GRPC_UNITS[match[2]])
    return time.monotonic() + min(timeouts) if timeouts else None
