"""Diagnosis of the server, for ``atrion doctor``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

from atrion.errors import ProviderError
from atrion.state import Finding
from atrion_cluster.postgres.driver import Connection
from atrion_cluster.postgres.pool import READ_ONLY, ConnectionPool
from atrion_cluster.postgres.schema import OLDEST_SERVER, last_migration, read_status
from atrion_cluster.postgres.settings import PostgresSettings
from atrion_cluster.postgres.statements import migrations, statement

__all__ = ["diagnose"]

CURES = {
    "password authentication failed": "check user and password in the URL",
    "no password supplied": "give the password in the URL, or in PGPASSWORD or a password file",
    "no pg_hba.conf entry": "let this host and user in, in the server's pg_hba.conf",
    "does not exist": "create it, or name another: createdb, createuser",
    "Connection refused": "is the server running, and are host and port right?",
    "resolve": "check the host's name, and the DNS of this machine",
    "translate host name": "check the host's name, and the DNS of this machine",
    "Name or service not known": "check the host's name, and the DNS of this machine",
    "does not answer": "the server hangs, is overloaded, or a firewall swallows the packets",
    "SSL": "check sslmode and the certificates in the URL",
    "too many": "raise max_connections, or let fewer processes in",
    "remaining connection slots": "raise max_connections, or let fewer processes in",
    "starting up": "wait until the server has recovered",
    "shutting down": "start the server again",
    "permission denied": "GRANT CONNECT ON DATABASE … TO this role",
}
CLOCK_NOTE = 1.0
"""Seconds between this machine's clock and the server's from which there is a note."""


class _Look(NamedTuple):
    version: str
    version_number: int
    read_only: bool
    role: str
    schema: str
    encoding: str
    clock: float
    migrated: bool
    may_create: bool
    lacking: list[str]
    connections: int
    max_connections: int
    here: float
    migration: int


async def diagnose(settings: PostgresSettings) -> list[Finding]:
    """Check the server on a separate connection."""
    pool = ConnectionPool(settings)
    try:
        look = await pool.run(_look)
    except ProviderError as error:
        text = str(error)
        cure = next((cure for sign, cure in CURES.items() if sign in text), "the server's log may say more")
        return [Finding("reachable", "bad", text, cure)]
    finally:
        pool.close()
    return [*_server(look), *_rights(look), *_tables(look)]


async def _look(connection: Connection) -> _Look:
    began = time.time()
    row = await (await connection.execute(statement("diagnostics"))).fetchone()
    here = (began + time.time()) / 2.0
    assert row is not None
    return _Look._make((*row, here, await last_migration(connection, await read_status(connection))))


def _server(look: _Look) -> Iterator[Finding]:
    if look.version_number < OLDEST_SERVER:
        yield Finding("version", "bad", f"PostgreSQL {look.version}", "PostgreSQL 13 or newer is needed")
    else:
        yield Finding("version", "good", f"PostgreSQL {look.version}")
    if look.read_only:
        yield Finding("writable", "bad", READ_ONLY, "or: ALTER ROLE … RESET default_transaction_read_only")
    offset = look.clock - look.here
    text = (
        f"the server's clock is {abs(offset):.3f} s {'ahead of' if offset > 0 else 'behind'} this machine's"
    )
    if abs(offset) > CLOCK_NOTE:
        yield Finding(
            "clock", "note", text, "harmless, ages come from the server alone; but do synchronise them"
        )
    else:
        yield Finding("clock", "good", text)
    if look.encoding != "UTF8":
        cure = "createdb --encoding UTF8 --template template0"
        yield Finding("encoding", "bad", f"the database is encoded in {look.encoding}", cure)
    text = f"{look.connections} of {look.max_connections} connections are in use; a process takes up to three"
    if look.connections > 0.8 * look.max_connections:
        yield Finding(
            "connections", "note", text, "raise max_connections, or put a pooler in session mode before it"
        )
    else:
        yield Finding("connections", "good", text)


def _rights(look: _Look) -> Iterator[Finding]:
    if look.lacking:
        cure = "; ".join(f"GRANT {right} TO {look.role}" for right in look.lacking)
        yield Finding("permissions", "bad", f"the role {look.role} lacks {', '.join(look.lacking)}", cure)
    if not look.schema:
        cure = f"ALTER ROLE {look.role} SET search_path = …"
        yield Finding("schema", "bad", f"no schema in the search path of {look.role} exists", cure)


def _tables(look: _Look) -> Iterator[Finding]:
    newest = max(migrations())
    text = f"migration {look.migration} of {newest} in the schema {look.schema!r}"
    if look.migration >= newest:
        yield Finding("tables", "good", text)
    elif look.may_create and not look.read_only:
        yield Finding("tables", "note", text, "the rest is made on the next connect")
    else:
        cure = f"GRANT CREATE ON SCHEMA {look.schema or 'public'} TO {look.role}, or connect once as a role that may"
        yield Finding("tables", "bad", f"{text}, and {look.role} may not make the rest", cure)
