"""Logins and TLS: what a user needs, and what is said of a wrong one."""

from __future__ import annotations

import asyncio

import pytest

from atrion.errors import ProviderError
from atrion.state import ClusterScar
from benchmarks.stores.redis_server import RedisServer, tls_server
from store_rows import Provide, row

ACL = [
    "reset", "on", ">s3cret", "~{NAMESPACE:*", "&NAMESPACE:*", "-@all", "+fcall", "+function|load", "+ping",
    "+subscribe", "+unsubscribe", "+publish", "+time", "+select", "+del", "+exists", "+expire", "+pexpire",
    "+hmget", "+hget", "+hset", "+hdel", "+hlen", "+hscan", "+hrandfield", "+zadd", "+zrem", "+zrange", "+zscore",
    "+zrangebyscore", "+zremrangebyscore",
]  # fmt: skip


def test_the_least_that_an_acl_user_needs(own_server: RedisServer, provide: Provide, namespace: str) -> None:
    own_server.do("ACL", "SETUSER", "app", *(rule.replace("NAMESPACE", namespace) for rule in ACL))
    url = own_server.url.replace("//", "//app:s3cret@")

    async def main() -> None:
        a, b = provide(url), provide(url)
        await asyncio.gather(a.connect(), b.connect())
        heard: asyncio.Queue[str] = asyncio.Queue()
        b.listen("b", lambda route, _: heard.put_nowait(route))
        b.subscribe("v", lambda vector: heard.put_nowait("v"))
        await a.exchange("a", {f"r{number}": row(50.0) for number in range(300)}, ["r0"])
        await b.exchange("b", {}, ["r0"])
        await a.exchange("a", {"r0": row(200.0)}, ["r0"])
        assert await asyncio.wait_for(heard.get(), 5.0) == "r0"
        await a.update_vector("v", row(5.0).vector)
        assert await asyncio.wait_for(heard.get(), 5.0) == "v"
        assert await b.get_vector("v") == row(5.0).vector
        assert len(await b.recall("a", 1000)) == 301
        assert sorted(await b.list_nodes()) == ["a", "b"]
        await asyncio.gather(a.disconnect(), b.disconnect())

    asyncio.run(main())
    denied = own_server.do("ACL", "LOG")
    assert [entry for entry in denied if b"client" not in str(entry).encode()] == []


@pytest.mark.parametrize(
    "login, said", [("app:wrong@", "invalid username-password"), ("", "[Aa]uthentication required|NOAUTH")]
)
def test_a_wrong_login_is_said_without_the_password(
    own_server: RedisServer, provide: Provide, login: str, said: str
) -> None:
    own_server.do("ACL", "SETUSER", "app", "on", ">s3cret", "~*", "&*", "+@all")
    own_server.do("ACL", "SETUSER", "default", "off")
    provider = provide(own_server.url.replace("//", f"//{login}"))

    async def main() -> None:
        await provider.connect()
        await provider.exchange("a", {}, ["r"])

    with pytest.raises(ProviderError, match=said) as caught:
        asyncio.run(main())
    assert "wrong@" not in str(caught.value)
    asyncio.run(provider.disconnect())


def test_tls(provide: Provide) -> None:
    with tls_server() as (port, authority):
        url = f"rediss://localhost:{port}/0"

        async def main() -> None:
            provider = provide(f"{url}?ssl_ca_certs={authority}")
            await provider.connect()
            assert await provider.exchange("a", {"r": row(5.0)}, ["r"]) == {"r": ClusterScar(0.0, 0.0)}
            await provider.disconnect()
            stranger = provide(url)
            with pytest.raises(ProviderError, match="certificate verify failed"):
                await stranger.connect()
            await stranger.disconnect()
            other_name = provide(f"rediss://127.0.0.2:{port}?ssl_ca_certs={authority}")
            with pytest.raises(ProviderError):
                await other_name.connect()
            await other_name.disconnect()

        asyncio.run(main())
