"""RedisClusterProvider: scars shared over Redis or Valkey (RFC-0007 §7.1)."""

from __future__ import annotations

import asyncio
import logging
import os
import uuid
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, Self

from atrion.errors import ProviderError
from atrion.state import ClusterScar, Finding, NodeRow, PhysicsVector, Remembered
from atrion.state.blending import EXPIRY
from atrion.state.port import VITALS_EXPIRY, VITALS_MOST_BYTES
from atrion_cluster.licence import LicenseHolder, LicenseWatch, Secret
from atrion_cluster.redis.callbacks import Callbacks
from atrion_cluster.redis.census import take_census
from atrion_cluster.redis.codec import (
    pack_vector,
    read_news,
    read_recall,
    read_remembered,
    read_update,
    to_bytes,
    to_name,
)
from atrion_cluster.redis.connection import tls_context
from atrion_cluster.redis.diagnostics import diagnose
from atrion_cluster.redis.session import LoopSession
from atrion_cluster.redis.settings import RedisSettings, settings_from, settings_from_url
from atrion_cluster.redis.topology import tags_of

__all__ = ["RedisClusterProvider"]

logger: logging.Logger = logging.getLogger("atrion")

PAGE: Final = 1000
"""Routes read at once."""
MOST_PAGES: Final = 200
"""Pages read of one shard, at most."""
MOST_NODES: Final = 10_000
BATCH: Final = 500
"""Vectors written at once."""


class RedisClusterProvider(LicenseHolder):
    """Shares scars between the nodes of a cluster over Redis 7 or Valkey: one server, Sentinel, or Redis Cluster.

    Each pulse is one round trip to each master: a function in the server takes this node's changed rows and returns
    the changes of the others. A scar that jumps is published on the channel at once.

    Args:
        redis: ``url``, and settings that can also be in its query: ``username``, ``password``, ``db``, ``timeout``
            (seconds of a round trip, 0.4), ``shards`` (parts of a Redis Cluster, 6; the same on every node),
            ``ssl_ca_certs``, ``ssl_certfile``, ``ssl_keyfile``, ``ssl_cert_reqs``, ``ssl_check_hostname``,
            ``sentinel_username``, ``sentinel_password``.
        sync: ``interval`` in seconds between pulses (0.1) and the ``channel`` (``<namespace>:sync``).
        gamma: γ in [0, 1] for engines without a setting of their own.
        namespace: Separates applications on one server: 1 to 64 letters, digits, dots, dashes, underscores.
        license: The licence key; None or an empty string takes that of ``ATRION_LICENSE_KEY``, if there is one.

    Raises:
        ConfigurationError: something is unknown or unusable; or the licence key is malformed, wrongly signed or not yet
            valid.
    """

    def __init__(
        self,
        redis: Mapping[str, Any],
        sync: Mapping[str, Any] | None = None,
        gamma: float = 0.3,
        namespace: str = "atrion",
        license: str | None = None,
    ) -> None:
        secret, license = Secret(license), None  # not for tracebacks that show local variables
        self._begin(settings_from(redis, sync, gamma, namespace), secret)

    @classmethod
    def from_url(cls, url: str) -> Self:
        """The provider of ``redis://…?namespace=…&gamma=…&interval=…&channel=…`` and of the other schemes.

        Raises:
            ConfigurationError: something in the URL is unknown or unusable.
        """
        provider = cls.__new__(cls)
        provider._begin(settings_from_url(url), None)
        return provider

    def _begin(self, settings: RedisSettings, secret: Secret | None) -> None:
        self._watch = LicenseWatch(secret)
        self._settings = settings
        self._tls = tls_context(settings)
        self._tags = tags_of(settings.namespace, settings.shards)
        self.interval: float = settings.interval
        self.gamma: float = settings.gamma
        self._id = uuid.uuid4().hex
        self._sessions: dict[asyncio.AbstractEventLoop, LoopSession] = {}
        self._callbacks = Callbacks(settings.channel, self._tune)
        self._dropped = 0
        self._admitted = False
        _providers.add(self)

    def __repr__(self) -> str:
        hosts = ",".join(f"{host}:{port}" for host, port in self._settings.addresses)
        return (
            f"<RedisClusterProvider {self._settings.topology} {hosts} namespace={self._settings.namespace!r}>"
        )

    @property
    def dropped(self) -> int:
        """Number of invalid rows and messages that were dropped."""
        return self._dropped + sum(session.dropped for session in list(self._sessions.values()))

    # --- connections -------------------------------------------------------------------------------------------

    def _session(self) -> LoopSession:
        loop = asyncio.get_running_loop()
        session = self._sessions.get(loop)
        if session is None:
            for other in [other for other in self._sessions if other.is_closed()]:
                self._sessions.pop(other).abandon(other)
            session = LoopSession(
                self._settings, self._tls, self._tags, self._callbacks.wanted, self._heard, self._missed
            )
            self._sessions[loop] = session
        return session

    async def _ready(self) -> LoopSession:
        session = self._session()
        await session.ready()
        if not self._admitted or self._watch.count_due:
            await self._attend_to_licence(session)
        session.subscriber.tune()
        return session

    # --- licence -----------------------------------------------------------------------------------------------

    async def _attend_to_licence(self, session: LoopSession) -> None:
        """Count the namespaces beside the pulse; only a licence that lapsed makes a new namespace wait for it.

        Raises:
            ProviderError: the licence lapsed, and the namespace is new.
        """
        if not self._admitted and self._watch.status().read_only:
            census = await take_census(session, self._settings, self._tls, self._tags)
            if census.new:
                raise ProviderError(self._watch.refusal(self._settings.namespace))
        self._admitted = True
        self._watch.counting()
        session.look_after(self._count(session))

    async def _count(self, session: LoopSession) -> None:
        census = await take_census(session, self._settings, self._tls, self._tags, register=True)
        self._watch.counted(census.clusters)

    async def connect(self) -> None:
        """Open a missing connection to each master; all routes then count as changed.

        Raises:
            ProviderError: no master can be reached.
        """
        session = await self._ready()
        session.forget()
        await session.subscriber.start(
            self._settings.timeout
        )  # without it, changes arrive with the pulse only

    async def disconnect(self) -> None:
        """Drop every connection at once, even if the server hangs."""
        here = asyncio.get_running_loop()
        while self._sessions:
            loop, session = self._sessions.popitem()
            self._dropped += session.dropped
            if loop is here:
                await asyncio.gather(*session.close(), return_exceptions=True)
                await asyncio.sleep(0)  # lets the transports end before the loop
            elif loop.is_closed():
                session.abandon(loop)
            else:
                loop.call_soon_threadsafe(session.close)

    def _leave_parent(self) -> None:
        """In a forked child: release the parent's connections."""
        for loop, session in self._sessions.items():
            session.abandon(loop)
        _abandoned.append(self._sessions)  # their tasks would warn on garbage collection
        self._sessions = {}
        self._id = uuid.uuid4().hex

    # --- sharing -----------------------------------------------------------------------------------------------

    async def exchange(
        self, node: str, rows: Mapping[str, NodeRow], routes: list[str]
    ) -> Mapping[str, ClusterScar]:
        """Store this node's changed ``rows``; return the other nodes' mean for each of ``routes`` that has changed.

        Raises:
            ProviderError: no master answers.
        """
        session = await self._ready()
        sane = {route: row for route, row in rows.items() if row.is_sane()}
        self._dropped += len(rows) - len(sane)
        return await session.exchange(node, sane, routes)

    def listen(self, node: str, callback: Callable[[str, ClusterScar], None]) -> Callable[[], None]:
        """Call ``callback`` soon after another node's scar jumps, until the returned function is called."""
        return self._callbacks.listen(node, callback)

    def subscribe(self, route_id: str, callback: Callable[[PhysicsVector], None]) -> Callable[[], None]:
        """Call ``callback`` with every later vector of the route, until the returned function is called."""
        return self._callbacks.subscribe(route_id, callback)

    def _tune(self) -> None:
        for loop, session in list(self._sessions.items()):
            if not loop.is_closed():
                loop.call_soon_threadsafe(session.subscriber.tune)

    def _heard(self, channel: bytes, message: object) -> None:
        if channel == self._callbacks.channel:
            news = read_news(message)
            if news is None or news.tag not in self._tags:
                self._drop()
            else:
                self._callbacks.tell(news.route, lambda node: self._session().hear(node, news))
            return
        update, route = read_update(message), self._callbacks.route_of(channel)
        if update is None or route is None:
            self._drop()
        elif update[0] != self._id.encode():
            self._callbacks.deliver(route, update[1])

    def _missed(self, channel: bytes, seconds: float) -> None:
        """A subscription is restored: deliver the vector written in the meantime."""
        route = self._callbacks.route_of(channel)
        if route is not None:
            self._session().look_after(self._catch_up(route, seconds))

    async def _catch_up(self, route: str, seconds: float) -> None:
        asked = asyncio.get_running_loop().time()
        with suppress(ProviderError):
            found = await self._look_up(route)
            if found is not None and found.age <= seconds + asyncio.get_running_loop().time() - asked:
                self._callbacks.deliver(route, found.vector)

    def _drop(self) -> None:
        self._dropped += 1
        if self._dropped == 1:
            logger.warning("the store sends invalid data; it is dropped and counted")

    # --- vectors -----------------------------------------------------------------------------------------------

    async def get_vector(self, route_id: str) -> PhysicsVector | None:
        """The last vector of a route from any node, or None.

        Raises:
            ProviderError: the route's master does not answer.
        """
        found = await self._look_up(route_id)
        return None if found is None else found.vector

    async def _look_up(self, route_id: str) -> Remembered | None:
        session = await self._ready()
        question = (self._id, to_bytes(route_id))
        answer = (await session.call("vector", session.shard_of(route_id), self._id, question))[0]
        found = read_remembered(answer)
        if found is None and answer is not None:
            self._drop()
        return found

    async def update_vector(self, route_id: str, vector: PhysicsVector) -> None:
        """Store the vector of a route and notify its subscribers.

        Raises:
            ProviderError: the route's master does not answer.
        """
        await self.update_vectors({route_id: vector})

    async def update_vectors(self, vectors: Mapping[str, PhysicsVector]) -> None:
        """Store the vector of each route and notify their subscribers.

        Raises:
            ProviderError: a master does not answer.
        """
        session = await self._ready()
        batches: dict[int, list[list[bytes | str]]] = {}
        for route, vector in vectors.items():
            if not vector.is_sane():
                self._drop()
                continue
            parts = batches.setdefault(session.shard_of(route), [])
            if not parts or len(parts[-1]) >= 2 * BATCH:
                parts.append([self._id, self._settings.channel])
            parts[-1] += (to_bytes(route), pack_vector(vector))
        await asyncio.gather(
            *(session.call("update", shard, self._id, *parts) for shard, parts in batches.items())
        )
        for route, vector in vectors.items():
            self._callbacks.deliver(route, vector)

    # --- vitals ------------------------------------------------------------------------------------------------

    async def is_watched(self) -> bool:
        """Whether a dashboard watches the nodes of this store.

        Raises:
            ProviderError: the first shard's master does not answer.
        """
        session = await self._ready()
        return bool((await session.ask(0, ("EXISTS", f"{{{self._tags[0]}}}:watched")))[0] == 1)

    async def publish_vitals(self, node: str, vitals: bytes) -> None:
        """Keep what a node says of itself for some seconds.

        Raises:
            ProviderError: there is too much; or the first shard's master does not answer, or refuses.
        """
        if len(vitals) > VITALS_MOST_BYTES:
            raise ProviderError(f"{len(vitals)} bytes of vitals: at most {VITALS_MOST_BYTES} are kept")
        session = await self._ready()
        key = b"{%b}:vitals:%b" % (self._tags[0].encode(), to_bytes(node))
        expiry = round(1000 * VITALS_EXPIRY)
        answer = (await session.ask(0, ("SET", key, vitals, "PX", expiry)))[0]
        if isinstance(answer, Exception):
            raise ProviderError(f"vitals cannot be kept: {answer}")

    async def watch_vitals(self) -> Mapping[str, tuple[float, bytes]]:
        """What the nodes say of themselves, each with its age in seconds; at most of a thousand nodes.

        Raises:
            ProviderError: a master does not answer.
        """
        session = await self._ready()
        tag = self._tags[0]
        expiry = round(1000 * VITALS_EXPIRY)
        await session.ask(0, ("SET", f"{{{tag}}}:watched", "1", "PX", expiry))
        nodes = (await self.list_nodes())[:PAGE]
        keys = [b"{%b}:vitals:%b" % (tag.encode(), to_bytes(node)) for node in nodes]
        commands = [command for key in keys for command in (("GET", key), ("PTTL", key))]
        answers = await session.ask(0, *commands) if commands else []
        found = {}
        for node, vitals, left in zip(nodes, answers[::2], answers[1::2], strict=True):
            if isinstance(vitals, bytes) and isinstance(left, int) and len(vitals) <= VITALS_MOST_BYTES:
                found[node] = (min(max(expiry - left, 0), expiry) / 1000.0, vitals)
        return found

    # --- looking -----------------------------------------------------------------------------------------------

    async def recall(self, node: str, limit: int) -> Mapping[str, Remembered]:
        """The stored vectors with the largest scars first: ``node``'s own rows, else the mean over all nodes.

        Raises:
            ProviderError: a master does not answer.
        """
        found = await self._remembered(node, None)
        most = sorted(found, key=lambda route: -found[route].vector.scar_tissue)[: max(limit, 0)]
        return {route: found[route] for route in most}

    async def list_routes(self, limit: int) -> list[str]:
        """At most ``limit`` of the stored routes.

        Raises:
            ProviderError: a master does not answer.
        """
        return list(await self._remembered(self._id, limit))[: max(limit, 0)]

    async def _remembered(self, node: str, enough: int | None) -> dict[str, Remembered]:
        session = await self._ready()
        found: dict[str, Remembered] = {}

        async def read(shard: int) -> None:
            cursor = b"0"
            for _ in range(MOST_PAGES):
                if enough is not None and len(found) >= enough:
                    return
                page = read_recall(
                    (await session.call("recall", shard, node, (to_bytes(node), cursor, PAGE)))[0]
                )
                if page is None:
                    self._drop()
                    return
                cursor, part, dropped = page
                found.update(part)
                self._dropped += dropped
                if cursor == b"0":
                    return

        await asyncio.gather(*(read(shard) for shard in range(len(self._tags))))
        return found

    async def list_nodes(self) -> list[str]:
        """The nodes that gave a sign of life within the last minute.

        Raises:
            ProviderError: a master does not answer.
        """
        session = await self._ready()
        alive: set[str] = set()
        for shard, tag in enumerate(self._tags):
            now, found = await session.ask(
                shard, ("TIME",), ("ZRANGE", f"{{{tag}}}:nodes", 0, MOST_NODES - 1, "REV", "WITHSCORES")
            )
            match now, found:
                case [bytes(seconds), _], list():
                    for text, at in zip(found[::2], found[1::2], strict=False):
                        name = to_name(text)
                        if name is not None and float(seconds) - float(at) <= EXPIRY:
                            alive.add(name)
                case _:
                    raise ProviderError(
                        f"the nodes cannot be listed: {found if isinstance(now, list) else now}"
                    )
        return sorted(alive)

    async def diagnose(self) -> list[Finding]:
        """What a look at every master finds, on connections of their own."""
        return await diagnose(self._settings, self._tls, list(self._tags))


_providers: weakref.WeakSet[RedisClusterProvider] = weakref.WeakSet()
_abandoned: list[object] = []


def _after_fork_in_child() -> None:
    for provider in list(_providers):
        provider._leave_parent()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork_in_child)
