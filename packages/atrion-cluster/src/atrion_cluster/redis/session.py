"""The provider's connections in one event loop: a line to each master, and what each node knows of each shard."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any
from zlib import crc32

from atrion.errors import ProviderError
from atrion.state import ClusterScar, NodeRow
from atrion_cluster.redis.ear import Ear
from atrion_cluster.redis.line import Command, Line, TlsContext
from atrion_cluster.redis.peer import Peer
from atrion_cluster.redis.settings import Address, Settings
from atrion_cluster.redis.topology import keys_of, locate
from atrion_cluster.redis.wire import News, to_bytes

__all__ = ["Session"]

logger: logging.Logger = logging.getLogger("atrion")

MOST_PEERS = 64
"""Nodes that share one provider object, at most; the longest silent one is forgotten."""
MEND_SECONDS = (0.2, 2.0)
"""Seconds between tries of a master that is away while others answer: at first, and at most; jittered."""


class Session:
    """Connections and knowledge of one event loop.

    Args:
        settings: Where the servers are.
        tls: What TLS trusts.
        tags: The hash tag of each shard.
        wanted: The channels wanted by now.
        heard: Called with channel and message.
        missed: Called with a channel that is heard again, and the seconds it was not.
    """

    def __init__(
        self,
        settings: Settings,
        tls: TlsContext | None,
        tags: Sequence[str],
        wanted: Callable[[], set[bytes]],
        heard: Callable[[bytes, object], None],
        missed: Callable[[bytes, float], None],
    ) -> None:
        self._settings = settings
        self._tls = tls
        self._tags = list(tags)
        self._lines: dict[Address, Line] = {}
        self._places: list[Address] = []
        self._peers: dict[str, list[Peer]] = {}
        self._followed: dict[str, list[str]] = {}
        self._turn = asyncio.Lock()
        self._opening = asyncio.Lock()
        self._beside: set[asyncio.Task[None]] = set()
        self._mending: asyncio.Task[None] | None = None
        self._next_line = 0
        self.ear: Ear = Ear(self._dial_ear, wanted, heard, missed)
        self._forgotten = 0

    # --- connections -------------------------------------------------------------------------------------------

    @property
    def usable(self) -> bool:
        """Whether any shard can be reached."""
        return any(self._line_of(shard) is not None for shard in range(len(self._places)))

    def _line_of(self, shard: int) -> Line | None:
        line = self._lines.get(self._places[shard]) if shard < len(self._places) else None
        return line if line is not None and line.open else None

    async def ready(self) -> None:
        """Open what is not open, unless that is being mended already.

        Raises:
            ProviderError: no master can be reached.
        """
        whole = bool(self._places) and all(self._line_of(shard) for shard in range(len(self._places)))
        mended = self._mending is not None and not self._mending.done()
        if not whole and not (mended and self.usable):
            await self._open()

    async def _open(self) -> None:
        async with self._opening:
            await self._find()

    async def _find(self) -> None:
        """Find the masters, and open a line to each that has none."""
        places = await locate(self._settings, self._tls, self._tags)
        for address in [address for address in self._lines if address not in places]:
            self._lines.pop(address).close()
        missing = [a for a in dict.fromkeys(places) if a not in self._lines or not self._lines[a].open]
        self._places = places
        failures = await asyncio.gather(*(self._dial(address) for address in missing), return_exceptions=True)
        errors = [failure for failure in failures if failure is not None]
        if errors and not self.usable:
            raise errors[0]
        if errors:
            self._mend(str(errors[0]))

    async def _dial(self, address: Address) -> None:
        line = Line(address, self._settings, self._tls)
        before = self._lines.get(address)
        if before is not None:
            before.close()
        self._lines[address] = line
        await line.connect()
        await line.load()
        # Who answers there now may be another, or have lost something: nothing counts as known.
        for peers in self._peers.values():
            for peer, place in zip(peers, self._places, strict=True):
                if place == address:
                    peer.failed()

    async def _dial_ear(self) -> Line:
        # Any master passes on what is published at another; the next try asks the next one.
        found = self._places or await locate(self._settings, self._tls, self._tags)
        places = list(dict.fromkeys(found))
        self._next_line += 1
        line = Line(places[self._next_line % len(places)], self._settings, self._tls)
        await line.connect()
        return line

    def _mend(self, why: str) -> None:
        if self._mending is None or self._mending.done():
            logger.warning("a part of the store fails (%s); its routes go on locally", why)
            self._mending = asyncio.get_running_loop().create_task(
                self._keep_mending(), name="atrion-redis-mend"
            )

    async def _keep_mending(self) -> None:
        wait = MEND_SECONDS[0]
        while self.usable and not all(self._line_of(shard) for shard in range(len(self._places))):
            await asyncio.sleep(wait * random.uniform(0.5, 1.5))
            wait = min(2.0 * wait, MEND_SECONDS[1])
            try:
                await self._open()
            except ProviderError:
                continue
        if self.usable:
            logger.warning("all of the store answers again")

    def look_after(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` beside, until it ends or the session does."""
        task = asyncio.get_running_loop().create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    def close(self) -> list[asyncio.Task[None]]:
        """Drop every connection at once; returns what is yet to end."""
        ending = [*self.ear.close(), *self._beside]
        for task in self._beside:
            task.cancel()
        if self._mending is not None:
            self._mending.cancel()
            ending.append(self._mending)
        for line in self._lines.values():
            line.close()
        return ending

    def abandon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let go of what a closed loop or a parent process has."""
        self.ear.abandon(loop)
        for line in self._lines.values():
            line.abandon(loop)

    @property
    def dropped(self) -> int:
        """Rows that made no sense."""
        return self._forgotten + sum(peer.dropped for peers in self._peers.values() for peer in peers)

    # --- sharing -----------------------------------------------------------------------------------------------

    def peers(self, node: str) -> list[Peer]:
        """What ``node`` knows, one for each shard."""
        found = self._peers.pop(node, None)
        if found is None:
            found = [Peer(node, tag, self._settings.channel) for tag in self._tags]
            if len(self._peers) >= MOST_PEERS:
                oldest = next(iter(self._peers))
                del self._peers[oldest]
                self._followed.pop(oldest, None)
        self._peers[node] = found  # to the back: the front is the longest silent
        return found

    def forget(self) -> None:
        """Take nothing for known: every node is told everything anew."""
        self._forgotten = self.dropped
        self._peers.clear()
        self._followed.clear()

    def shard_of(self, route: str) -> int:
        """The shard that keeps a route."""
        return crc32(to_bytes(route)) % len(self._tags) if len(self._tags) > 1 else 0

    def _split(self, routes: Mapping[str, Any]) -> list[dict[str, Any]]:
        if len(self._tags) == 1:
            return [dict(routes)]
        parts: list[dict[str, Any]] = [{} for _ in self._tags]
        for route, value in routes.items():
            parts[self.shard_of(route)][route] = value
        return parts

    def hear(self, node: str, news: News) -> ClusterScar | None:
        """What a message of the channel means for ``node``; None where it is no news to it."""
        peers = self._peers.get(node)
        if peers is not None:
            return peers[self._tags.index(news.tag)].hear(news)
        # It has not said anything yet, so all that is said is by others.
        return None if news.node == node else news.sums.without(None)

    async def exchange(
        self, node: str, rows: Mapping[str, NodeRow], routes: list[str]
    ) -> dict[str, ClusterScar]:
        """One pulse of ``node`` with every master at once.

        Raises:
            ProviderError: no master answers.
        """
        async with self._turn:
            peers = self.peers(node)
            now = asyncio.get_running_loop().time()
            # Telling 1,000 routes apart costs more than seeing that they are those of the last pulse.
            if self._followed.get(node) != routes:
                self._followed[node] = list(routes)
                for peer, part in zip(peers, self._split(dict.fromkeys(routes)), strict=True):
                    peer.follow(part)
            for peer, part in zip(peers, self._split(rows), strict=True):
                peer.take(part, now)
            asked: dict[Line, list[Peer]] = {}
            for shard, peer in enumerate(peers):
                line = self._line_of(shard)
                if line is not None and peer.due(now):
                    asked.setdefault(line, []).append(peer)
            turns = await asyncio.gather(
                *(self._ask(line, those, now) for line, those in asked.items()), return_exceptions=True
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
        self.ear.tune()
        return believed

    async def _ask(self, line: Line, peers: list[Peer], now: float) -> dict[str, ClusterScar]:
        believed: dict[str, ClusterScar] = {}
        try:
            calls = [(keys_of(peer.tag, peer.node), peer.request(now)) for peer in peers]
            answers = await line.call_each("exchange", calls)
            for peer, answer in zip(peers, answers, strict=True):
                heard = peer.reply(answer, now)
                if heard is None:
                    line.close()
                    raise ProviderError(f"{line.where} answers nonsense")
                believed.update(heard)
        except BaseException:
            for peer in peers:
                peer.failed()
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

    def _reach(self, shard: int) -> Line:
        line = self._line_of(shard)
        if line is None:
            raise ProviderError(f"shard {shard} cannot be reached now")
        return line
