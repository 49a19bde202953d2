"""Shares state between the processes of one host without a server, in a memory-mapped store (LMDB) in a folder.

Processes with the same folder share scars within a pulse. Each of them may be killed at any time. The state survives
all of them: a worker that restarts begins with the decayed scar.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from atrion.errors import ConfigurationError, MissingExtraError, ProviderError
from atrion.providers._change_watcher import ChangeWatcher
from atrion.providers._diagnostics import check_folder
from atrion.providers._host_vitals import HostVitals
from atrion.providers._lmdb_env import DATA, LOCKS, LmdbEnv, acquire, release
from atrion.providers._lmdb_records import HostClock, Record, Records, digest
from atrion.state.port import ClusterScar, Finding, NodeRow, PhysicsVector, Remembered
from atrion.state.rows import NO_NODE, Followers, live_nodes, most_scarred, newest, others, recalled

__all__ = ["WorkersProvider"]

T = TypeVar("T")

logger: logging.Logger = logging.getLogger("atrion")

GATE_RETRY = 0.001
"""Seconds between two attempts to get the store while another process uses it, which takes microseconds."""
GATE_TRIES = 400
"""Attempts before that process is assumed to be stopped or hung."""
MAP_SIZE, LEAST_BYTES = 128 << 20, 1 << 20
MAX_ROUTES = 10_000


class WorkersProvider:
    """State shared between the processes of one host.

    Args:
        path: A folder on a local disk (or in ``/dev/shm``); it is created if missing.
        map_size: Maximum bytes on disk, ≥ 1 MiB; a quarter of it is for records, the rest for changes to them.
        max_routes: Most routes kept, ≥ 1; the least recently changed is evicted first.
        clock: The host's clocks.

    Raises:
        ConfigurationError: a value is unusable.
        MissingExtraError: LMDB is not installed.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        map_size: int = MAP_SIZE,
        max_routes: int = MAX_ROUTES,
        clock: HostClock | None = None,
    ) -> None:
        if not str(path) or "\0" in str(path):
            raise ConfigurationError("path", path, "name a folder on a local disk")
        if map_size < LEAST_BYTES:
            raise ConfigurationError("map_size", map_size, f"give at least {LEAST_BYTES} bytes")
        if max_routes < 1:
            raise ConfigurationError("max_routes", max_routes, "give at least 1")
        if not LOCKS:
            raise ConfigurationError(
                "provider", "workers", "it needs file locks that this system does not have; use redis there"
            )
        try:
            import lmdb.verify
        except ImportError as error:
            raise MissingExtraError("sharing between the workers of a host", "workers") from error
        self._error: type[Exception] = lmdb.Error
        self.path: Path = Path(path).absolute()
        self.map_size: int = map_size
        self.max_routes: int = max_routes
        self.dropped_rows: int = 0
        self._clock = clock or HostClock()
        self._store: LmdbEnv | None = None
        self._opened = 0
        self._followers: Followers[bytes] = Followers(digest)
        self._listeners: dict[Callable[[str, ClusterScar], None], str] = {}
        self._told = 0
        self._watcher = ChangeWatcher(self.path / DATA, self._tell)
        self._vitals = HostVitals(self.path / "vitals")

    def __repr__(self) -> str:
        return f"WorkersProvider({str(self.path)!r})"

    @classmethod
    def from_url(cls, url: str) -> WorkersProvider:
        """From ``workers:///path?map_size=134217728&max_routes=10000``.

        Raises:
            ValueError: the URL cannot be used.
        """
        parts = urlsplit(url)
        if parts.netloc or not parts.path.startswith("/"):
            raise ValueError("write workers:///path/of/a/folder, with three slashes")
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        for name, value in options.items():
            if name not in {"map_size", "max_routes"} or not value.isdecimal():
                raise ValueError(
                    f"{name}={value} is no option; there are map_size and max_routes, whole numbers"
                )
        return cls(
            unquote(parts.path),
            map_size=int(options.get("map_size", MAP_SIZE)),
            max_routes=int(options.get("max_routes", MAX_ROUTES)),
        )

    async def connect(self) -> None:
        """Open the store; it is created if missing.

        Raises:
            ProviderError: the folder cannot be used.
        """
        self._followers.clear()
        if self._store is None:
            self._store = acquire(self.path, self.map_size)
        self._told = await self._transact(lambda records: records.version)
        if self._listeners:
            self._watcher.start()

    async def disconnect(self) -> None:
        """Leave the store; its contents stay."""
        store, self._store = self._store, None
        if store is not None:
            release(store)
        await self._watcher.stop()

    async def _transact(self, work: Callable[[Records], T], brought: int = 0) -> T:
        """Do ``work`` in one transaction that adds ``brought`` routes; waits a bounded time for other processes."""
        store = self._store
        if store is None:
            raise ProviderError(f"{self!r} is not connected")
        await self._wait_for(store)
        try:
            environment = store.environment()
            if self._opened != store.opened:
                self._opened, self._told = store.opened, 0
                self._followers.clear()
            with environment.begin(write=True) as transaction:
                records = Records(store, transaction, self._clock)
                answer = work(records)
                self.dropped_rows += records.dropped
                if brought:
                    records.close(self.max_routes, brought)
            return answer
        except (self._error, OSError) as error:
            raise ProviderError(f"the store in {self.path} fails: {error}") from error
        finally:
            store.leave_gate()

    async def _wait_for(self, store: LmdbEnv) -> None:
        try:
            for _ in range(GATE_TRIES):
                if store.try_gate():
                    return
                await asyncio.sleep(GATE_RETRY)
        except OSError as error:
            raise ProviderError(f"the folder {self.path} cannot be used: {error}") from error
        raise ProviderError(f"another process holds {self.path}, and may be stopped or hung")

    # --- vectors ---------------------------------------------------------------------------------------------

    async def get_vector(self, route_id: str) -> PhysicsVector | None:
        """The last vector of a route from any process; None if the route is unknown."""

        def work(records: Records) -> PhysicsVector | None:
            record = records.find(digest(route_id))
            return newest(record.rows) if record is not None and record.rows else None

        return await self._transact(work)

    async def update_vector(self, route_id: str, vector: PhysicsVector) -> None:
        """Store a vector without a node: it is recalled, but not part of the cluster's mean."""
        await self.update_vectors({route_id: vector})

    async def update_vectors(self, vectors: Mapping[str, PhysicsVector]) -> None:
        """Store many vectors in one transaction."""

        def work(records: Records) -> None:
            for route, vector in vectors.items():
                records.keep(route, NO_NODE, NodeRow(vector, 0.0, 0.0))

        await self._transact(work, len(vectors))

    # --- sharing ---------------------------------------------------------------------------------------------

    async def exchange(
        self, node: str, rows: Mapping[str, NodeRow], routes: list[str]
    ) -> Mapping[str, ClusterScar]:
        """Store this node's ``rows``; return the other nodes' mean for each of ``routes`` that has changed."""

        def work(records: Records) -> tuple[dict[str, ClusterScar], int]:
            answer = {}
            news = self._followers.to_send(node, routes, records.version, records.changed_since)
            for key, route in news.items():
                record = records.find(key)
                if record is not None:
                    answer[route] = others(record.rows, node, records.now)
            for route, row in rows.items():
                records.keep(route, node, row)
            return answer, records.version

        answer, version = await self._transact(work, len(rows))
        self._followers.mark_sent(node, routes, version)
        return answer

    def listen(self, node: str, callback: Callable[[str, ClusterScar], None]) -> Callable[[], None]:
        """Call ``callback`` some 10 ms after another node's scar jumps, until the returned function is called."""
        self._listeners[callback] = node
        if self._store is not None:
            self._watcher.start()

        def end() -> None:
            self._listeners.pop(callback, None)

        return end

    async def _tell(self) -> None:
        """Notify the listeners of scars that have jumped since the last notification."""
        told = self._told

        def work(records: Records) -> tuple[list[tuple[Record, str, float]], int]:
            since = told if told <= records.version else 0
            news = [(records.find(key), _text(node), records.now) for key, node in records.news_since(since)]
            return [(record, node, now) for record, node, now in news if record is not None], records.version

        if self._listeners:
            news, self._told = await self._transact(work)
            for record, node, now in news:
                for callback, listener in list(self._listeners.items()):
                    if listener != node:
                        _call(callback, record.route, others(record.rows, listener, now))

    # --- vitals ----------------------------------------------------------------------------------------------

    async def is_watched(self) -> bool:
        """Whether a dashboard watches the processes of this folder."""
        return self._vitals.is_watched()

    async def publish_vitals(self, node: str, vitals: bytes) -> None:
        """Keep what a process says of itself for some seconds.

        Raises:
            ProviderError: the folder cannot be written to.
        """
        try:
            self._vitals.publish(node, vitals)
        except OSError as error:
            raise ProviderError(f"vitals cannot be kept in {self.path}: {error}") from error

    async def watch_vitals(self) -> Mapping[str, tuple[float, bytes]]:
        """What the processes of this folder say of themselves, each with its age in seconds.

        Raises:
            ProviderError: the folder cannot be used.
        """
        try:
            return self._vitals.watch()
        except OSError as error:
            raise ProviderError(f"the vitals in {self.path} cannot be read: {error}") from error

    # --- remembering -----------------------------------------------------------------------------------------

    async def recall(self, node: str, limit: int) -> Mapping[str, Remembered]:
        """Vectors of the ``limit`` routes with most scar: this node's own, else of the node with most evidence."""

        def work(records: Records) -> dict[str, Remembered]:
            found = {
                record.route: recalled(record.rows, node, records.now)
                for record in records.all()
                if record.rows
            }
            return most_scarred(found, limit)

        return await self._transact(work)

    async def list_routes(self, limit: int) -> list[str]:
        """At most ``limit`` of the stored routes."""
        return await self._transact(lambda records: [record.route for record in records.all()][:limit])

    async def list_nodes(self) -> list[str]:
        """The nodes with a recent update."""
        return await self._transact(
            lambda records: live_nodes((record.rows for record in records.all()), records.now)
        )

    async def diagnose(self) -> list[Finding]:
        """Findings about the folder."""
        return check_folder(self.path, self.map_size)


def _text(node: bytes) -> str:
    return node.decode("utf-8", "replace")


def _call(callback: Callable[[str, ClusterScar], None], route: str, answer: ClusterScar) -> None:
    try:
        callback(route, answer)
    except Exception:
        logger.exception("a listener failed at the news of %r; the others go on", route)
