from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import traceback
from datetime import date
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from atrion.errors import ConfigurationError
from atrion_cluster.licence import LicenseKey, Secret, read_license
from atrion_cluster.licence.keyring import Keyring, parse_keyring
from licence_vendor import PREFIXES, Vendor, b64

VENDOR = Vendor()
KEYRING = parse_keyring(VENDOR.keyring())
TEXT = VENDOR.issue()


def refusal(text: object, keyring: Keyring = KEYRING) -> str:
    """Why a key is refused: a plain sentence, without the key, from one kind of error."""
    with pytest.raises(ConfigurationError) as caught:
        read_license(Secret(text), keyring)
    message = str(caught.value)
    assert message.startswith("license = ")
    assert len(message) < 400
    assert message.isprintable()
    return caught.value.cure


def test_a_genuine_key_says_what_the_vendor_signed() -> None:
    text = VENDOR.issue(tier="starter", limit=1, not_before="2026-01-01", expires="2026-12-31")
    assert read_license(Secret(f"  {text}\n"), KEYRING) == LicenseKey(
        id="licence-1",
        tier="starter",
        cluster_limit=1,
        customer="Example GmbH",
        not_before=date(2026, 1, 1),
        expires=date(2026, 12, 31),
        key_id="test-1",
    )


@pytest.mark.parametrize("tier", PREFIXES)
def test_each_tier_has_its_prefix(tier: str) -> None:
    text = VENDOR.issue(tier=tier)
    assert text.startswith(PREFIXES[tier])
    assert read_license(Secret(text), KEYRING).tier == tier
    for other in set(PREFIXES) - {tier}:
        assert f"is of the tier {tier}" in refusal(PREFIXES[other] + text.removeprefix(PREFIXES[tier]))


def parts() -> list[str]:
    return TEXT.removeprefix("atrion_pro_").split(".")


def test_no_part_can_be_exchanged() -> None:
    header, payload, signature = parts()
    richer = b64(json.dumps(VENDOR.claims(limit=None)).encode())
    other = Vendor()
    foreign = other.issue().rpartition(".")[2]
    for changed in (
        f"{header}.{richer}.{signature}",
        f"{header}.{payload}.{foreign}",
        f"{b64(json.dumps(VENDOR.header(), indent=1).encode())}.{payload}.{signature}",
        f"{header}.{payload}.{b64(bytes(64))}",
    ):
        assert "does not match" in refusal("atrion_pro_" + changed)


def test_a_key_of_another_vendor_is_refused() -> None:
    assert "does not match" in refusal(Vendor().issue())


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "HS256", "EdDSA", "ed25519", "Ed448", "RS256", "", None, 1, ["Ed25519"]]
)
def test_only_ed25519_by_its_name_is_accepted(algorithm: Any) -> None:
    payload = json.dumps(VENDOR.claims()).encode()
    # Signed well in every case, so that nothing but the name is wrong.
    assert "signed with Ed25519" in refusal(VENDOR.sign(VENDOR.header(alg=algorithm), payload))


def test_the_public_key_is_no_secret_to_sign_with() -> None:
    signed = (
        f"{b64(json.dumps(VENDOR.header(alg='HS256')).encode())}.{b64(json.dumps(VENDOR.claims()).encode())}"
    )
    spki = base64.b64decode("MCowBQYDK2VwAyEA") + VENDOR.public
    for secret in (VENDOR.public, b64(VENDOR.public).encode(), spki):
        digest = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
        refusal(f"atrion_pro_{signed}.{b64(digest)}")
        refusal(f"atrion_pro_{signed}.{b64(digest + digest)}")


def test_no_signature_at_all_is_refused() -> None:
    header, payload, _ = parts()
    unsigned = b64(json.dumps(VENDOR.header(alg="none")).encode())
    for text in (
        f"atrion_pro_{header}.{payload}.",
        f"atrion_pro_{unsigned}.{payload}.",
        f"atrion_pro_{header}..{payload}",
    ):
        refusal(text)


@pytest.mark.parametrize(
    "header",
    [
        VENDOR.header(kid="unknown"),
        VENDOR.header(kid=None),
        VENDOR.header(kid={"kid": "test-1"}),
        VENDOR.header(kid="../test-1"),
    ],
)
def test_a_key_id_must_be_known(header: dict[str, Any]) -> None:
    assert "ATRION_LICENSE_KEYRING" in refusal(VENDOR.sign(header, json.dumps(VENDOR.claims()).encode()))


def test_a_key_that_is_not_in_the_keyring_is_named_with_what_to_do() -> None:
    cure = refusal(Vendor("vendor-2031").issue())
    assert "signed with the key 'vendor-2031', which this version does not know: upgrade" in cure
    text = Vendor("vendor-2026").issue()
    cure = refusal(text, Keyring())
    assert "signed with the key 'vendor-2026'" in cure
    assert "built without the vendor's public keys: install a release of the vendor, or name" in cure
    # What a forger writes there is not repeated.
    header = VENDOR.header(kid="x" * 65 + " call 555-1234")
    assert "555" not in refusal(VENDOR.sign(header, b"{}"))


@pytest.mark.parametrize(
    "header",
    [
        VENDOR.header(crit=["exp"]),
        VENDOR.header(b64=False),
        VENDOR.header(jwk={"kty": "OKP", "crv": "Ed25519", "x": b64(VENDOR.public)}),
        VENDOR.header(typ="JWT"),
        {"alg": "Ed25519", "kid": "test-1"},
        {},
    ],
)
def test_a_header_has_nothing_that_is_not_expected(header: dict[str, Any]) -> None:
    assert "header" in refusal(VENDOR.sign(header, json.dumps(VENDOR.claims()).encode()))


@pytest.mark.parametrize(
    "changed",
    [
        {"tier": "gold"},
        {"tier": ["pro"]},
        {"limit": 0},
        {"limit": -1},
        {"limit": True},
        {"limit": 1.5},
        {"limit": "5"},
        {"customer": ""},
        {"customer": "a\nb"},
        {"customer": "x" * 201},
        {"customer": None},
        {"id": ""},
        {"id": 7},
        {"expires": "2026-02-30"},
        {"expires": 1798675200},
        {"expires": "9999-12-31"},
        {"not_before": "2027-01-01", "expires": "2026-01-01"},
        {"more": 1},
    ],
)
def test_signed_content_is_checked_too(changed: dict[str, Any]) -> None:
    assert "its content is unusable" in refusal(
        VENDOR.sign(VENDOR.header(), json.dumps(VENDOR.claims(**changed)).encode())
    )


@pytest.mark.parametrize(
    "payload", [b"xx", b"null", b"[]", b"{}", b"\xff\xfe\x00", b"[" * 2000, b'{"id":NaN}']
)
def test_signed_content_of_any_other_kind_is_refused(payload: bytes) -> None:
    assert "its content is unusable" in refusal(VENDOR.sign(VENDOR.header(), payload))


def test_every_truncation_is_refused() -> None:
    for length in range(len(TEXT)):
        refusal(TEXT[:length])
        refusal(TEXT[length + 1 :])


@pytest.mark.slow
def test_a_hundred_thousand_mutated_keys_are_refused() -> None:
    rng = random.Random(0)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \0é"
    for number in range(100_000):
        at = rng.randrange(len(TEXT))
        match number % 5:
            case 0:  # one character becomes another
                text = TEXT[:at] + rng.choice(alphabet) + TEXT[at + 1 :]
            case 1:  # one goes
                text = TEXT[:at] + TEXT[at + 1 :]
            case 2:  # one comes
                text = TEXT[:at] + rng.choice(alphabet) + TEXT[at:]
            case 3:  # two change places
                other = rng.randrange(len(TEXT))
                characters = list(TEXT)
                characters[at], characters[other] = characters[other], characters[at]
                text = "".join(characters)
            case _:  # a bit flips
                text = TEXT[:at] + chr(ord(TEXT[at]) ^ 1 << rng.randrange(7)) + TEXT[at + 1 :]
        if text.strip() == TEXT:
            continue
        try:
            read_license(Secret(text), KEYRING)
        except ConfigurationError as error:
            message = str(error)
            assert message.startswith("license = ")
            assert message.isprintable()
            assert len(message) < 400
            assert text not in message
            continue
        pytest.fail(f"accepted: {text!r}")


def test_no_other_spelling_of_the_signature_is_accepted() -> None:
    signature = parts()[2]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for last in set(alphabet) - {signature[-1]}:
        refusal(TEXT[:-1] + last)
    order = 2**252 + 27742317777372353535851937790883648493
    raw = base64.urlsafe_b64decode(signature + "==")
    scalar = int.from_bytes(raw[32:], "little") + order
    refusal(TEXT[: -len(signature)] + b64(raw[:32] + scalar.to_bytes(32, "little")))


@pytest.mark.parametrize(
    "text",
    [
        None,
        7,
        b"atrion_pro_x",
        ["atrion_pro_x"],
        "",
        "atrion_pro_",
        "\0",
        "\ud800",
        "x" * 10_000_000,
        "é" * 500,
    ],
)
def test_anything_else_is_refused_in_a_sentence(text: object) -> None:
    refusal(text)


@given(
    st.one_of(
        st.text(), st.binary().map(lambda data: data.decode("latin-1")), st.text().map("atrion_pro_".__add__)
    )
)
@example("atrion_pro_e30.e30." + "A" * 86)
def test_any_text_is_refused(text: str) -> None:
    refusal(text)


@given(st.binary(), st.binary())
def test_any_header_and_content_are_refused(header: bytes, payload: bytes) -> None:
    signed = f"{b64(header)}.{b64(payload)}"
    refusal(f"atrion_pro_{signed}.{b64(VENDOR.private.sign(signed.encode()))}")


def test_a_key_is_shown_nowhere_as_a_whole() -> None:
    for text in (TEXT, TEXT[:-1] + ("A" if TEXT[-1] != "A" else "B"), "my-secret-" + TEXT):
        secret = Secret(text)
        assert text not in f"{secret!r} {secret} {[secret]}"
        try:
            license = read_license(secret, KEYRING)
        except ConfigurationError as error:
            shown = traceback.TracebackException.from_exception(error, capture_locals=True)
            # The frame of this test, whose locals are its own affair, comes first.
            said = "".join(traceback.StackSummary.from_list(shown.stack[1:]).format())
            said += str(error) + repr(error) + json.dumps(error.as_dict())
            assert shown.__context__ is None
        else:
            said = repr(license) + str(license)
        assert text.rpartition(".")[2] not in said
        assert text[20:60] not in said
