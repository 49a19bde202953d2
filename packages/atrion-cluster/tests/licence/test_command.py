from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from atrion.cli import main
from licence_vendor import Vendor


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    status = main(["license", *words])
    out, err = capsys.readouterr()
    return status, out + err


@pytest.fixture
def given(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> Vendor:
    monkeypatch.setenv(
        "ATRION_LICENSE_KEY",
        vendor.issue(not_before="2026-01-01", expires="2899-12-31", tier="starter", limit=1),
    )
    return vendor


def test_a_licence_is_shown_to_people(given: Vendor, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "show") == (
        0,
        (
            "The starter licence of Example GmbH is valid until 2899-12-31.\n"
            "  customer  Example GmbH\n"
            "  tier      starter\n"
            "  clusters  1\n"
            "  valid     2026-01-01 to 2899-12-31\n"
            "  licence   licence-1, signed with test-1\n"
        ),
    )


def test_a_licence_is_shown_to_programs(given: Vendor, capsys: pytest.CaptureFixture[str]) -> None:
    status, text = run(capsys, "show", "--json")
    assert status == 0
    assert json.loads(text) == {
        "genuine": True,
        "state": "active",
        "sentence": "The starter licence of Example GmbH is valid until 2899-12-31.",
        "customer": "Example GmbH",
        "tier": "starter",
        "limit": 1,
        "expires": "2899-12-31",
        "read_only": False,
        "id": "licence-1",
        "key_id": "test-1",
        "not_before": "2026-01-01",
    }


@pytest.mark.parametrize("days, state, status", [(-10, "expiring", 0), (10, "grace", 0), (40, "lapsed", 1)])
def test_verify_ends_with_what_a_deployment_wants_to_know(
    vendor: Vendor,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    days: int,
    state: str,
    status: int,
) -> None:
    monkeypatch.setenv("ATRION_LICENSE_KEY", vendor.ended(days))
    found, text = run(capsys, "verify", "--json")
    assert (found, json.loads(text)["state"]) == (status, state)
    assert run(capsys, "show")[0] == 0


def test_no_key_is_an_evaluation(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ATRION_LICENSE_KEY")
    assert run(capsys, "show")[0] == 0
    status, text = run(capsys, "verify")
    assert status == 1
    assert "Evaluation" in text


def test_a_refused_key_is_told_with_the_reason_and_without_the_key(
    vendor: Vendor, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = Vendor().issue()
    path = tmp_path / "license.txt"
    path.write_text(text + "\n")
    for action in ("show", "verify"):
        status, said = run(capsys, action, "--file", str(path))
        assert status == 1
        assert said.startswith("The licence key is refused: its signature does not match its content")
        assert text[11:40] not in said
    path.write_bytes(bytes(range(256)) * 100)
    assert run(capsys, "verify", "--file", str(path))[0] == 1
    genuine = io.TextIOWrapper(io.BytesIO(vendor.issue().encode()))
    monkeypatch.setattr("sys.stdin", genuine)
    assert run(capsys, "verify", "--file", "-")[0] == 0


def test_a_file_or_keyring_that_is_missing_is_misuse(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(capsys, "show", "--file", "/nowhere")[0] == 2
    monkeypatch.setenv("ATRION_LICENSE_KEYRING", "/nowhere")
    status, text = run(capsys, "show")
    assert status == 2
    assert "ATRION_LICENSE_KEYRING" in text


@pytest.mark.parametrize("words", [["license", "show"], ["license", "verify", "--key"], []])
def test_a_key_that_is_given_as_an_argument_is_not_shown(
    vendor: Vendor, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    text = vendor.issue()
    with pytest.raises(SystemExit) as caught:
        main([*words, text])
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert "atrion_pro_…" in said
    assert not any(part in said for part in text.split("."))
