"""The provider's connections in one event loop, one per master, and the state of each node for each shard."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any
from zlib import crc32

from atrion.errors import ProviderError
from atrion.state import ClusterScar, NodeRow
from atrion_cluster.redis.codec import News, to_bytes
from atrion_cluster.redis.connection import Command, ServerConnection, TlsContext
from atrion_cluster.redis.settings import Address, RedisSettings
from atrion_cluster.redis.shard_session import ShardSession
from atrion_cluster.redis.subscriber import ChannelSubscriber
from atrion_cluster.redis.topology import keys_of, locate

__all__ = ["LoopSession"]

logger: logging.Logger = logging.getLogger("atrion")

MOST_FOLLOWED = 64
"""Maximum nodes of one provider object; the least recently active is dropped."""
MEND_SECONDS = (0.2, 2.0)
"""Seconds between attempts to reach a master that is down while others answer: initial and maximum; jittered."""


class LoopSession:
    """Connections and state of one event loop.

    Args:
        settings: Where the servers are.
        tls: What TLS trusts.
        tags: The hash tag of each shard.
        wanted: Returns the channels needed now.
        heard: Called with a channel and a message.
        missed: Called with a channel that is heard again, and the seconds it was not.
    """

    def __init__(
        self,
        settings: RedisSettings,
        tls: TlsContext | None,
        tags: Sequence[str],
        wanted: Callable[[], set[bytes]],
        heard: Callable[[bytes, object], None],
        missed: Callable[[bytes, float], None],
    ) -> None:
        self._settings = settings
        self._tls = tls
        self._tags = list(tags)
        self._connections: dict[Address, ServerConnection] = {}
        self._places: list[Address] = []
        self._sessions: dict[str, list[ShardSession]] = {}
        self._followed: dict[str, list[str]] = {}
        self._turn = asyncio.Lock()
        self._opening = asyncio.Lock()
        self._beside: set[asyncio.Task[None]] = set()
        self._mending: asyncio.Task[None] | None = None
        self._next_connection = 0
        self.subscriber: ChannelSubscriber = ChannelSubscriber(self._dial_subscriber, wanted, heard, missed)
        self._forgotten = 0

    # --- connections -------------------------------------------------------------------------------------------

    @property
    def usable(self) -> bool:
        """Whether any shard can be reached."""
        return any(self._connection_of(shard) is not None for shard in range(len(self._places)))

    def _connection_of(self, shard: int) -> ServerConnection | None:
        return self.connection_at(self._places[shard]) if shard < len(self._places) else None

    def connection_at(self, address: Address) -> ServerConnection | None:
        """The open connection to a master, or None."""
        connection = self._connections.get(address)
        return connection if connection is not None and connection.open else None

    async def ready(self) -> None:
        """Open missing connections, unless that is in progress.

        Raises:
            ProviderError: no master can be reached.
        """
        whole = bool(self._places) and all(self._connection_of(shard) for shard in range(len(self._places)))
        mended = self._mending is not None and not self._mending.done()
        if not whole and not (mended and self.usable):
            await self._open()

    async def _open(self) -> None:
        async with self._opening:
            await self._find()

    async def _find(self) -> None:
        """Find the masters, and connect to each that has no connection."""
        places = await locate(self._settings, self._tls, self._tags)
        for address in [address for address in self._connections if address not in places]:
            self._connections.pop(address).close()
        missing = [
            a for a in dict.fromkeys(places) if a not in self._connections or not self._connections[a].open
        ]
        self._places = places
        failures = await asyncio.gather(*(self._dial(address) for address in missing), return_exceptions=True)
        errors = [failure for failure in failures if failure is not None]
        if errors and not self.usable:
            raise errors[0]
        if errors:
            self._mend(str(errors[0]))

    async def _dial(self, address: Address) -> None:
        connection = ServerConnection(address, self._settings, self._tls)
        before = self._connections.get(address)
        if before is not None:
            before.close()
        self._connections[address] = connection
        await connection.connect()
        await connection.load()
        # The server may be another one now, or have lost data, so everything is read again.
        for sessions in self._sessions.values():
            for session, place in zip(sessions, self._places, strict=True):
                if place == address:
                    session.failed()

    async def _dial_subscriber(self) -> ServerConnection:
        # Every master forwards publications of the others; the next attempt uses the next one.
        found = self._places or await locate(self._settings, self._tls, self._tags)
        places = list(dict.fromkeys(found))
        self._next_connection += 1
        connection = ServerConnection(places[self._next_connection % len(places)], self._settings, self._tls)
        await connection.connect()
        return connection

    def _mend(self, why: str) -> None:
        if self._mending is None or self._mending.done():
            logger.warning("a part of the store fails (%s); its routes go on locally", why)
            self._mending = asyncio.get_running_loop().create_task(
                self._keep_mending(), name="atrion-redis-mend"
            )

    async def _keep_mending(self) -> None:
        wait = MEND_SECONDS[0]
        while self.usable and not all(self._connection_of(shard) for shard in range(len(self._places))):
            await asyncio.sleep(wait * random.uniform(0.5, 1.5))
            wait = min(2.0 * wait, MEND_SECONDS[1])
            try:
                await self._open()
            except ProviderError:
                continue
        if self.usable:
            logger.warning("all of the store answers again")

    def look_after(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` as a task until it ends or the session does."""
        task = asyncio.get_running_loop().create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    def close(self) -> list[asyncio.Task[None]]:
        """Drop every connection at once; returns the tasks that are still ending."""
        ending = [*self.subscriber.close(), *self._beside]
        for task in self._beside:
            task.cancel()
        if self._mending is not None:
            self._mending.cancel()
            ending.append(self._mending)
        for connection in self._connections.values():
            connection.close()
        return ending

    def abandon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Release the resources of a closed loop or of a parent process."""
        self.subscriber.abandon(loop)
        for connection in self._connections.values():
            connection.abandon(loop)

    @property
    def dropped(self) -> int:
        """Number of invalid rows."""
        return self._forgotten + sum(
            session.dropped for sessions in self._sessions.values() for session in sessions
        )

    # --- sharing -----------------------------------------------------------------------------------------------

    def shard_sessions(self, node: str) -> list[ShardSession]:
        """The state of ``node``, one for each shard."""
        found = self._sessions.pop(node, None)
        if found is None:
            found = [ShardSession(node, tag, self._settings.channel) for tag in self._tags]
            if len(self._sessions) >= MOST_FOLLOWED:
                oldest = next(iter(self._sessions))
                del self._sessions[oldest]
                self._followed.pop(oldest, None)
        self._sessions[node] = found  # to the end: the first is the least recently active
        return found

    def forget(self) -> None:
        """Forget what was read, so that every node reads everything again."""
        self._forgotten = self.dropped
        self._sessions.clear()
        self._followed.clear()

    def shard_of(self, route: str) -> int:
        """The shard of a route."""
        return crc32(to_bytes(route)) % len(self._tags) if len(self._tags) > 1 else 0

    def _split(self, routes: Mapping[str, Any]) -> list[dict[str, Any]]:
        if len(self._tags) == 1:
            return [dict(routes)]
        parts: list[dict[str, Any]] = [{} for _ in self._tags]
        for route, value in routes.items():
            parts[self.shard_of(route)][route] = value
        return parts

    def hear(self, node: str, news: News) -> ClusterScar | None:
        """The change for ``node`` in a message of the channel; None if it is not new."""
        sessions = self._sessions.get(node)
        if sessions is not None:
            return sessions[self._tags.index(news.tag)].hear(news)
        # It has not sent anything yet, so all rows are of other nodes.
        return None if news.node == node else news.sums.without(None)

    async def exchange(
        self, node: str, rows: Mapping[str, NodeRow], routes: list[str]
    ) -> dict[str, ClusterScar]:
        """One pulse of ``node`` with every master at once.

        Raises:
            ProviderError: no master answers.
        """
        async with self._turn:
            sessions = self.shard_sessions(node)
            now = asyncio.get_running_loop().time()
            # Assigning 1,000 routes to shards costs more than checking that they are those of the last pulse.
            if self._followed.get(node) != routes:
                self._followed[node] = list(routes)
                for session, part in zip(sessions, self._split(dict.fromkeys(routes)), strict=True):
                    session.follow(part)
            for session, part in zip(sessions, self._split(rows), strict=True):
                session.take(part, now)
            asked: dict[ServerConnection, list[ShardSession]] = {}
            for shard, session in enumerate(sessions):
                connection = self._connection_of(shard)
                if connection is not None and session.due(now):
                    asked.setdefault(connection, []).append(session)
            turns = await asyncio.gather(
                *(self._ask(connection, those, now) for connection, those in asked.items()),
                return_exceptions=True,
            )
        believed: dict[str, ClusterScar] = {}
        failures = [turn for turn in turns if isinstance(turn, BaseException)]
        if failures and (len(failures) == len(turns) or not self.usable):
            raise failures[0]
        for turn in turns:
            if not isinstance(turn, BaseException):
                believed.update(turn)
        if failures:
            self._mend(str(failures[0]))
        self.subscriber.tune()
        return believed

    async def _ask(
        self, connection: ServerConnection, sessions: list[ShardSession], now: float
    ) -> dict[str, ClusterScar]:
        believed: dict[str, ClusterScar] = {}
        try:
            calls = [(keys_of(session.tag, session.node), session.request(now)) for session in sessions]
            answers = await connection.call_each("exchange", calls)
            for session, answer in zip(sessions, answers, strict=True):
                heard = session.reply(answer, now)
                if heard is None:
                    connection.close()
                    raise ProviderError(f"{connection.where} answers with invalid data")
                believed.update(heard)
        except BaseException:
            for session in sessions:
                session.failed()
            raise
        return believed

    # --- asking without sharing --------------------------------------------------------------------------------

    async def call(self, function: str, shard: int, node: str, *batches: Command) -> list[Any]:
        """Call a function of one shard, once for each batch.

        Raises:
            ProviderError: the shard's master does not answer.
        """
        return await self._reach(shard).call(function, keys_of(self._tags[shard], node), *batches)

    async def ask(self, shard: int, *commands: Command) -> list[Any]:
        """Ask one shard's master.

        Raises:
            ProviderError: it does not answer.
        """
        return await self._reach(shard).ask(*commands)

    def _reach(self, shard: int) -> ServerConnection:
        connection = self._connection_of(shard)
        if connection is None:
            raise ProviderError(f"shard {shard} cannot be reached now")
        return connection
