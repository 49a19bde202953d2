"""What a licence means at a moment: pure, with ``now`` given."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from typing import Any, Final

from atrion_cluster.licence.key import LicenseKey, LicenseTier

__all__ = ["GRACE_DAYS", "NOTICE_DAYS", "LicenseState", "LicenseStatus", "status_of"]

DAY: Final = 86_400.0
NOTICE_DAYS: Final = 30
"""Days before the end from which on it is announced."""
GRACE_DAYS: Final = 30
"""Days after the end during which nothing changes."""


class LicenseState(StrEnum):
    """How a licence stands. Guarded calls and sharing go on in all of them."""

    EVALUATION = "evaluation"
    """There is no key."""
    NOT_YET_VALID = "not-yet-valid"
    """Its first day is still to come; providers refuse it when they are constructed."""
    ACTIVE = "active"
    EXPIRING = "expiring"
    """It ends within 30 days."""
    GRACE = "grace"
    """It ended less than 30 days ago."""
    LAPSED = "lapsed"
    """It ended longer ago: Studio is read-only, and new namespaces are not created."""
    REVOKED = "revoked"
    """The vendor withdrew it; as lapsed."""


@dataclass(frozen=True, slots=True)
class LicenseStatus:
    """A licence at a moment, for people, dashboards and metrics; it does not hold the key.

    Attributes:
        state: How it stands.
        sentence: The same in one plain sentence.
        customer: Whose it is; None without a key, as are the next four.
        tier: Its tier.
        limit: Clusters it covers; None is unlimited.
        expires: Its last day.
        ends_at: When that ends; seconds since 1970.
        clusters: Namespaces in use in the same store; None where they were not counted.
    """

    state: LicenseState
    sentence: str
    customer: str | None = None
    tier: LicenseTier | None = None
    limit: int | None = None
    expires: date | None = None
    ends_at: float | None = None
    clusters: int | None = None

    @property
    def over_limit(self) -> bool:
        """Whether more clusters share the store than the licence covers."""
        return self.limit is not None and self.clusters is not None and self.clusters > self.limit

    @property
    def read_only(self) -> bool:
        """Whether Studio is read-only and new namespaces are not created."""
        return self.state in {LicenseState.LAPSED, LicenseState.REVOKED}

    def as_dict(self) -> dict[str, Any]:
        """The status as data that ``json.dumps`` takes."""
        return {
            "state": self.state.value,
            "sentence": self.sentence,
            "customer": self.customer,
            "tier": self.tier,
            "limit": self.limit,
            "expires": None if self.expires is None else self.expires.isoformat(),
            "clusters": self.clusters,
            "over_limit": self.over_limit,
            "read_only": self.read_only,
        }


def status_of(
    license: LicenseKey | None, now: float, clusters: int | None = None, revoked: frozenset[str] = frozenset()
) -> LicenseStatus:
    """The status at ``now`` (seconds since 1970) with ``clusters`` namespaces in the store."""
    if license is None:
        text = "Evaluation without a licence key: everything works; production use needs a licence."
        return LicenseStatus(LicenseState.EVALUATION, text, clusters=clusters)
    state = _state(license, now, revoked)
    status = LicenseStatus(
        state,
        _sentence(license, state, now),
        license.customer,
        license.tier,
        license.cluster_limit,
        license.expires,
        license.ends_at,
        clusters,
    )
    if not status.over_limit:
        return status
    more = f" {clusters} clusters share this store, and the licence covers {license.cluster_limit}."
    return replace(status, sentence=status.sentence + more)


def _state(license: LicenseKey, now: float, revoked: frozenset[str]) -> LicenseState:
    if license.id in revoked:
        return LicenseState.REVOKED
    if now < license.starts_at:
        return LicenseState.NOT_YET_VALID
    left = license.ends_at - now
    if left > NOTICE_DAYS * DAY:
        return LicenseState.ACTIVE
    if left > 0.0:
        return LicenseState.EXPIRING
    return LicenseState.GRACE if left > -GRACE_DAYS * DAY else LicenseState.LAPSED


def _sentence(license: LicenseKey, state: LicenseState, now: float) -> str:
    whose = f"The {license.tier} licence of {license.customer}"
    if state is LicenseState.REVOKED:
        return f"{whose} was revoked by the vendor: sharing goes on, Studio is read-only, no new namespaces."
    if state is LicenseState.NOT_YET_VALID:
        return f"{whose} is not valid before {license.not_before}."
    if state is LicenseState.ACTIVE:
        return f"{whose} is valid until {license.expires}."
    days = _days(abs(license.ends_at - now))
    if state is LicenseState.EXPIRING:
        return f"{whose} expires on {license.expires}, in {days}; sharing goes on afterwards."
    if state is LicenseState.GRACE:
        left = _days(license.ends_at + GRACE_DAYS * DAY - now)
        return (
            f"{whose} expired on {license.expires}; sharing goes on. In {left} Studio becomes read-only and new"
            " namespaces are no longer created."
        )
    return (
        f"{whose} expired on {license.expires}: sharing goes on, Studio is read-only, and new namespaces are not"
        " created."
    )


def _days(seconds: float) -> str:
    days = int(seconds // DAY)
    return "less than a day" if days < 1 else "1 day" if days == 1 else f"{days} days"
