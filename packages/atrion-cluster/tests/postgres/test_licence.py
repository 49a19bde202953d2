from __future__ import annotations

import asyncio

import pytest

from atrion.errors import ConfigurationError, ProviderError
from atrion.state import PhysicsVector
from atrion_cluster.licence import LicenseState
from atrion_cluster.postgres import PostgresPersistenceAdapter
from benchmarks.stores.postgres_server import PostgresServer
from licence_vendor import Vendor

VECTOR = PhysicsVector(50.0, 1.0, 40.0, 7.0)


def test_a_bad_key_is_an_error_when_the_adapter_is_made(
    vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match="license"):
        PostgresPersistenceAdapter("postgresql://localhost/app", license=vendor.issue()[:-4])
    monkeypatch.setenv("ATRION_LICENSE_KEY", "atrion_ent_x")
    with pytest.raises(ConfigurationError, match="license"):
        PostgresPersistenceAdapter.from_url("postgresql://localhost/app")


def test_namespaces_that_keep_vectors_are_counted(own_server: PostgresServer, vendor: Vendor) -> None:
    async def main() -> None:
        text = vendor.issue(tier="starter", limit=2, id="counted")
        for number in range(3):
            adapter = PostgresPersistenceAdapter(own_server.url(), namespace=f"n{number}", license=text)
            await adapter.connect()
            await adapter.update_vectors({f"route/{each}": VECTOR for each in range(20)})
            await adapter.disconnect()
            await adapter.connect()
            assert adapter.license_status().clusters == number + 1
            assert adapter.license_status().over_limit == (number == 2)
            assert await adapter.get_vector("route/3") == VECTOR
            await adapter.disconnect()
        # What was kept longer ago than a week is no cluster in use.
        own_server.execute(
            "UPDATE atrion_vector SET kept_at = kept_at - interval '8 days' WHERE namespace <> 'n0'"
        )
        adapter = PostgresPersistenceAdapter(own_server.url(), namespace="n0", license=text)
        await adapter.connect()
        assert adapter.license_status().clusters == 1
        await adapter.disconnect()

    asyncio.run(main())


def test_after_the_grace_period_known_namespaces_are_kept_and_new_ones_are_not_made(
    own_server: PostgresServer, vendor: Vendor
) -> None:
    lapsed = vendor.ended(40, id="lapsed-postgres")

    async def main() -> None:
        valid = PostgresPersistenceAdapter(own_server.url(), namespace="shop")
        await valid.connect()
        await valid.update_vector("r", VECTOR)
        await valid.disconnect()

        restarted = PostgresPersistenceAdapter(own_server.url(), namespace="shop", license=lapsed)
        await restarted.connect()
        assert restarted.license_status().state is LicenseState.LAPSED
        assert await restarted.get_vector("r") == VECTOR
        await restarted.update_vector("r", VECTOR)

        new = PostgresPersistenceAdapter(own_server.url(), namespace="another", license=lapsed)
        with pytest.raises(ProviderError, match="'another' is new"):
            await new.connect()
        graced = PostgresPersistenceAdapter(
            own_server.url(), namespace="another", license=vendor.ended(5, id="graced-postgres")
        )
        await graced.connect()
        await graced.update_vector("r", VECTOR)

        # It is running: it goes on also when all that was kept is gone.
        own_server.execute("TRUNCATE atrion_vector")
        await restarted.disconnect()
        await restarted.connect()
        await restarted.update_vector("r", VECTOR)
        for adapter in (restarted, new, graced):
            await adapter.disconnect()

    asyncio.run(main())


def test_a_role_that_may_not_count_is_served(own_server: PostgresServer, vendor: Vendor) -> None:
    async def main() -> None:
        owner = PostgresPersistenceAdapter(own_server.url())
        await owner.connect()
        await owner.disconnect()
        own_server.execute("GRANT INSERT, UPDATE ON atrion_vector TO app")
        own_server.execute("GRANT SELECT ON atrion_migration TO app")
        url = own_server.url(user="app", password="apps-secret")
        adapter = PostgresPersistenceAdapter(url, license=vendor.ended(90, id="narrow-postgres"))
        await adapter.connect()
        assert adapter.license_status().clusters is None
        await adapter.disconnect()

    asyncio.run(main())
