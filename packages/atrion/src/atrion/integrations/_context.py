"""Requests of peers: admitted by what they bring, and refused where their deadline cannot be met."""

from __future__ import annotations

from typing import Final
from weakref import WeakKeyDictionary

from atrion.control.base import Key
from atrion.control.call import Call
from atrion.control.decision import Decision, Reason
from atrion.engine import Atrion
from atrion.errors import ConfigurationError
from atrion.physics.voltage import Tier, band, level_at
from atrion.propagation import Header, Peers, RequestContext

__all__ = ["admit", "check_peers", "too_late"]

PROBE: Final = 1.0
"""Seconds after which a route whose answers come too late is tried again: how long they take may have changed."""
_tried: WeakKeyDictionary[Atrion, dict[str, float]] = WeakKeyDictionary()


def check_peers(peers: object) -> None:
    """Refuse what are no peers.

    Raises:
        ConfigurationError: it is neither :class:`Peers` nor None.
    """
    if peers is not None and not isinstance(peers, Peers):
        raise ConfigurationError("peers", peers, "give atrion.propagation.Peers, or None")


def admit(
    atrion: Atrion,
    peers: Peers,
    name: str,
    tier: Tier | None,
    key: Key | None,
    address: str | None,
    header: Header,
) -> tuple[Call | Decision, RequestContext]:
    """The call of a request that came from ``address``, and its context; or the decision that refuses it.

    ``tier`` is what is said here; what the peer says may only lower it.
    """
    context = peers.accepted(address, header)
    if context.tier is not None:
        tier = context.tier if tier is None else min(tier, context.tier)
    late = too_late(atrion, name, tier, context)
    if late is not None:
        return late, context
    place = atrion.place(name, key) if context.place is None else context.place
    if tier is None:
        tier = Tier(level_at(atrion.find(name).settings.start))
    call = atrion.flow(name, tier, place=place)
    return call, RequestContext(tier, place, context.deadline, context.attempt)


def too_late(atrion: Atrion, name: str, tier: Tier | None, context: RequestContext) -> Decision | None:
    """The decision that refuses what cannot be answered before its deadline, as far as the route's usual time tells."""
    remaining = context.remaining()
    if remaining is None or atrion.disabled:
        return None
    route = atrion.find(name)
    if remaining > route.membership.latency or not route.settings.enforce:
        return None
    now = atrion.now()
    tried = _tried.setdefault(atrion, {})
    if remaining > 0.0 and not 0.0 <= now - tried.get(name, now - PROBE) < PROBE:
        tried[name] = now
        return None
    volts = route.settings.start if tier is None else band(int(tier))
    route.refuse(volts, Reason.DEADLINE)
    return Decision(False, route.id, route.resistance(), volts, route.mode, Reason.DEADLINE, 0.0)
