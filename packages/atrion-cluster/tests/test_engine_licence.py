from __future__ import annotations

import asyncio
import logging
import threading
import time
import traceback
from itertools import count

import pytest

from atrion import Atrion, ConfigurationError
from atrion_cluster.licence import LicenseState, LicenseWatch, Secret
from atrion_cluster.licence.watch import LicenseClock, Notices
from atrion_cluster.redis import RedisClusterProvider
from benchmarks.stores.redis_server import RedisServer
from licence_vendor import Vendor
from packages.atrion.tests.waiting import eventually


def test_an_engine_hands_its_key_to_the_provider(vendor: Vendor) -> None:
    provider = RedisClusterProvider({"url": "redis://localhost"})
    Atrion(provider=provider, license=vendor.issue(customer="Another AG"))
    assert provider.license_status().customer == "Another AG"
    Atrion(provider=provider, license=None)
    Atrion(provider=provider, license="")
    assert provider.license_status().customer == "Another AG"


def test_an_engine_without_a_paid_provider_ignores_a_key() -> None:
    assert Atrion(license="atrion_pro_whatever").decide("r").allowed


@pytest.mark.parametrize("store", ["provider", "persistence"])
def test_an_engine_refuses_a_bad_key_when_it_is_made_and_shows_it_nowhere(vendor: Vendor, store: str) -> None:
    url = {"provider": "redis://localhost", "persistence": "postgresql://localhost/app"}[store]
    text = vendor.issue()
    text = text[:-10] + text[-10:].swapcase()
    with pytest.raises(ConfigurationError, match="does not match") as caught:
        Atrion(**{store: url}, license=text)
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    said = "".join(traceback.StackSummary.from_list(shown.stack[1:]).format()) + repr(caught.value)
    assert shown.__context__ is None
    assert text[12:60] not in said
    assert text[-40:] not in said


def test_a_provider_shows_its_key_nowhere(vendor: Vendor, caplog: pytest.LogCaptureFixture) -> None:
    text = vendor.issue()
    with caplog.at_level(logging.DEBUG):
        provider = RedisClusterProvider({"url": "redis://localhost"}, license=text)
    status = provider.license_status()
    assert text[12:60] not in f"{provider!r} {vars(provider)!r} {status!r} {status.as_dict()} {caplog.text}"


class Wall:
    """A wall clock that a test sets, and a monotonic one that runs on."""

    def __init__(self, now: float) -> None:
        self.now = now
        self._ticks = count()

    def __call__(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return float(next(self._ticks)) * 1e-6


def test_a_licence_ends_at_its_moment_and_no_clock_revives_it(
    vendor: Vendor, caplog: pytest.LogCaptureFixture
) -> None:
    text = vendor.issue(not_before="2026-01-01", expires="2026-12-31", id="clock-games")
    day, end = 86_400.0, 1_798_804_800.0  # 2027-01-01 12:00 UTC
    wall = Wall(end - 100 * day)
    clock = LicenseClock(wall, wall.monotonic)
    watch = LicenseWatch(Secret(text), clock=clock, notices=Notices())
    seen = []
    for offset in (-100.0, -31.0, -29.0, -29.0, -28.9, -27.9, 0.5, 31.0, -100.0, -2000.0, 31.9, 40.0):
        wall.now = end + offset * day
        watch.counted(1)
        seen.append(watch.status().state.value)
    assert seen == ["active", "active", *["expiring"] * 4, "grace", *["lapsed"] * 5]
    said = [record.getMessage() for record in caplog.records]
    assert sum("expires on" in line for line in said) == 2  # a day apart
    assert sum("In 29 days" in line for line in said) == 1
    assert sum("are not created" in line for line in said) == 2

    # A second provider of the process, made while the clock is back, is no better off, and none is refused for it.
    wall.now = end - 2000 * day
    assert LicenseWatch(Secret(text), clock=clock, notices=Notices()).status().state is LicenseState.LAPSED


@pytest.mark.parametrize("days, state", [(10, LicenseState.GRACE), (60, LicenseState.LAPSED)])
def test_a_licence_that_ends_under_load_refuses_and_fails_no_call(
    vendor: Vendor, days: int, state: LicenseState
) -> None:
    failures: list[BaseException] = []
    served = 0
    over = threading.Event()

    with RedisServer() as server:
        url = f"{server.url}?namespace=load"
        provider = RedisClusterProvider.from_url(url)
        with Atrion(provider=provider) as engine:
            call = engine.protect("work")(lambda: None)

            def load() -> None:
                nonlocal served
                while not over.is_set():
                    try:
                        call()
                    except Exception as error:
                        failures.append(error)
                        return
                    served += 1
                    time.sleep(0.0005)

            threads = [threading.Thread(target=load) for _ in range(3)]
            for thread in threads:
                thread.start()
            assert eventually(lambda: (provider.license_status().clusters or 0) == 1)
            provider.use_license(vendor.ended(days, id=f"load-{days}"))
            assert provider.license_status().state is state
            before = served
            assert eventually(lambda: served > before + 300)
            # A restart with the ended key serves and shares as well.
            again = RedisClusterProvider(
                {"url": server.url}, namespace="load", license=vendor.ended(days, id="restart")
            )
            with Atrion(provider=again) as restarted:
                second = restarted.protect("work")(lambda: None)
                for _ in range(200):
                    second()
                assert eventually(lambda: len(asyncio.run(nodes_of(url))) == 2)
            over.set()
            for thread in threads:
                thread.join()
    assert failures == []


async def nodes_of(url: str) -> list[str]:
    looker = RedisClusterProvider.from_url(url)
    try:
        return await looker.list_nodes()
    finally:
        await looker.disconnect()
