"""Settings of the provider, from its constructor and from URLs, and what is refused."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from atrion import Atrion, ConfigurationError
from atrion.state import Batch, ClusterSync, Inspect, Recall
from atrion_cluster import RedisClusterProvider
from atrion_cluster.redis.settings import RedisSettings, settings_from, settings_from_url

URL = "redis://localhost:6379/0"


def test_the_constructor_of_the_rfc() -> None:
    provider = RedisClusterProvider(
        redis={"url": URL}, sync={"interval": 0.05, "channel": "atrion:sync"}, gamma=0.4
    )
    assert (provider.interval, provider.gamma) == (0.05, 0.4)
    for ability in (Batch, ClusterSync, Inspect, Recall):
        assert isinstance(provider, ability)


def test_an_engine_takes_a_url_and_the_interval_and_gamma_in_it() -> None:
    engine = Atrion(
        provider="redis://localhost:6379/3?namespace=shop&gamma=0.7&interval=0.25&channel=shop:news"
    )
    assert isinstance(engine.state.provider, RedisClusterProvider)
    assert (engine.state.provider.interval, engine.state.provider.gamma) == (0.25, 0.7)


@pytest.mark.parametrize(
    "url, topology, addresses, service, tls",
    [
        ("redis://h", "standalone", (("h", 6379),), "", False),
        ("redis://", "standalone", (("localhost", 6379),), "", False),
        ("rediss://[::1]:7000/2", "standalone", (("::1", 7000),), "", True),
        ("redis+sentinel://a,b:2/main/1", "sentinel", (("a", 26379), ("b", 2)), "main", False),
        ("rediss+cluster://a:1,b:2,c", "cluster", (("a", 1), ("b", 2), ("c", 6379)), "", True),
    ],
)
def test_urls(url: str, topology: str, addresses: tuple[Any, ...], service: str, tls: bool) -> None:
    found = settings_from_url(url)
    assert (found.topology, found.addresses, found.service, found.tls) == (topology, addresses, service, tls)


def test_logins_are_unquoted_and_shown_nowhere() -> None:
    found = settings_from_url("redis+sentinel://me:p%40ss%2F1@h/main?sentinel_password=hush")
    assert (found.username, found.password, found.sentinel_password) == ("me", "p@ss/1", "hush")
    assert found.credentials(sentinel=False) == {"username": "me", "password": "p@ss/1", "db": 0}
    assert found.credentials(sentinel=True) == {"username": None, "password": "hush"}
    for text in (repr(found), repr(RedisClusterProvider({"url": URL, "password": "p@ss"}))):
        assert "p@ss" not in text
        assert "hush" not in text


@pytest.mark.parametrize(
    "url, field",
    [
        ("http://h", "redis.url"),
        ("redis://h:port", "redis.url"),
        ("redis://h:0", "redis.url"),
        ("redis://h:70000", "redis.url"),
        ("redis://h/zero", "redis.url"),
        ("redis://h/1/2", "redis.url"),
        ("redis://[::1", "redis.url"),
        ("redis://a,b", "redis.url"),
        ("redis+sentinel://a", "redis.url"),
        ("redis://h?colour=red", "redis.url"),
        ("redis://h?gamma=0.1&gamma=0.2", "redis.url"),
        ("redis://h?gamma", "redis.url"),
        ("redis://h?gamma=2", "gamma"),
        ("redis://h?gamma=much", "gamma"),
        ("redis://h?interval=0", "sync.interval"),
        ("redis://h?interval=nan", "sync.interval"),
        ("redis://h?channel=a%20b", "sync.channel"),
        ("redis://h?namespace=a:b", "namespace"),
        ("redis://h?namespace=", "namespace"),
        ("redis://h?timeout=0", "redis.timeout"),
        ("redis://h?shards=2", "redis.shards"),
        ("redis+cluster://h?shards=0", "redis.shards"),
        ("redis+cluster://h/1", "redis.db"),
        ("redis://h/99999999999", "redis.db"),
        ("redis://h?ssl_ca_certs=/ca.pem", "redis.ssl_ca_certs"),
        ("rediss://h?ssl_cert_reqs=perhaps", "redis.ssl_cert_reqs"),
        ("rediss://h?ssl_check_hostname=perhaps", "redis.ssl_check_hostname"),
    ],
)
def test_what_is_wrong_in_a_url_is_named(url: str, field: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        settings_from_url(url)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "redis, sync, options, field",
    [
        ({}, None, {}, "redis"),
        ("redis://h", None, {}, "redis"),
        ({"url": 5}, None, {}, "redis"),
        ({"url": URL, "colour": "red"}, None, {}, "redis"),
        ({"url": URL + "?gamma=0.1"}, None, {}, "redis.url"),
        ({"url": URL, "password": 5}, None, {}, "redis.password"),
        ({"url": URL, "db": True}, None, {}, "redis.db"),
        ({"url": URL}, {"speed": 1}, {}, "sync"),
        ({"url": URL}, "fast", {}, "sync"),
        ({"url": URL}, {"interval": -1.0}, {}, "sync.interval"),
        ({"url": URL}, {"interval": "0.1"}, {}, None),
        ({"url": URL}, {"channel": 5}, {}, "sync.channel"),
        ({"url": URL}, None, {"gamma": float("nan")}, "gamma"),
        ({"url": URL}, None, {"gamma": "0.3"}, "gamma"),
        ({"url": URL}, None, {"namespace": 5}, "namespace"),
        ({"url": "rediss://h", "ssl_ca_certs": 5}, None, {}, "redis.ssl_ca_certs"),
        (
            {"url": "rediss://h", "ssl_ca_certs": "/no/such.pem"},
            None,
            {},
            "redis.ssl_ca_certs or ssl_certfile",
        ),
    ],
)
def test_what_is_wrong_in_the_constructor_is_named(
    redis: Any, sync: Any, options: dict[str, Any], field: str | None
) -> None:
    if field is None:
        RedisClusterProvider(redis, sync, **options)
        return
    with pytest.raises(ConfigurationError) as caught:
        RedisClusterProvider(redis, sync, **options)
    assert caught.value.field == field
    assert "None" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:s3cret/x@h",
        "redis://:s3cret?x@h",
        "redis://:s3cret#x@h",
        "redis://me:s3cret@h:port",
        "redis://me:s3cret@h/zero",
        "redis://:s3cret@h?colour=red",
        "redis://me:s3cret@[::1",
        "redis+sentinel://h?sentinel_password=s3cret",
        "redis://h?sentinel_password=s3cret&gamma=7",
    ],
)
def test_no_error_shows_a_password(url: str, caplog: pytest.LogCaptureFixture) -> None:
    for read in (settings_from_url, lambda url: Atrion(provider=url)):
        with caplog.at_level(logging.DEBUG), pytest.raises(ConfigurationError) as caught:
            read(url)
        assert "s3cret" not in str(caught.value) + caplog.text


def test_a_dictionary_wins_over_the_url() -> None:
    found: RedisSettings = settings_from({"url": "redis://a:b@h/1", "password": "c", "db": 2}, None, 0.3, "n")
    assert (found.username, found.password, found.db, found.channel) == ("a", "c", 2, "n:sync")


def test_an_engine_starts_without_its_server(caplog: pytest.LogCaptureFixture) -> None:
    engine = Atrion(provider="redis://127.0.0.1:1/0", interval=0.01)

    async def main() -> None:
        async with engine:
            for _ in range(20):
                async with engine.flow("r"):
                    await asyncio.sleep(0.01)

    with caplog.at_level(logging.WARNING, "atrion"):
        asyncio.run(main())
    assert len(caplog.records) == 1
    assert "127.0.0.1:1" in caplog.text


def test_an_unreadable_url_of_an_engine_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="gamma"):
        Atrion(provider="redis://localhost?gamma=3")
