"""Signing a licence."""

from __future__ import annotations

import json

from joserfc import jws
from joserfc.jwk import OKPKey

from atrion_cluster.licence import LicenseKey
from atrion_cluster.licence.key import ALGORITHM, PREFIXES, TYPE, claims_of

__all__ = ["issue"]


def issue(license: LicenseKey, private: OKPKey) -> str:
    """The text of a licence key: the prefix of its tier and a compact JWS signed with Ed25519 (RFC 9864)."""
    header = {"alg": ALGORITHM, "kid": license.key_id, "typ": TYPE}
    payload = json.dumps(claims_of(license), separators=(",", ":"), ensure_ascii=False).encode()
    return PREFIXES[license.tier] + jws.serialize_compact(header, payload, private, algorithms=[ALGORITHM])
