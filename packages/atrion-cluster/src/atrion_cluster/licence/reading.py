"""From the text of a licence key to what it says: pure, offline, and with one algorithm."""

from __future__ import annotations

import json
import re
from typing import Final

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.util import urlsafe_b64decode, urlsafe_b64encode

from atrion.errors import ConfigurationError
from atrion_cluster.licence.key import ALGORITHM, PREFIXES, TYPE, LicenseKey, key_of
from atrion_cluster.licence.keyring import KEY_ID, Keyring
from atrion_cluster.licence.secret import Secret, masked

__all__ = ["FIELD", "MAX_LENGTH", "read_license"]

FIELD: Final = "license"
MAX_LENGTH: Final = 4096
"""Characters of a key, at most."""
_FORM: Final = re.compile(
    rf"({'|'.join(PREFIXES.values())})([A-Za-z0-9_-]{{2,}})\.([A-Za-z0-9_-]{{2,}})\.([A-Za-z0-9_-]{{86}})"
)
_AGAIN: Final = "copy it again as a whole from the vendor's message"


def read_license(secret: Secret, keyring: Keyring) -> LicenseKey:
    """What a key says, if a key of ``keyring`` has signed it; whether it is in force is for the status to say.

    Raises:
        ConfigurationError: it is malformed, or signed by nobody known; the message does not show it.
    """
    # The reason is returned and not raised, so that no frame of the traceback holds the text.
    found = _examine(secret.reveal(), keyring)
    if isinstance(found, LicenseKey):
        return found
    raise ConfigurationError(FIELD, masked(secret.reveal()), found)


def _examine(given: object, keyring: Keyring) -> LicenseKey | str:
    if not isinstance(given, str):
        return "a licence key is a string"
    text = given.strip()
    if len(text) > MAX_LENGTH:
        return f"it is longer than {MAX_LENGTH} characters; {_AGAIN}"
    form = _FORM.fullmatch(text)
    if form is None:
        prefixes = ", ".join(PREFIXES.values())
        return f"a licence key is one of {prefixes}, then three parts joined by dots; {_AGAIN}"
    header = _object(form[2])
    if header is None or set(header) != {"alg", "kid", "typ"} or header["typ"] != TYPE:
        return f"its header is not that of a licence key; {_AGAIN}"
    if header["alg"] != ALGORITHM:
        return f"it must be signed with {ALGORITHM}, and nothing else is accepted"
    kid = str(header["kid"])
    key = keyring.keys.get(kid)
    if key is None:
        return _unknown(kid, keyring)
    try:
        # The last character of a signature has bits that no byte takes: other spellings of the same one are refused.
        if urlsafe_b64encode(urlsafe_b64decode(form[4].encode())).decode() != form[4]:
            return f"its signature is damaged; {_AGAIN}"
        payload = jws.deserialize_compact(text.removeprefix(form[1]), key, algorithms=[ALGORITHM]).payload
    except (JoseError, ValueError):
        return f"its signature does not match its content; {_AGAIN}"
    try:
        license = key_of(json.loads(payload), kid)
    except (ValueError, RecursionError) as error:
        return f"its content is unusable: {error}; ask the vendor for another"
    if PREFIXES[license.tier] != form[1]:
        return f"it begins with {form[1]} and is of the tier {license.tier}; {_AGAIN}"
    return license


def _unknown(kid: str, keyring: Keyring) -> str:
    """Why there is no public key of that id, and what to do."""
    named = f"the key {kid!r}" if KEY_ID.fullmatch(kid) else "a key"
    if not keyring.keys:
        return (
            f"it is signed with {named}, and this copy of atrion-cluster was built without the vendor's public keys: "
            "install a release of the vendor, or name the vendor's keyring in ATRION_LICENSE_KEYRING"
        )
    return (
        f"it is signed with {named}, which this version does not know: upgrade atrion-cluster, or name the vendor's "
        "newer keyring in ATRION_LICENSE_KEYRING"
    )


def _object(part: str) -> dict[str, object] | None:
    """The JSON object of one part, or None."""
    try:
        found = json.loads(urlsafe_b64decode(part.encode()))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
