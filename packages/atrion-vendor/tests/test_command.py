from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from datetime import date
from importlib.resources import files
from pathlib import Path

import pytest

from atrion.errors import ConfigurationError
from atrion_cluster.licence import Secret, read_license, shipped_keyring
from atrion_cluster.licence.keyring import parse_keyring, read_keyring
from atrion_vendor.command import main

EMPTY = b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"


@pytest.fixture
def keyring(tmp_path: Path) -> Path:
    return tmp_path / "keyring.json"


@pytest.fixture
def private(tmp_path: Path, keyring: Path) -> Path:
    path = tmp_path / "v1.pem"
    assert main(["keygen", "--private", str(path), "--id", "v1", "--keyring", str(keyring)]) == 0
    return path


def issue(private: str, *more: str) -> list[str]:
    return [
        "issue",
        "--private",
        private,
        "--id",
        "v1",
        "--customer",
        "Example GmbH",
        "--expires",
        "2899-12-31",
        *more,
    ]


@pytest.mark.parametrize("tier, limit", [("starter", 1), ("pro", 5), ("enterprise", None)])
def test_what_is_issued_is_accepted(
    private: Path, keyring: Path, capsys: pytest.CaptureFixture[str], tier: str, limit: int | None
) -> None:
    assert main(issue(str(private), "--tier", tier, "--not-before", "2026-01-01")) == 0
    out, err = capsys.readouterr()
    license = read_license(Secret(out), read_keyring(str(keyring)))
    assert (license.tier, license.cluster_limit, license.customer) == (tier, limit, "Example GmbH")
    assert (license.not_before, license.expires, license.key_id) == (
        date(2026, 1, 1),
        date(2899, 12, 31),
        "v1",
    )
    assert json.loads(err.splitlines()[-1])["id"] == license.id


def test_a_key_that_is_added_to_the_shipped_keyring_signs_what_the_release_accepts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = files("atrion_cluster.licence") / "keyring.json"
    release, private = tmp_path / "release.json", tmp_path / "new.pem"
    release.write_bytes(shipped.read_bytes())
    made = ["keygen", "--private", str(private), "--id", "new-in-this-test", "--keyring", str(release)]
    assert main(made) == 0
    capsys.readouterr()
    words = ["issue", "--private", str(private), "--tier", "pro", "--customer", "Example GmbH"]
    words += ["--expires", "2899-12-31", "--id", "new-in-this-test"]
    assert main(words) == 0
    text = Secret(capsys.readouterr().out)
    found = parse_keyring(release.read_bytes())
    assert set(found.keys) == {*shipped_keyring().keys, "new-in-this-test"}
    assert read_license(text, found).key_id == "new-in-this-test"
    # A customer whose release is older is told what to do.
    with pytest.raises(ConfigurationError, match=r"'new-in-this-test'.*ATRION_LICENSE_KEYRING"):
        read_license(text, shipped_keyring())


def test_a_licence_that_the_keyring_would_refuse_is_not_issued(
    private: Path, keyring: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*issue(str(private), "--tier", "pro"), "--keyring", str(keyring)]
    assert main(words) == 0
    other = tmp_path / "v2.pem"
    assert main(["keygen", "--private", str(other), "--id", "v2", "--keyring", str(keyring)]) == 0
    capsys.readouterr()
    words[words.index(str(private))] = str(other)  # whose id is not v1
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "does not match" in err


def test_the_private_key_is_its_owners_alone(private: Path, keyring: Path) -> None:
    assert private.stat().st_mode & 0o777 == 0o600
    assert "PRIVATE" in private.read_text()
    content = json.loads(keyring.read_text())
    assert [sorted(key) for key in content["keys"]] == [["alg", "crv", "kid", "kty", "use", "x"]]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_private_key_that_others_may_read_is_refused(
    private: Path, mode: int, capsys: pytest.CaptureFixture[str]
) -> None:
    private.chmod(mode)
    assert main(issue(str(private), "--tier", "pro")) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "chmod 600" in err


def test_a_link_to_a_private_key_is_refused(private: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.pem"
    link.symlink_to(private)
    assert main(issue(str(link), "--tier", "pro")) == 2
    assert main(issue(str(tmp_path), "--tier", "pro")) == 2


def test_a_private_key_may_come_by_standard_input(
    private: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(private.read_bytes())))
    assert main(issue("-", "--tier", "pro")) == 0
    assert capsys.readouterr().out.startswith("atrion_pro_")


@pytest.mark.parametrize(
    "content",
    [b"", b"nonsense", b"\xff" * 20_000, EMPTY],
)
def test_what_is_no_private_key_is_refused(
    private: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    private.write_bytes(content)
    assert main(issue(str(private), "--tier", "pro")) == 2
    assert "private Ed25519 key" in capsys.readouterr().err


def test_nothing_is_overwritten(private: Path, keyring: Path, tmp_path: Path) -> None:
    before = private.read_bytes(), keyring.read_bytes()
    assert main(["keygen", "--private", str(private), "--id", "v2", "--keyring", str(keyring)]) == 2
    assert (
        main(["keygen", "--private", str(tmp_path / "v2.pem"), "--id", "v1", "--keyring", str(keyring)]) == 2
    )
    assert (
        main(["keygen", "--private", str(tmp_path / "v2.pem"), "--id", "a b", "--keyring", str(keyring)]) == 2
    )
    assert not (tmp_path / "v2.pem").exists()
    assert (private.read_bytes(), keyring.read_bytes()) == before


def test_several_keys_live_side_by_side(private: Path, keyring: Path, tmp_path: Path) -> None:
    assert (
        main(["keygen", "--private", str(tmp_path / "v2.pem"), "--id", "v2", "--keyring", str(keyring)]) == 0
    )
    assert {"v1", "v2"} <= set(read_keyring(str(keyring)).keys)


def test_revoked_licences_are_listed_once(
    private: Path, keyring: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["revoke-list", "--keyring", str(keyring)]
    assert main([*words, "--add", "b", "--add", "a"]) == 0
    assert main([*words, "--add", "b"]) == 0
    capsys.readouterr()
    assert main(words) == 0
    assert capsys.readouterr().out == "a\nb\n"
    assert read_keyring(str(keyring)).revoked >= {"a", "b"}
    assert "v1" in read_keyring(str(keyring)).keys


@pytest.mark.parametrize(
    "more",
    [
        ("--expires", "2026-02-30"),
        ("--expires", "soon"),
        ("--not-before", "3000-01-01"),
        ("--limit", "0"),
        ("--customer", ""),
        ("--customer", "x" * 201),
    ],
)
def test_nothing_is_issued_that_would_be_refused(
    private: Path, more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*issue(str(private), "--tier", "pro"), *more]) == 2
    assert capsys.readouterr().out == ""


def test_no_argument_takes_a_private_key(private: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = private.read_text()
    capsys.readouterr()
    assert main(issue(text, "--tier", "pro")) == 2
    assert text.splitlines()[1][:20] not in capsys.readouterr().err
    with pytest.raises(ConfigurationError):
        read_keyring(str(private))


def test_the_command_is_installed(private: Path) -> None:
    program = Path(sys.executable).with_name("atrion-vendor")
    done = subprocess.run(
        [program, *issue(str(private), "--tier", "pro")],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("atrion_pro_")
