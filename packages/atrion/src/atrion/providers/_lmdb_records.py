"""The records of the workers store: one per route, the order in which they changed, and the store's clock.

Four tables: ``routes`` (digest of the route → its record), ``log`` (version → digest, one entry per route, so that
a reader that knows a version reads only later changes), ``news`` (version → digest and node of the last few scars that
jumped) and ``meta`` (the clock). Everything read is checked, and invalid data is skipped.
"""

from __future__ import annotations

import hashlib
import math
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from atrion.providers._lmdb_env import TABLES
from atrion.state.port import NodeRow, PhysicsVector
from atrion.state.rows import MAX_NODES, Rows, put

if TYPE_CHECKING:
    import lmdb

    from atrion.providers._lmdb_env import LmdbEnv

__all__ = ["HostClock", "Record", "Records"]

MAX_NAME = 1024
"""Maximum bytes of a route's or a node's name of 256 characters."""
LONG_AGO = 86_400.0
"""Maximum age in seconds; a jump of the wall clock counts for at most this."""
NEWS = 256
"""Maximum number of jumped scars kept for listeners."""
LAST_VERSION = 1 << 62
DIGEST = 16
TRIM = 64
"""Maximum number of routes that one transaction evicts, besides as many as it adds."""

_HEAD = struct.Struct("<QHH")  # version, bytes of the route's name, rows
_ROW = struct.Struct("<H7d")  # bytes of the node's name, the vector's four, evidence, decay rate, stamp
_CLOCK = struct.Struct("<16s3d")  # boot, offset, then wall and store time of the last write


class HostClock:
    """This host's clocks; seconds."""

    def __init__(self) -> None:
        self._clock: int | None = getattr(
            time, "CLOCK_BOOTTIME", None
        )  # Linux; it counts suspended seconds too
        self._boot = self._boot_id()

    def boot(self) -> bytes:
        """Sixteen bytes that identify this boot of the host; empty if unknown."""
        return self._boot

    @staticmethod
    def _boot_id() -> bytes:
        try:
            return bytes.fromhex(Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", ""))
        except (OSError, ValueError):
            return b""

    def uptime(self) -> float:
        """Seconds since the boot, the same in every process."""
        return time.monotonic() if self._clock is None else time.clock_gettime(self._clock)

    def wall(self) -> float:
        """Seconds since 1970."""
        return time.time()


@dataclass(frozen=True, slots=True)
class Record:
    """A route with its rows by node, each with its time; plain vectors have the node name ``""``."""

    route: str
    version: int
    rows: Rows

    def encode(self) -> bytes:
        """As bytes."""
        route = _name(self.route)
        parts = [_HEAD.pack(self.version, len(route), len(self.rows)), route]
        for node, (row, stamp) in self.rows.items():
            v, name = row.vector, _name(node)
            numbers = (v.resistance, v.momentum, v.scar_tissue, v.timestamp, row.evidence, row.decay_rate)
            parts += (_ROW.pack(len(name), *numbers, stamp), name)
        return b"".join(parts)

    @classmethod
    def decode(cls, blob: bytes, now: float) -> Record | None:
        """From bytes; None if they are invalid. Rows from the future or with invalid numbers are skipped."""
        try:
            version, length, count = _HEAD.unpack_from(blob)
            at = _HEAD.size + length
            route = blob[_HEAD.size : at].decode("utf-8", "surrogatepass")
            rows = {}
            for _ in range(min(count, MAX_NODES)):
                size, *numbers = _ROW.unpack_from(blob, at)
                at += _ROW.size + size
                age = now - numbers[6]
                # A sum is not below infinity where a term is infinite or no number: as NodeRow.is_sane, but quick.
                if size <= MAX_NAME and sum(numbers) < math.inf and min(numbers) >= 0.0 <= age <= LONG_AGO:
                    row = NodeRow(PhysicsVector(*numbers[:4]), numbers[4], numbers[5])
                    rows[blob[at - size : at].decode("utf-8", "surrogatepass")] = (row, numbers[6])
        except (struct.error, UnicodeDecodeError):
            return None
        return cls(route, version, rows) if route and length <= MAX_NAME and at <= len(blob) else None


def _name(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


@lru_cache(maxsize=65_536)
def digest(route: str) -> bytes:
    """The key of a route: a name may be longer than a key of the store."""
    return hashlib.blake2b(_name(route), digest_size=DIGEST).digest()


class Records:
    """One transaction on a store, with its time; invalid data is counted in ``dropped``."""

    def __init__(self, store: LmdbEnv, transaction: lmdb.Transaction[bytes], clock: HostClock) -> None:
        self._transaction = transaction
        self._meta, self._routes, self._log, self._news = (store.tables[name] for name in TABLES)
        # LMDB writes changes to new pages and keeps those of the last two transactions, which takes space.
        self._budget = store.map_size // 4
        self._clock = clock
        self.dropped = 0
        self._fresh = b""
        self._records: dict[bytes, Record | None] = {}
        self.now = self._time()
        self.version = self._last_version()

    # --- time ------------------------------------------------------------------------------------------------

    def _time(self) -> float:
        """The store's time; it continues over restarts of the host and never goes back."""
        clock = self._clock
        boot, uptime, wall = clock.boot(), clock.uptime(), clock.wall()
        kept = self._transaction.get(b"clock", db=self._meta)
        if kept is None or not _sane_clock(kept):
            self._begin_anew()  # stamps mean nothing without the clock
            self._fresh = _CLOCK.pack(boot, -uptime, wall, 0.0)
            return 0.0
        last_boot: bytes
        last_boot, offset, last_wall, last = _CLOCK.unpack(kept)
        if boot and boot == last_boot:
            now: float = max(uptime + offset, last)
        else:
            now = last + min(max(wall - last_wall, 0.0), LONG_AGO)
            offset = now - uptime
        self._fresh = _CLOCK.pack(boot, offset, wall, now)
        return now

    # --- records ---------------------------------------------------------------------------------------------

    def _begin_anew(self) -> None:
        for table in (self._routes, self._log, self._news):
            self._transaction.drop(table, delete=False)

    def _last_version(self) -> int:
        with self._transaction.cursor(self._log) as cursor:
            key = cursor.key() if cursor.last() else bytes(8)
        version = int.from_bytes(key)
        if len(key) == 8 and version < LAST_VERSION:
            return version
        self._begin_anew()
        return 0

    def find(self, key: bytes) -> Record | None:
        """The record of a route, by its digest."""
        if key not in self._records:
            blob = self._transaction.get(key, db=self._routes)
            record = None if blob is None else Record.decode(blob, self.now)
            if blob is not None and (record is None or digest(record.route) != key):
                self.dropped += 1
                record = None
            self._records[key] = record
        return self._records[key]

    def keep(self, route: str, node: str, row: NodeRow) -> None:
        """Replace a node's row; rows of nodes without a recent update are removed."""
        key = digest(route)
        before = self.find(key)
        rows = {} if before is None else dict(before.rows)
        jumped = put(rows, node, row, self.now)
        if before is not None:
            self._transaction.delete(_number(before.version), db=self._log)
        self.version += 1
        self._records[key] = record = Record(route, self.version, rows)
        self._transaction.put(key, record.encode(), db=self._routes)
        self._transaction.put(_number(self.version), key, db=self._log)
        if jumped:
            self._transaction.put(_number(self.version), key + _name(node), db=self._news)

    def changed_since(self, version: int) -> Iterator[bytes]:
        """Digests of the routes that changed after ``version``."""
        return (entry for entry in self._since(self._log, version) if len(entry) == DIGEST)

    def news_since(self, version: int) -> Iterator[tuple[bytes, bytes]]:
        """Digests of the routes whose scar jumped after ``version``, with the node."""
        entries = self._since(self._news, version)
        return ((entry[:DIGEST], entry[DIGEST:]) for entry in entries if len(entry) > DIGEST)

    def _since(self, table: lmdb._Database, version: int) -> Iterator[bytes]:
        with self._transaction.cursor(table) as cursor:
            if cursor.set_range(_number(version + 1)):
                yield from cursor.iternext(keys=False, values=True)

    def all(self) -> Iterator[Record]:
        """All valid records, in the order of their last change."""
        for key in list(self.changed_since(0)):
            record = self.find(key)
            if record is not None:
                yield record

    def close(self, max_routes: int, brought: int) -> None:
        """Evict the least recently changed routes beyond ``max_routes`` or a quarter of the store; store the time."""
        for _ in range(brought + TRIM):
            kept = self._transaction.stat(self._routes)
            if kept["entries"] <= max_routes and self._bytes() <= self._budget:
                break
            self._drop_oldest()
        with self._transaction.cursor(self._news) as cursor:
            while self._transaction.stat(self._news)["entries"] > NEWS and cursor.first():
                cursor.delete()
        self._transaction.put(b"clock", self._fresh, db=self._meta)

    def _bytes(self) -> int:
        size = 0
        for table in (self._routes, self._log):
            stat = self._transaction.stat(table)
            size += stat["psize"] * (stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"])
        return size

    def _drop_oldest(self) -> None:
        with self._transaction.cursor(self._log) as cursor:
            if not cursor.first():
                self._transaction.drop(self._routes, delete=False)  # records without an entry in the log
                return
            key = cursor.value()
            cursor.delete()
        self._transaction.delete(key, db=self._routes)


def _sane_clock(kept: bytes) -> bool:
    return len(kept) == _CLOCK.size and all(math.isfinite(number) for number in _CLOCK.unpack(kept)[1:])


def _number(version: int) -> bytes:
    return version.to_bytes(8)
