"""Diagnosis of the servers, for ``atrion doctor``."""

from __future__ import annotations

import time
from typing import Any

from redis.exceptions import ResponseError

from atrion.errors import ProviderError
from atrion.state import Finding
from atrion_cluster.redis.connection import ServerConnection, TlsContext, library
from atrion_cluster.redis.settings import RedisSettings
from atrion_cluster.redis.topology import keys_of, locate

__all__ = ["diagnose"]

CURES = {
    "invalid username-password pair": "check user and password in the URL; the default user has none of the former",
    "Authentication required": "give a password in the URL: redis://:password@host",
    "without any password configured": "leave the password out of the URL, or set one on the server",
    "Connection refused": "is the server running, and are host and port right?",
    "Connect call failed": "is the server running, and are host and port right?",
    "Name or service not known": "check the host's name, and the DNS of this machine",
    "No address associated": "check the host's name, and the DNS of this machine",
    "did not answer": "the server hangs, is overloaded, or a firewall swallows the packets",
    "no sentinel knows": "check the service's name, and that the sentinels watch it",
    "serves all slots": "redis-cli --cluster check, and --cluster fix",
    "SSL": "use rediss:// where the server speaks TLS, and name its authority in ssl_ca_certs",
    "max number of clients": "raise maxclients, or let fewer processes in",
    "protected mode": "set a password on the server, or let it listen on the loopback only",
    "LOADING": "wait until the server has loaded its data",
}
CLOCK_NOTE = 1.0
"""Seconds between this machine's clock and a server's from which there is a note."""
FULL = 0.9
"""Share of maxmemory above which a server is reported as nearly full."""
RIGHTS = (
    "ACL SETUSER … ~{<namespace>:*}:* &<channel>* +@read +@write +@pubsub +time +fcall +function|load, "
    "or load the functions once as another user"
)
OLDEST_SERVER = 7
"""Redis 7: the first with functions."""


async def diagnose(settings: RedisSettings, tls: TlsContext | None, tags: list[str]) -> list[Finding]:
    """Check every master, on separate connections."""
    try:
        places = await locate(settings, tls, tags)
    except ProviderError as error:
        return [_unreachable(error)]
    found: list[Finding] = []
    masters = list(dict.fromkeys(places))
    for place in masters:
        connection = ServerConnection(place, settings, tls)
        try:
            await connection.connect()
            look = await _Look.at(connection, keys_of(tags[places.index(place)], "doctor"))
            found += look.findings(f"{connection.where}: " if len(masters) > 1 else "")
        except ProviderError as error:
            found.append(_unreachable(error))
        finally:
            connection.close()
    return found


def _unreachable(error: ProviderError) -> Finding:
    text = str(error)
    cure = next((cure for sign, cure in CURES.items() if sign in text), "the server's log may say more")
    return Finding("reachable", "bad", text, cure)


class _Look:
    """The answers of one server."""

    def __init__(self, info: dict[str, str], loaded: Any, called: Any, offset: float | None) -> None:
        self.info = info
        self.loaded = loaded
        self.called = called
        self.offset = offset

    @classmethod
    async def at(cls, connection: ServerConnection, keys: list[bytes]) -> _Look:
        """Ask one server."""
        began = time.time()
        clock = (await connection.ask(("TIME",)))[0]
        here = (began + time.time()) / 2.0
        offset = None
        if isinstance(clock, list) and len(clock) == 2:
            offset = float(clock[0]) + float(clock[1]) / 1e6 - here
        told, loaded = await connection.ask(("INFO",), ("FUNCTION", "LOAD", library()[0]))
        called: Any = None
        try:
            await connection.call("vector", keys, ("doctor", b"atrion/doctor"))
        except ProviderError as error:
            called = error
        return cls(_info(told), loaded, called, offset)

    def findings(self, where: str) -> list[Finding]:
        """Findings from the answers."""
        return [finding for part in (self._server(where), self._functions(where)) for finding in part]

    def _server(self, where: str) -> list[Finding]:
        info = self.info
        if not info:
            cure = "ACL SETUSER … +info, if more than the sharing itself is to be looked at"
            return [Finding("server", "note", f"{where}this user may not ask the server about itself", cure)]
        name = "Valkey" if "valkey_version" in info else "Redis"
        version = info.get("valkey_version") or info.get("redis_version", "of unknown version")
        number = info.get("redis_version", "0").partition(".")[0]
        old = number.isdecimal() and int(number) < OLDEST_SERVER
        cure = "Redis 7 or Valkey is needed, for functions" if old else ""
        found = [Finding("version", "bad" if old else "good", f"{where}{name} {version}", cure)]
        if info.get("role") == "slave":
            cure = "name the primary, or let Sentinel or Redis Cluster name it: redis+sentinel://…, redis+cluster://…"
            found.append(Finding("role", "bad", f"{where}this is a replica, which takes no writes", cure))
        return found + self._memory(where) + self._clock(where)

    def _memory(self, where: str) -> list[Finding]:
        used, most = (_number(self.info.get(name)) for name in ("used_memory", "maxmemory"))
        policy = self.info.get("maxmemory_policy", "")
        if most <= 0.0:
            return [Finding("memory", "good", f"{where}{used / 2**20:.1f} MiB in use, no limit set")]
        text = f"{where}{used / 2**20:.1f} of {most / 2**20:.1f} MiB in use, {policy}"
        if used >= most and policy == "noeviction":
            return [
                Finding(
                    "memory", "bad", text, "it is full and takes no writes: raise maxmemory, or delete keys"
                )
            ]
        if used > FULL * most:
            return [
                Finding(
                    "memory", "note", text, "it is nearly full: raise maxmemory before writes are refused"
                )
            ]
        return [Finding("memory", "good", text)]

    def _clock(self, where: str) -> list[Finding]:
        if self.offset is None:
            return []
        side = "ahead of" if self.offset > 0 else "behind"
        text = f"{where}the server's clock is {abs(self.offset):.3f} s {side} this machine's"
        if abs(self.offset) <= CLOCK_NOTE:
            return [Finding("clock", "good", text)]
        cure = "harmless, ages come from the server alone; but do synchronise them"
        return [Finding("clock", "note", text, cure)]

    def _functions(self, where: str) -> list[Finding]:
        refused = isinstance(self.loaded, ResponseError) and "already exists" not in str(self.loaded)
        if self.called is None:
            text = "this user may not load them, but somebody has" if refused else "loaded, and they answer"
            return [Finding("functions", "good", f"{where}{text}")]
        said = str(self.loaded) if refused else str(self.called)
        if "NOPERM" in said or "no permissions" in said.lower():
            cure = RIGHTS
        elif "unknown command" in said.lower():
            cure = "functions need Redis 7 or Valkey, and must not be renamed away"
        elif "READONLY" in said:
            cure = "name the primary, not a replica"
        elif "OOM" in said:
            cure = "raise maxmemory, or delete keys"
        else:
            cure = "the server's log may say more"
        return [Finding("functions", "bad", f"{where}{said}", cure)]


def _info(told: Any) -> dict[str, str]:
    """The lines of ``INFO``; empty if it was refused."""
    text = told.decode("utf-8", "replace") if isinstance(told, bytes) else ""
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def _number(text: str | None) -> float:
    return float(text) if text is not None and text.isdecimal() else 0.0
