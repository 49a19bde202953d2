"""``atrion doctor`` on real servers, well and broken."""

from __future__ import annotations

import json

import pytest
import redis

from atrion.cli import main
from benchmarks.stores.redis_server import RedisServer, free_port


def told(capsys: pytest.CaptureFixture[str], url: str) -> tuple[int, dict[str, dict[str, str]]]:
    status = main(["doctor", url, "--json"])
    text = capsys.readouterr().out
    assert "hidden-word" not in text
    found = json.loads(text)["findings"]
    assert (status == 0) == all(finding["level"] != "bad" for finding in found)
    return status, {finding["check"]: finding for finding in found}


def test_servers_that_work_are_well(
    store_url: str, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, found = told(capsys, f"{store_url}?namespace={namespace}")
    assert status == 0
    assert found["version"]["detail"].rpartition(" ")[2][0].isdigit()
    assert found["functions"]["detail"].endswith("loaded, and they answer")
    assert found["clock"]["level"] == "good"
    assert "median" in found["round trip"]["detail"]


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    status, found = told(capsys, f"redis://127.0.0.1:{free_port()}/0")
    assert status == 1
    assert "is the server running" in found["reachable"]["cure"]


def test_a_hung_server(own_server: RedisServer, capsys: pytest.CaptureFixture[str]) -> None:
    own_server.hang()
    try:
        status, found = told(capsys, own_server.url)
    finally:
        own_server.go_on()
    assert status == 1
    assert "the server hangs" in found["reachable"]["cure"]


def test_passwords_that_are_missing_or_wrong(
    own_server: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    with redis.Redis(port=own_server.port) as client:
        client.config_set("requirepass", "the-right-one")
    status, found = told(capsys, own_server.url)
    assert status == 1
    assert "give a password" in found["reachable"]["cure"]
    status, found = told(capsys, f"redis://:hidden-word@127.0.0.1:{own_server.port}/0")
    assert status == 1
    assert "check user and password" in found["reachable"]["cure"]


def test_a_user_who_may_not_call_functions(
    own_server: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    with redis.Redis(port=own_server.port) as client:
        client.execute_command(
            "ACL", "SETUSER", "app", "on", ">hidden-word", "~*", "&*", "+@all", "-@scripting"
        )
    status, found = told(capsys, f"redis://app:hidden-word@127.0.0.1:{own_server.port}/0")
    assert status == 1
    assert "ACL SETUSER" in found["functions"]["cure"]


def test_the_rights_that_it_names_are_enough(
    own_server: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    from atrion_cluster.redis.diagnostics import RIGHTS

    rights = RIGHTS.partition(",")[0].removeprefix("ACL SETUSER … ")
    rights = rights.replace("<namespace>", "atrion").replace("<channel>", "atrion:sync")
    with redis.Redis(port=own_server.port) as client:
        client.execute_command("ACL", "SETUSER", "app", "on", ">hidden-word", *rights.split(), "+info")
    status, found = told(capsys, f"redis://app:hidden-word@127.0.0.1:{own_server.port}/0")
    assert status == 0, found


def test_a_replica_and_a_full_server(own_server: RedisServer, capsys: pytest.CaptureFixture[str]) -> None:
    with redis.Redis(port=own_server.port) as client:
        client.config_set("maxmemory", "1mb")
        client.config_set("maxmemory-policy", "noeviction")
        status, found = told(capsys, own_server.url)
        assert status == 1
        assert "raise maxmemory" in found["memory"]["cure"]
        client.config_set("maxmemory", "0")
        client.execute_command("REPLICAOF", "127.0.0.1", str(free_port()))
        status, found = told(capsys, own_server.url)
        assert status == 1
        assert "name the primary" in found["role"]["cure"]
