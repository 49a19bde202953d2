"""``atrion doctor`` on a real server, well and broken."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any

import pytest

from atrion.cli import main
from atrion_cluster import PostgresPersistenceAdapter


def told(capsys: pytest.CaptureFixture[str], url: str) -> tuple[int, dict[str, dict[str, str]]]:
    status = main(["doctor", url, "--json"])
    text = capsys.readouterr().out
    assert "s3cret-of-the-tests" not in text
    assert "apps-secret" not in text
    found = json.loads(text)["findings"]
    assert (status == 0) == all(finding["level"] != "bad" for finding in found)
    return status, {finding["check"]: finding for finding in found}


def make_tables(server: Any) -> None:
    async def migrate() -> None:
        owner = PostgresPersistenceAdapter(server.url())
        await owner.connect()
        await owner.disconnect()

    asyncio.run(migrate())


def test_a_server_that_works_is_well(server: Any, capsys: pytest.CaptureFixture[str]) -> None:
    status, found = told(capsys, server.url(namespace="doctor"))
    assert status == 0
    assert found["version"]["detail"].startswith("PostgreSQL ")
    assert "migration 2 of 2" in found["tables"]["detail"]
    assert "median" in found["round trip"]["detail"]
    assert found["clock"]["level"] == "good"
    assert found["permissions"]["level"] == "good"


@pytest.mark.parametrize(
    "change, words, cure",
    [
        ({"password": "wrong-one"}, "password authentication failed", "check user and password"),
        ({"port": 1}, "refused", "is the server running"),
        ({"database": "nobody_made_it"}, "does not exist", "create it"),
        ({"sslmode": "require"}, "SSL", "check sslmode"),
    ],
)
def test_what_cannot_be_reached_says_why(
    server: Any, capsys: pytest.CaptureFixture[str], change: dict[str, Any], words: str, cure: str
) -> None:
    status, found = told(capsys, server.url(**change))
    assert status == 1
    assert words in found["reachable"]["detail"]
    assert cure in found["reachable"]["cure"]


def test_a_hung_server_says_so(own_server: Any, capsys: pytest.CaptureFixture[str]) -> None:
    own_server.signal(signal.SIGSTOP)
    status, found = told(capsys, own_server.url(deadline=0.2))
    assert status == 1
    assert "the server hangs" in found["reachable"]["cure"]


def test_a_role_without_tables_or_rights_is_told_what_to_grant(
    own_server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    url = own_server.url(user="app", password="apps-secret")
    own_server.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    status, found = told(capsys, url)
    assert status == 1
    assert "GRANT CREATE ON SCHEMA public TO app" in found["tables"]["cure"]
    make_tables(own_server)
    own_server.execute("GRANT SELECT ON atrion_vector, atrion_history, atrion_migration TO app")
    status, found = told(capsys, url)
    assert status == 1
    cure = found["permissions"]["cure"]
    for grant in cure.split("; "):
        own_server.execute(grant)
    assert told(capsys, url)[0] == 0


def test_a_read_only_server_is_bad(own_server: Any, capsys: pytest.CaptureFixture[str]) -> None:
    make_tables(own_server)
    own_server.execute("GRANT ALL ON atrion_vector, atrion_history, atrion_migration TO app")
    own_server.execute("ALTER ROLE app SET default_transaction_read_only = on")
    status, found = told(capsys, own_server.url(user="app", password="apps-secret"))
    assert status == 1
    assert "read-only" in found["writable"]["detail"]


def test_a_database_in_another_encoding_is_bad(own_server: Any, capsys: pytest.CaptureFixture[str]) -> None:
    own_server.execute("DROP DATABASE IF EXISTS latin", database="postgres")
    own_server.execute(
        "CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
        database="postgres",
    )
    status, found = told(capsys, own_server.url(database="latin"))
    assert status == 1
    assert "UTF8" in found["encoding"]["cure"]
