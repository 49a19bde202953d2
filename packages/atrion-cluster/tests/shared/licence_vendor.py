"""A vendor of the tests: key pairs made for them, and the means to sign anything at all."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PREFIXES = {"starter": "atrion_start_", "pro": "atrion_pro_", "enterprise": "atrion_ent_"}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def today() -> date:
    return datetime.now(UTC).date()


class Vendor:
    """Signs with cryptography alone, so that what reads the keys is not checked by itself."""

    def __init__(self, key_id: str = "test-1") -> None:
        self.key_id = key_id
        self.private = Ed25519PrivateKey.generate()

    @property
    def public(self) -> bytes:
        return self.private.public_key().public_bytes_raw()

    def keyring(self, *revoked: str) -> bytes:
        key = {"kty": "OKP", "crv": "Ed25519", "x": b64(self.public), "kid": self.key_id}
        return json.dumps({"keys": [key], "revoked": list(revoked)}).encode()

    def write_keyring(self, path: Path, *revoked: str) -> Path:
        path.write_bytes(self.keyring(*revoked))
        return path

    def claims(self, **changed: Any) -> dict[str, Any]:
        first = today() - timedelta(days=30)
        return {
            "id": "licence-1",
            "tier": "pro",
            "limit": 5,
            "customer": "Example GmbH",
            "not_before": first.isoformat(),
            "expires": (today() + timedelta(days=365)).isoformat(),
            **changed,
        }

    def header(self, **changed: Any) -> dict[str, Any]:
        return {"alg": "Ed25519", "kid": self.key_id, "typ": "atrion-license", **changed}

    def sign(self, header: Mapping[str, Any], payload: bytes, prefix: str = "atrion_pro_") -> str:
        signed = f"{b64(json.dumps(header).encode())}.{b64(payload)}"
        return f"{prefix}{signed}.{b64(self.private.sign(signed.encode()))}"

    def issue(self, **changed: Any) -> str:
        claims = self.claims(**changed)
        return self.sign(
            self.header(), json.dumps(claims).encode(), PREFIXES.get(claims["tier"], "atrion_pro_")
        )

    def ended(self, days: int, **changed: Any) -> str:
        """A licence whose last day was ``days`` days ago."""
        last = today() - timedelta(days=days)
        return self.issue(
            not_before=(last - timedelta(days=365)).isoformat(), expires=last.isoformat(), **changed
        )
