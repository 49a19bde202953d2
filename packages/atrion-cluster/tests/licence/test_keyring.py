from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atrion.errors import ConfigurationError
from atrion_cluster.licence import Secret, read_license, shipped_keyring
from atrion_cluster.licence.keyring import MAX_BYTES, parse_keyring, read_keyring
from licence_vendor import Vendor, b64

VENDOR = Vendor()
KEY = json.loads(VENDOR.keyring())["keys"][0]


def test_a_file_extends_what_is_shipped(tmp_path: Path) -> None:
    found = read_keyring(str(VENDOR.write_keyring(tmp_path / "keyring.json", "licence-7")))
    assert set(found.keys) == {*shipped_keyring().keys, "test-1"}
    assert "licence-7" in found.revoked
    assert read_license(Secret(VENDOR.issue()), found).customer == "Example GmbH"


def test_a_file_cannot_replace_a_shipped_key() -> None:
    shipped, other = parse_keyring(VENDOR.keyring()), Vendor()
    with pytest.raises(ConfigurationError, match="does not match"):
        read_license(Secret(other.issue()), shipped + parse_keyring(other.keyring()))


def test_without_a_file_there_is_what_is_shipped() -> None:
    assert read_keyring(None) == read_keyring("") == shipped_keyring()


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "must be"),
        (b'{"keys": {}}', "a list"),
        (b'{"keys": [], "more": 1}', "must be"),
        (b'{"revoked": [1]}', "ids of licences"),
        (b" " * (MAX_BYTES + 1), "larger"),
        (json.dumps({"keys": [KEY, KEY]}).encode(), "two keys"),
        (json.dumps({"keys": [7]}).encode(), "no JSON Web Key"),
    ],
)
def test_what_is_no_keyring_is_refused_in_a_sentence(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "keyring.json"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=reason) as caught:
        read_keyring(str(path))
    assert caught.value.field == "ATRION_LICENSE_KEYRING"


@pytest.mark.parametrize(
    "changed",
    [
        {"kty": "RSA"},
        {"crv": "X25519"},
        {"alg": "EdDSA"},
        {"use": "enc"},
        {"x": "AA"},
        {"x": 7},
        {"x": b64(bytes(32)) + "="},
        {"x": b64(bytes(33))},
        {"x": "é" * 43},
        {"kid": ""},
        {"kid": "a b"},
        {"kid": None},
        {"x5u": "https://example.com"},
        {"d": b64(bytes(32))},
    ],
)
def test_only_public_ed25519_keys_are_taken(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="key"):
        parse_keyring(json.dumps({"keys": [KEY | changed]}).encode())


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (str(tmp_path / "missing.json"), str(tmp_path), "\0"):
        with pytest.raises(ConfigurationError, match="cannot be read"):
            read_keyring(path)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.sampled_from([*KEY, "keys", "revoked"]), inner)
    ),
)


@given(st.binary() | _json.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_keyring_or_refused(data: bytes) -> None:
    try:
        found = parse_keyring(data)
    except ValueError:
        return
    assert len(found.keys) == 0 or b"OKP" in data


@given(st.fixed_dictionaries({}, optional=dict.fromkeys((*KEY, "alg", "use"), _json)))
def test_any_member_is_a_key_or_refused(changed: dict[str, Any]) -> None:
    try:
        found = parse_keyring(json.dumps({"keys": [KEY | changed]}).encode())
    except ValueError:
        return
    with pytest.raises(ConfigurationError):
        read_license(Secret(Vendor().issue()), found)


def test_a_damaged_keyring_file_is_refused_or_harmless() -> None:
    content = VENDOR.keyring("licence-9")
    text = VENDOR.issue(tier="enterprise")
    for at in range(len(content)):
        for bit in range(8):
            damaged = content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]
            try:
                found = parse_keyring(damaged)
                read_license(Secret(text), found)
            except ValueError:
                continue
            assert found.keys["test-1"].as_dict()["x"] == KEY["x"]
