"""How the Studio shows a licence, when it is read-only, and that it never shows a key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from atrion import Atrion, Telemetry
from atrion.testing import VirtualClock
from atrion_cluster import PostgresPersistenceAdapter
from atrion_cluster.redis import RedisClusterProvider
from atrion_studio import AtrionStudio
from licence_vendor import Vendor
from studio_server import mounted

CHANGE = {"route": "search", "setting": "gamma", "value": 0.9}
SHOWN = ("", "api/snapshot", "api/meta", "api/moment", "api/trends", "api/changes")


@pytest.fixture
def vendor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Vendor:
    vendor = Vendor()
    monkeypatch.setenv(
        "ATRION_LICENSE_KEYRING", str(vendor.write_keyring(tmp_path / "keyring.json", "revoked"))
    )
    monkeypatch.delenv("ATRION_LICENSE_KEY", raising=False)
    return vendor


@contextmanager
def studio(license: str | None) -> Iterator[str]:
    """The URL of the Studio of an engine with a provider that needs a licence; no store is asked."""
    provider = RedisClusterProvider({"url": "redis://localhost"}, license=license)
    engine = Atrion(provider=provider)
    with engine.flow("search"):
        pass
    with changeable(engine) as url:
        yield url


@contextmanager
def changeable(engine: Atrion) -> Iterator[str]:
    """The URL of a Studio that allows changes."""
    with mounted(AtrionStudio(engine, allow_changes=True)) as url:
        yield f"{url}/studio"


@pytest.mark.parametrize(
    "state, read_only, says",
    [
        ("evaluation", False, "without a licence key"),
        ("active", False, "is valid until"),
        ("expiring", False, "sharing goes on afterwards"),
        ("grace", False, "days Studio becomes read-only"),
        ("lapsed", True, "Studio is read-only"),
        ("revoked", True, "revoked by the vendor"),
    ],
)
def test_a_licence_is_told_and_only_after_its_grace_period_the_studio_is_read_only(
    vendor: Vendor, state: str, read_only: bool, says: str
) -> None:
    keys = {
        "evaluation": None,
        "active": vendor.issue(),
        "expiring": vendor.ended(-10),
        "grace": vendor.ended(11),
        "lapsed": vendor.ended(32),
        "revoked": vendor.issue(id="revoked"),
    }
    with studio(keys[state]) as url:
        told = httpx.get(f"{url}/api/snapshot").json()["cluster"]["licence"]
        answer = httpx.post(
            f"{url}/api/changes", json=CHANGE, headers={"origin": url.removesuffix("/studio")}
        )
        changes = httpx.get(f"{url}/api/changes").json()["changes"]
    assert told["state"] == state
    assert says in told["detail"]
    assert told["read_only"] is read_only
    assert answer.status_code == (403 if read_only else 200)
    assert (says in answer.text) is read_only
    assert len(changes) == (0 if read_only else 1)


@pytest.mark.parametrize("kind", ["provider", "persistence"])
def test_with_a_lapsed_licence_no_change_is_made_whoever_may_make_changes(
    vendor: Vendor, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    key = vendor.ended(32)
    store: Any = (
        RedisClusterProvider({"url": "redis://localhost"}, license=key)
        if kind == "provider"
        else PostgresPersistenceAdapter("postgresql://localhost/shop", license=key)
    )
    clock = VirtualClock()
    engine = Atrion(clock=clock, **{kind: store})
    for _ in range(20):
        clock.advance(0.1)
        engine.update_physics("search", Telemetry(error_rate=1.0))
    before = engine.routes["search"].settings, engine.snapshot()["search"].scar_tissue
    assert before[1] > 0.0
    wanted = [
        CHANGE,
        {"route": "search", "setting": "latency", "value": 0.2},
        {"route": "search", "setting": "error_rate", "value": 0.1},
        {"route": "search", "setting": "enforce", "value": False},
        {"route": "search", "setting": "reset"},
    ]
    with changeable(engine) as url:
        assert httpx.get(f"{url}/api/meta").json()["changes"] is True
        assert httpx.get(f"{url}/api/snapshot").json()["cluster"]["licence"]["read_only"] is True
        headers = {"origin": url.removesuffix("/studio")}
        answers = [httpx.post(f"{url}/api/changes", json=each, headers=headers) for each in wanted]
        made = httpx.get(f"{url}/api/changes").json()["changes"]
    assert [answer.status_code for answer in answers] == [403] * len(wanted)
    assert all("Studio is read-only" in answer.json()["error"] for answer in answers)
    assert made == []
    assert (engine.routes["search"].settings, engine.snapshot()["search"].scar_tissue) == before
    assert not [line for line in caplog.records if line.name == "atrion.studio.audit"]


def test_nothing_that_is_served_has_the_key(vendor: Vendor) -> None:
    key = vendor.issue(id="secret")
    with studio(key) as url:
        pages = [httpx.get(f"{url}/{path}") for path in SHOWN]
        with httpx.stream("GET", f"{url}/api/events", timeout=30) as events:
            said = next(line for line in events.iter_lines() if line.startswith("data: "))
    assert [page.status_code for page in pages] == [200] * len(SHOWN)
    said += "".join(page.text for page in pages)
    assert "Example GmbH" in said
    assert not any(part in said for part in key.split("."))
