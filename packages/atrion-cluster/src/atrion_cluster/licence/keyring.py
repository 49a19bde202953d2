"""The public keys that licence keys are checked with: those shipped, and those of a file that operators name."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from joserfc.util import to_bytes, urlsafe_b64decode, urlsafe_b64encode

from atrion.errors import ConfigurationError
from atrion_cluster.licence.key import ALGORITHM

__all__ = ["KEY_ID", "MAX_BYTES", "VARIABLE", "Keyring", "parse_keyring", "read_keyring", "shipped_keyring"]

VARIABLE: Final = "ATRION_LICENSE_KEYRING"
MAX_BYTES: Final = 1_000_000
"""Bytes of a keyring file, at most."""
MAX_KEYS: Final = 1000
_MEMBERS: Final = frozenset({"kty", "crv", "x", "kid", "alg", "use"})
KEY_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""What the id of a key looks like."""


@dataclass(frozen=True, slots=True)
class Keyring:
    """Public keys by id, and the ids of licences that were revoked."""

    keys: Mapping[str, OKPKey] = field(default_factory=dict)
    revoked: frozenset[str] = frozenset()

    def __add__(self, other: Keyring) -> Keyring:
        """Both; of two keys with one id the left one counts."""
        return Keyring({**other.keys, **self.keys}, self.revoked | other.revoked)


def parse_keyring(data: bytes) -> Keyring:
    """A keyring: a JSON Web Key Set (RFC 7517) of public Ed25519 keys (RFC 8037), and ``revoked`` ids.

    Raises:
        ValueError: it is none; the text says why.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES} bytes")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None
    if not isinstance(content, dict) or not set(content) <= {"keys", "revoked"}:
        raise ValueError('it must be {"keys": […], "revoked": […]}')
    keys, revoked = content.get("keys", []), content.get("revoked", [])
    if not isinstance(keys, list) or len(keys) > MAX_KEYS:
        raise ValueError(f"keys must be a list of at most {MAX_KEYS} keys")
    if not isinstance(revoked, list) or not all(isinstance(each, str) for each in revoked):
        raise ValueError("revoked must be a list of ids of licences")
    found: dict[str, OKPKey] = {}
    for number, each in enumerate(keys, 1):
        kid, key = _public_key(each, f"key {number}")
        if kid in found:
            raise ValueError(f"two keys have the id {kid}")
        found[kid] = key
    return Keyring(found, frozenset(revoked))


def _public_key(member: Any, where: str) -> tuple[str, OKPKey]:
    if not isinstance(member, dict):
        raise ValueError(f"{where} is no JSON Web Key")
    if "d" in member:
        raise ValueError(f"{where} is a private key, which belongs nowhere but to the vendor")
    kid, x = member.get("kid"), member.get("x")
    if not isinstance(kid, str) or KEY_ID.fullmatch(kid) is None:
        raise ValueError(f"{where} needs a kid of 1 to 64 letters, digits, dots, dashes or underscores")
    expected = {"kty": "OKP", "crv": "Ed25519", "alg": ALGORITHM, "use": "sig"}
    if not set(member) <= _MEMBERS or any(
        member.get(name, value) != value for name, value in expected.items()
    ):
        raise ValueError(f"the key {kid} is no public Ed25519 key for signatures")
    try:
        raw = urlsafe_b64decode(to_bytes(x)) if isinstance(x, str) and x.isascii() else b""
        if len(raw) != 32 or urlsafe_b64encode(raw).decode() != x:
            raise ValueError("not 32 bytes")
        key = OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": x})
    except (ValueError, TypeError, JoseError):
        raise ValueError(f"the key {kid} needs an x of 32 bytes in base64url") from None
    return kid, key


@cache
def shipped_keyring() -> Keyring:
    """The keyring that comes with this package."""
    return parse_keyring((files("atrion_cluster.licence") / "keyring.json").read_bytes())


def read_keyring(path: str | None) -> Keyring:
    """The shipped keyring, extended by a file where ``path`` names one; shipped keys cannot be replaced.

    Raises:
        ConfigurationError: the file cannot be read or is no keyring.
    """
    if not path:
        return shipped_keyring()
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) else "no path"
        raise ConfigurationError(VARIABLE, path, f"the file cannot be read ({words})") from None
    try:
        return shipped_keyring() + parse_keyring(data)
    except ValueError as error:
        raise ConfigurationError(VARIABLE, path, f"give a keyring of the vendor; {error}") from None
