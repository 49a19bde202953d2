"""Swarms: workers that share one budget, such as the agents of one task."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from atrion.control.base import Key
from atrion.control.budget import MEMBERS, SECONDS, Budget
from atrion.control.lease import SwarmRecord
from atrion.control.profiles import ProfileLike
from atrion.errors import AtrionError
from atrion.physics.voltage import TierLike
from atrion.workload.lease import Lease, amounts_from
from atrion.workload.manager import LeaseManager

__all__ = ["Swarm"]


class Swarm:
    """Members that share a budget: :meth:`atrion.Atrion.swarm` makes one, for ``with`` or ``async with``.

    From the soft budget on, members of the lowest tiers are refused and asked to stop first; when a resource is used
    up, all are cancelled.
    """

    def __init__(
        self,
        manager: LeaseManager,
        clock: Callable[[], float],
        route_id: str,
        limits: dict[str, float],
        soft: float,
        make: Callable[..., Lease],
    ) -> None:
        self._manager = manager
        self._clock = clock
        self._route = route_id
        self._limits = {name: limit for name, limit in limits.items() if name != MEMBERS}
        self._most = limits.get(MEMBERS, math.inf)
        self._soft = soft
        self._make = make
        self._record: SwarmRecord | None = None

    @property
    def route(self) -> str:
        """The id of the members' route."""
        return self._route

    @property
    def members(self) -> int:
        """Members that are held now."""
        return 0 if self._record is None else len(self._record.members)

    @property
    def used(self) -> dict[str, float]:
        """What the members have used so far, by resource, ``seconds`` since the beginning among them."""
        record = self._record
        if record is None:
            return {}
        return {SECONDS: record.budget.elapsed(self._clock()), **record.budget.used}

    def left(self, resource: str) -> float:
        """What is left of a resource, ≥ 0; ∞ if the budget does not limit it."""
        if resource == MEMBERS:
            return max(self._most - self.members, 0.0)
        return max(self._limits.get(resource, math.inf) - self.used.get(resource, 0.0), 0.0)

    def member(
        self,
        tier: TierLike | None = None,
        *,
        key: Key | None = None,
        place: float | None = None,
        profile: ProfileLike | None = None,
        budget: Mapping[str, float] | None = None,
        soft: float = 0.8,
        interruptible: bool = False,
    ) -> Lease:
        """A lease of one member, for ``with`` or ``async with``; what it uses counts against the common budget, too.

        Entering raises :class:`~atrion.FlowRejected` if the route sheds it, if the swarm has as many members as it may,
        or if the tier is too low for what is left of the budget.

        Args:
            tier: The tier of the member; None takes that of the request being served, else the route's own.
            key: As in :meth:`atrion.Atrion.lease`, like the following ones.
            place: A place in the tier's band.
            profile: What is expected of this member.
            budget: Limits of its own.
            soft: Share of its own limits from which it raises resistance.
            interruptible: Whether it may be cancelled if it does not stop when asked to.

        Raises:
            AtrionError: the swarm was not entered, or has ended.
            ConfigurationError: a value is unusable.
        """
        record = self._record
        if record is None or record.closed:
            raise AtrionError("only a swarm that was entered has members: use it with `with` or `async with`")
        return self._make(
            self._route,
            tier,
            key=key,
            place=place,
            profile=profile,
            budget=budget,
            soft=soft,
            interruptible=interruptible,
        ).within(record)

    def spend(self, **used: float) -> None:
        """Count what was used for no member in particular: ``swarm.spend(tokens=100)``.

        Raises:
            ConfigurationError: a value is unusable.
        """
        amounts = amounts_from(used)
        if self._record is not None:
            self._manager.spend(self._record, amounts, self._clock())

    def __enter__(self) -> Self:
        if self._record is not None:
            raise AtrionError("a swarm can be entered only once: get a new one from atrion.swarm(...)")
        self._record = SwarmRecord(Budget(self._limits, self._soft, self._clock()), self._most)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._record is not None:
            self._record.closed = True

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def __repr__(self) -> str:
        return f"<Swarm {self._route}: {self.members} members>"
