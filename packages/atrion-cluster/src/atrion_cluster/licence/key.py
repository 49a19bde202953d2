"""What a licence key says, and the names of its parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from typing import Any, Final, Literal, get_args

__all__ = [
    "ALGORITHM",
    "LICENSE_TIERS",
    "LIMITS",
    "MAX_CUSTOMER",
    "PREFIXES",
    "TYPE",
    "LicenseKey",
    "LicenseTier",
    "claims_of",
    "key_of",
]

LicenseTier = Literal["starter", "pro", "enterprise"]

LICENSE_TIERS: Final[tuple[LicenseTier, ...]] = get_args(LicenseTier)
PREFIXES: Final[Mapping[LicenseTier, str]] = {
    "starter": "atrion_start_",
    "pro": "atrion_pro_",
    "enterprise": "atrion_ent_",
}
LIMITS: Final[Mapping[LicenseTier, int | None]] = {"starter": 1, "pro": 5, "enterprise": None}
"""Production clusters of each tier (RFC-0007 §8); None is unlimited."""
ALGORITHM: Final = "Ed25519"
"""The one algorithm that is accepted, by its name in RFC 9864."""
TYPE: Final = "atrion-license"
"""The header's ``typ``."""
MAX_CUSTOMER: Final = 200
"""Characters of a customer's name, at most."""

_LATEST: Final = timezone(timedelta(hours=-12))
_EARLIEST: Final = timezone(timedelta(hours=14))
_CLAIMS: Final = frozenset({"id", "tier", "limit", "customer", "not_before", "expires"})


@dataclass(frozen=True, slots=True)
class LicenseKey:
    """What a key that was checked says (RFC-0007 §8); it does not hold the key's text.

    Attributes:
        id: The licence's own id, by which the vendor can revoke it.
        tier: ``starter``, ``pro`` or ``enterprise``.
        cluster_limit: Production clusters it covers; None is unlimited.
        customer: Whose it is.
        not_before: The first day of validity.
        expires: The last day of validity.
        key_id: The id of the public key that checked it.
    """

    id: str
    tier: LicenseTier
    cluster_limit: int | None
    customer: str
    not_before: date
    expires: date
    key_id: str

    @property
    def starts_at(self) -> float:
        """When the first day begins in the earliest time zone; seconds since 1970."""
        return datetime.combine(self.not_before, time(), _EARLIEST).timestamp()

    @property
    def ends_at(self) -> float:
        """When the last day ends in the latest time zone; seconds since 1970."""
        return datetime.combine(self.expires, time(), _LATEST).timestamp() + 86_400.0


def claims_of(license: LicenseKey) -> dict[str, Any]:
    """The payload of a key."""
    return {
        "id": license.id,
        "tier": license.tier,
        "limit": license.cluster_limit,
        "customer": license.customer,
        "not_before": license.not_before.isoformat(),
        "expires": license.expires.isoformat(),
    }


def key_of(claims: object, key_id: str) -> LicenseKey:
    """The licence of a payload.

    Raises:
        ValueError: something is missing, unknown or of another kind; the text says what.
    """
    if not isinstance(claims, dict) or set(claims) != _CLAIMS:
        raise ValueError(f"its content must have exactly {', '.join(sorted(_CLAIMS))}")
    tier, limit, customer = claims["tier"], claims["limit"], claims["customer"]
    if tier not in LICENSE_TIERS:
        raise ValueError("its tier is unknown")
    if limit is not None and (type(limit) is not int or not 1 <= limit <= 1_000_000):
        raise ValueError("its cluster limit is no whole number from 1 on")
    if not isinstance(claims["id"], str) or not 1 <= len(claims["id"]) <= 64:
        raise ValueError("its id is unusable")
    if not isinstance(customer, str) or not 1 <= len(customer) <= MAX_CUSTOMER or not customer.isprintable():
        raise ValueError("its customer's name is unusable")
    first, last = _day(claims["not_before"]), _day(claims["expires"])
    if last < first:
        raise ValueError("it ends before it begins")
    return LicenseKey(claims["id"], tier, limit, customer, first, last, key_id)


def _day(text: object) -> date:
    try:
        found = date.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        found = None
    if found is None or not 2000 <= found.year <= 9000:
        raise ValueError("its dates are unusable")
    return found
