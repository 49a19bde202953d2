"""Which namespaces a store has: counted for the licence, once an hour and beside the pulse.

``{atrion}:namespaces`` is a sorted set of their names by when they were last heard of (seconds of the server's clock).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

from redis.exceptions import ResponseError

from atrion.errors import ProviderError
from atrion_cluster.redis.connection import ServerConnection, TlsContext
from atrion_cluster.redis.session import LoopSession
from atrion_cluster.redis.settings import Address, RedisSettings
from atrion_cluster.redis.topology import keys_of, locate

__all__ = ["KEY", "Census", "take_census"]

TAG: Final = "atrion"
KEY: Final = f"{{{TAG}}}:namespaces"
DAY: Final = 86_400
LIVE: Final = 7 * DAY
"""Seconds since the last sign of a namespace within which it counts."""
KEEP: Final = 90 * DAY
"""Seconds after which it is forgotten, and new again."""


class Census(NamedTuple):
    """What a store has; what cannot be found out is in favour of the licensee."""

    clusters: int | None = None
    new: bool = False


async def take_census(
    session: LoopSession,
    settings: RedisSettings,
    tls: TlsContext | None,
    tags: Sequence[str],
    register: bool = False,
) -> Census:
    """Count the namespaces of the last week; ``register`` puts this one among them."""
    try:
        list_at, state_at = await locate(settings, tls, [TAG, tags[0]])
        async with _connected(session, list_at, settings, tls) as connection:
            census = await _count(connection, settings.namespace, register)
        if not census.new:
            return census
        # A namespace that is not in the list may have state all the same: it may be older than the list.
        async with _connected(session, state_at, settings, tls) as connection:
            found = (await connection.ask(("EXISTS", *keys_of(tags[0], "")[:2])))[0]
        return census._replace(new=found == 0)
    except ProviderError:
        return Census()


@asynccontextmanager
async def _connected(
    session: LoopSession, address: Address, settings: RedisSettings, tls: TlsContext | None
) -> AsyncIterator[ServerConnection]:
    """The session's connection to a master, or one of its own to another, such as a master of a cluster."""
    lent = session.connection_at(address)
    connection = lent or ServerConnection(address, settings, tls)
    try:
        if lent is None:
            await connection.connect()
        yield connection
    finally:
        if lent is None:
            connection.close()


async def _count(connection: ServerConnection, namespace: str, register: bool) -> Census:
    clock, score = await connection.ask(("TIME",), ("ZSCORE", KEY, namespace))
    if not isinstance(clock, list) or isinstance(score, ResponseError):
        return Census()
    now = int(clock[0])
    commands: list[tuple[Any, ...]] = [("ZCOUNT", KEY, now - LIVE, "+inf")]
    if register:
        commands = [
            ("ZADD", KEY, now, namespace),
            ("ZREMRANGEBYSCORE", KEY, "-inf", now - KEEP),
            *commands,
        ]
    count = (await connection.ask(*commands))[-1]
    return Census(count if isinstance(count, int) else None, score is None)
