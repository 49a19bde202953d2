"""Read-only snapshots of leases."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from atrion._plain import Plain
from atrion.control.budget import SECONDS
from atrion.control.lease import CANCEL, LeaseRecord
from atrion.physics.voltage import Tier, level_at

__all__ = ["LeaseSnapshot", "used_by", "view_of"]


@dataclass(frozen=True)
class LeaseSnapshot(Plain):
    """A read-only view of a held lease at one instant.

    Attributes:
        route: The route's id.
        tier: The tier with which it was admitted.
        profile: The name of its profile.
        used: What it has used so far, by resource, ``seconds`` among them.
        budget: Its limits, by resource.
        load: The largest share that was used of one of them; 0 without limits.
        progress: Share of the work that is done, in [0, 1]; None if it was never told.
        silent: Seconds since the last heartbeat.
        asked: Why it was asked to stop, or cancelled: ``budget``, ``swarm`` or ``culprit``; None if it was not.
        cancelled: Whether it was cancelled.
    """

    route: str
    tier: Tier
    profile: str
    used: dict[str, float] = field(hash=False)
    budget: dict[str, float] = field(hash=False)
    load: float
    progress: float | None
    silent: float
    asked: str | None
    cancelled: bool


def used_by(lease: LeaseRecord, now: float) -> dict[str, float]:
    """What a lease has used so far, by resource, ``seconds`` among them."""
    return {SECONDS: lease.budget.elapsed(now), **lease.budget.used}


def view_of(lease: LeaseRecord, now: float) -> LeaseSnapshot:
    """A snapshot of ``lease``."""
    load = lease.budget.load(now)
    return LeaseSnapshot(
        route=lease.route.id,
        tier=Tier(level_at(lease.volts)),
        profile=lease.profile.name,
        used=used_by(lease, now),
        budget={name: limit for name, limit in lease.budget.limits.items() if limit < math.inf},
        load=load,
        progress=lease.progress if lease.progress >= 0.0 else None,
        silent=max(lease.budget.elapsed(now) - lease.heard, 0.0),
        asked=lease.reason or None,
        cancelled=lease.told == CANCEL,
    )
