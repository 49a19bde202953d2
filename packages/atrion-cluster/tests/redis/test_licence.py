from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from atrion.errors import ConfigurationError, ProviderError
from atrion_cluster.licence import LicenseState
from atrion_cluster.redis import RedisClusterProvider
from benchmarks.stores.redis_server import RedisCluster, RedisServer
from licence_vendor import Vendor
from store_rows import Provide, row


async def counted(provider: RedisClusterProvider, clusters: int) -> None:
    """Waits until the provider has counted at least this many namespaces."""
    async with asyncio.timeout(10.0):
        while (provider.license_status().clusters or 0) < clusters:  # noqa: ASYNC110  # nothing else would tell
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    "damage", [lambda text: text[:-1], lambda text: text[:-9] + "AAAAAAAAA", lambda _: "atrion_pro_x"]
)
def test_a_bad_key_is_an_error_when_the_provider_is_made(
    vendor: Vendor, damage: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = damage(vendor.issue())
    with pytest.raises(ConfigurationError, match="license"):
        RedisClusterProvider({"url": "redis://localhost"}, license=text)
    monkeypatch.setenv("ATRION_LICENSE_KEY", text)
    for make in (
        lambda: RedisClusterProvider({"url": "redis://localhost"}),
        lambda: RedisClusterProvider.from_url("redis://localhost"),
    ):
        with pytest.raises(ConfigurationError, match="license") as caught:
            make()
        assert text not in str(caught.value)


def test_a_key_that_is_not_yet_valid_is_an_error_when_the_provider_is_made(vendor: Vendor) -> None:
    with pytest.raises(ConfigurationError, match="not valid before 2999-01-01"):
        RedisClusterProvider(
            {"url": "redis://localhost"}, license=vendor.issue(not_before="2999-01-01", expires="2999-12-31")
        )


def test_an_unusable_keyring_is_an_error_when_the_provider_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATRION_LICENSE_KEYRING", "/nowhere/keyring.json")
    with pytest.raises(ConfigurationError, match="ATRION_LICENSE_KEYRING"):
        RedisClusterProvider({"url": "redis://localhost"})


def test_without_a_key_all_works_with_one_notice(
    provide: Provide,
    own_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("ATRION_LICENSE_KEY", " ")

    async def main() -> None:
        for name in ("a", "b"):
            provider = provide(own_server.url, namespace=name)
            await provider.connect()
            await provider.exchange("n", {"r": row(40.0)}, ["r"])
            await counted(provider, 1 if name == "a" else 2)
            assert provider.license_status().state is LicenseState.EVALUATION
            await provider.disconnect()

    with caplog.at_level(logging.INFO, "atrion"):
        asyncio.run(main())
    assert sum("Evaluation" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize("server", ["own_server", "redis_cluster"])
def test_more_namespaces_than_the_limit_are_warned_of_and_served(
    provide: Provide,
    vendor: Vendor,
    server: str,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store: RedisServer | RedisCluster = request.getfixturevalue(server)
    text = vendor.issue(tier="starter", limit=1, id=f"over-{server}")

    async def main() -> None:
        for number in range(3):
            provider = provide(store.url, namespace=f"over{number}", license=text)
            await provider.connect()
            await provider.exchange("n", {"r": row(40.0)}, ["r"])
            await counted(provider, number + 1)
            assert await provider.get_vector("r") is not None
            await provider.disconnect()
            if number:
                assert provider.license_status().over_limit

    with caplog.at_level(logging.INFO, "atrion"):
        asyncio.run(main())
    warnings = [record for record in caplog.records if "clusters share this store" in record.getMessage()]
    assert len(warnings) == 1
    assert text not in caplog.text


def test_an_expired_licence_shares_on_in_running_and_restarted_deployments_but_starts_no_new_one(
    provide: Provide, vendor: Vendor, own_server: RedisServer
) -> None:
    lapsed = vendor.ended(40, id="lapsed")

    async def main() -> None:
        valid = provide(own_server.url, namespace="shop")
        await valid.connect()
        await valid.exchange("n", {"r": row(40.0)}, ["r"])
        await counted(valid, 1)
        await valid.disconnect()

        restarted = provide(own_server.url, namespace="shop", license=lapsed)
        await restarted.connect()
        assert restarted.license_status().state is LicenseState.LAPSED
        assert "r" in await restarted.exchange("m", {}, ["r"])
        await restarted.exchange("m", {"q": row(30.0)}, ["q", "r"])

        new = provide(own_server.url, namespace="another", license=lapsed)
        for attempt in (new.connect, lambda: new.exchange("n", {"r": row(40.0)}, ["r"])):
            with pytest.raises(ProviderError, match="'another' is new"):
                await attempt()

        # Within the grace period a new one is still made, and it stays.
        graced = provide(own_server.url, namespace="third", license=vendor.ended(5, id="graced"))
        await graced.connect()
        await graced.exchange("n", {"r": row(40.0)}, ["r"])
        assert graced.license_status().state is LicenseState.GRACE
        await counted(graced, 2)
        after = provide(own_server.url, namespace="third", license=lapsed)
        await after.connect()
        await asyncio.gather(*(each.disconnect() for each in (restarted, new, graced, after)))

    asyncio.run(main())


def test_a_namespace_older_than_the_list_of_namespaces_is_not_new(
    provide: Provide, vendor: Vendor, own_server: RedisServer
) -> None:
    async def main() -> None:
        old = provide(own_server.url, namespace="old")
        await old.connect()
        await old.exchange("n", {"r": row(40.0)}, ["r"])
        await counted(old, 1)
        own_server.do("DEL", "{atrion}:namespaces")
        restarted = provide(own_server.url, namespace="old", license=vendor.ended(90, id="old"))
        await restarted.connect()
        # It is running: not even an empty store stops it now.
        own_server.do("FLUSHALL")
        await restarted.exchange("n", {"r": row(40.0)}, ["r"])
        await asyncio.gather(old.disconnect(), restarted.disconnect())

    asyncio.run(main())


def test_a_user_who_may_not_count_shares_all_the_same(
    provide: Provide, vendor: Vendor, own_server: RedisServer
) -> None:
    own_server.do("ACL", "SETUSER", "app", "on", ">secret", "~{narrow:*", "&*", "+@all")
    url = own_server.url.replace("redis://", "redis://app:secret@")

    async def main() -> None:
        provider = provide(url, namespace="narrow", license=vendor.ended(90, id="narrow"))
        await provider.connect()
        await provider.exchange("n", {"r": row(40.0)}, ["r"])
        assert provider.license_status().clusters is None
        await provider.disconnect()

    asyncio.run(main())


def test_a_revoked_licence_serves_on(
    provide: Provide, vendor: Vendor, own_server: RedisServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    async def main() -> None:
        before = provide(own_server.url, namespace="shop")
        await before.connect()
        await before.exchange("n", {"r": row(40.0)}, ["r"])
        await counted(before, 1)
        monkeypatch.setenv(
            "ATRION_LICENSE_KEYRING", str(vendor.write_keyring(tmp_path / "keyring.json", "gone"))
        )
        restarted = provide(own_server.url, namespace="shop", license=vendor.issue(id="gone"))
        await restarted.connect()
        await restarted.exchange("m", {"r": row(40.0)}, ["r"])
        assert restarted.license_status().state is LicenseState.REVOKED
        assert restarted.license_status().read_only
        await asyncio.gather(before.disconnect(), restarted.disconnect())

    asyncio.run(main())
