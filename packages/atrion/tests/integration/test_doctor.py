from __future__ import annotations

import asyncio
import fcntl
import json
import stat
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from atrion import InMemoryProvider, PhysicsVector
from atrion.cli import main
from atrion.cli.doctor import examine
from atrion.providers.workers import WorkersProvider
from atrion.state import Finding


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    status = main(["doctor", *arguments, "--json"])
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert result["healthy"] is (status == 0)
    return status, result


def bad(result: dict[str, Any]) -> dict[str, str]:
    return {found["check"]: found["cure"] for found in result["findings"] if found["level"] == "bad"}


def levels(findings: list[Finding]) -> dict[str, str]:
    return {finding.check: finding.level for finding in findings}


def test_a_store_that_works_is_well(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for url in ("memory:", f"workers://{tmp_path}/s"):
        status, result = told(capsys, url)
        assert status == 0
        assert result["url"] == url
        assert 0.0 < result["round_trip_seconds"]["p50"] <= result["round_trip_seconds"]["p99"]
        checks = {found["check"] for found in result["findings"]}
        assert {"reachable", "permissions", "round trip", "contents", "abilities"} <= checks


def test_a_person_reads_a_page(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["doctor", f"workers://{tmp_path}/s"]) == 0
    page = capsys.readouterr().out
    assert "shares scars between nodes" in page
    assert page.endswith("All is well.\n")
    (tmp_path / "file").write_text("")
    assert main(["doctor", f"workers://{tmp_path}/file"]) == 1
    page = capsys.readouterr().out
    assert "→ name another, or move the file away" in page
    assert page.endswith("need your attention.\n")


@pytest.mark.parametrize(
    "url, words",
    [
        ("nonsense://u:secret-word@h/", "the known schemes are"),
        ("workers:relative", "three slashes"),
        ("redis://u:secret-word@[h/", "must be"),
    ],
)
def test_a_url_that_cannot_be_used_is_a_finding(
    capsys: pytest.CaptureFixture[str], url: str, words: str
) -> None:
    status, result = told(capsys, url)
    assert status == 1
    assert words in result["findings"][0]["detail"]
    assert "secret-word" not in json.dumps(result)


def test_a_timeout_that_makes_no_sense_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "memory:", "--timeout", "0"]) == 2
    assert "--timeout" in capsys.readouterr().err


# --- the workers' folder -------------------------------------------------------------------------------------


def test_a_folder_that_everybody_may_write_is_bad(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    folder.chmod(0o777)
    status, result = told(capsys, f"workers://{folder}")
    assert status == 1
    assert bad(result) == {"permissions": f"chmod o-w {folder}"}
    folder.chmod(stat.S_IRWXU)
    assert told(capsys, f"workers://{folder}")[0] == 0


def test_what_was_set_aside_and_what_may_not_fit_are_notes(tmp_path: Path) -> None:
    (tmp_path / "data.mdb.broken").write_bytes(b"")
    provider = WorkersProvider(tmp_path, map_size=1 << 60)
    found = asyncio.run(provider.diagnose())
    assert levels(found) == {"version": "good", "space": "note", "history": "note"}
    later = asyncio.run(WorkersProvider(tmp_path / "later").diagnose())
    assert levels(later)["folder"] == "note"


def test_a_folder_on_the_network_or_of_another_user_is_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(path: Path) -> dict[str, str]:
        return levels(asyncio.run(WorkersProvider(path).diagnose()))

    assert "file system" not in found(tmp_path)
    monkeypatch.setattr("atrion.providers._diagnostics._file_system", lambda _: "nfs4")
    assert found(tmp_path)["file system"] == "bad"
    monkeypatch.setattr(
        "os.access", lambda *_: False
    )  # root may do everything, so the tests must say otherwise
    assert found(tmp_path)["permissions"] == "bad"
    assert found(tmp_path / "missing") == {"version": "good", "folder": "bad"}


def test_a_store_that_another_process_holds_is_bad(tmp_path: Path) -> None:
    async def main() -> list[Finding]:
        holder, other = WorkersProvider(tmp_path), WorkersProvider(tmp_path)
        await holder.connect()
        with (tmp_path / "gate").open("rb") as gate:  # nothing else runs here
            fcntl.flock(gate, fcntl.LOCK_EX)
            findings = (await examine(other)).findings
        await holder.disconnect()
        return findings

    found = asyncio.run(main())
    assert found[0].level == "bad"
    assert "may be stopped or hung" in found[0].detail


# --- providers of others -------------------------------------------------------------------------------------


class Plain:
    """Four methods, any of which may misbehave."""

    def __init__(self, way: str = "", method: str = "") -> None:
        self.way, self.method = way, method
        self.kept: dict[str, PhysicsVector] = {}

    async def _do(self, method: str) -> None:
        if method == self.method:
            if self.way == "hang":
                await asyncio.Event().wait()
            if self.way == "raise":
                raise OSError("login of u:secret-word refused")

    async def connect(self) -> None:
        await self._do("connect")

    async def disconnect(self) -> None:
        await self._do("disconnect")

    async def get_vector(self, route_id: str) -> PhysicsVector | None:
        await self._do("get_vector")
        return None if self.way == "forget" else self.kept.get(route_id)

    async def update_vector(self, route_id: str, vector: PhysicsVector) -> None:
        await self._do("update_vector")
        self.kept[route_id] = vector


CHECKS = {
    "connect": "reachable",
    "update_vector": "writing",
    "get_vector": "reading",
    "disconnect": "leaving",
}


@pytest.mark.parametrize("method", CHECKS)
@pytest.mark.parametrize("way", ["hang", "raise"])
def test_whatever_a_provider_does_is_said_in_words(way: str, method: str) -> None:
    found = asyncio.run(examine(Plain(way, method), 0.02)).findings
    wrong = [finding for finding in found if finding.level == "bad"]
    assert [finding.check for finding in wrong] == [CHECKS[method]]
    assert ("no answer within" if way == "hang" else "refused") in wrong[0].detail
    assert wrong[0].cure


def test_a_provider_with_nothing_but_the_port_is_well() -> None:
    found = asyncio.run(examine(Plain())).findings
    assert set(levels(found).values()) == {"good"}
    assert found[-1].detail == "keeps vectors, nothing more"


def test_what_is_not_read_back_is_bad() -> None:
    found = asyncio.run(examine(Plain("forget"))).findings
    assert levels(found)["reading"] == "bad"


def test_a_diagnosis_that_fails_or_knows_better_is_told() -> None:
    class Broken(InMemoryProvider):
        async def diagnose(self) -> list[Finding]:
            raise RuntimeError("odd")

    class Better(Plain):
        async def list_routes(self, limit: int) -> list[str]:
            return []

        async def list_nodes(self) -> list[str]:
            return []

        async def diagnose(self) -> list[Finding]:
            return [Finding("reachable", "bad", "the cable is out", "put it in")]

    assert levels(asyncio.run(examine(Broken())).findings)["diagnosis"] == "bad"
    found = asyncio.run(examine(Better("raise", "connect"))).findings
    assert found == [Finding("reachable", "bad", "the cable is out", "put it in")]


def test_no_password_of_the_url_is_printed_whoever_says_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Plain, "from_url", lambda url: Plain("raise", "connect"), raising=False)
    entry = EntryPoint("plain", f"{__name__}:Plain", "atrion.providers")
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [entry])
    status, result = told(capsys, "plain://u:secret-word@h/?token=another-word")
    assert status == 1
    text = json.dumps(result)
    assert "***" in text
    assert "secret-word" not in text
    assert "another-word" not in text
