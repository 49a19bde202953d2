"""Keyring files: public keys by id and revoked licences; replaced as a whole, never half written."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from joserfc.jwk import OKPKey

from atrion.errors import ConfigurationError
from atrion_cluster.licence.key import ALGORITHM
from atrion_cluster.licence.keyring import parse_keyring

__all__ = ["add_key", "read", "revoke"]


def read(path: Path) -> dict[str, Any]:
    """The content of a keyring file; an empty one where there is none.

    Raises:
        ConfigurationError: it cannot be read or is no keyring.
    """
    try:
        data = path.read_bytes() if path.exists() else b"{}"
        parse_keyring(data)
    except OSError as error:
        raise ConfigurationError("--keyring", str(path), f"it cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise ConfigurationError("--keyring", str(path), str(error)) from None
    content = json.loads(data)
    return {"keys": content.get("keys", []), "revoked": content.get("revoked", [])}


def add_key(path: Path, key_id: str, key: OKPKey) -> None:
    """Add a public key.

    Raises:
        ConfigurationError: the keyring has the id already, or the id is unusable.
    """
    content = read(path)
    public = {"kty": "OKP", "crv": "Ed25519", "x": key.as_dict(private=False)["x"]}
    content["keys"].append({**public, "kid": key_id, "alg": ALGORITHM, "use": "sig"})
    _write(path, content)


def revoke(path: Path, ids: list[str]) -> list[str]:
    """Add ids of licences to the revoked ones; returns all of them."""
    content = read(path)
    content["revoked"] = sorted({*content["revoked"], *ids})
    if ids:
        _write(path, content)
    return list(content["revoked"])


def _write(path: Path, content: dict[str, Any]) -> None:
    data = (json.dumps(content, indent=2) + "\n").encode()
    try:
        parse_keyring(data)
    except ValueError as error:
        raise ConfigurationError("--keyring", str(path), str(error)) from None
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    descriptor, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    Path(scratch).chmod(mode)
    Path(scratch).replace(path)
