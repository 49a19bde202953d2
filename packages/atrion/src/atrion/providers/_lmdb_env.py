"""A memory-mapped store (LMDB) as this process has it open: opened once, checked, never blocking, safe to fork.

LMDB forbids opening a store twice in one process and using it across a fork, and its own write lock blocks. So every
provider of a path shares one :class:`LmdbEnv`; forks reopen it; and a *gate*, an advisory file lock that is only
tried and never waited for, stands before every transaction. The kernel opens the gate when its holder dies. Nobody
holds it for more than microseconds, and there are no read transactions whose holder could die and pin old pages.
"""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atrion._platform import at_fork
from atrion.errors import ProviderError

if TYPE_CHECKING:
    import fcntl

    import lmdb
else:
    try:
        import fcntl
    except ImportError:  # Windows: the provider says so when it is made
        fcntl = None

__all__ = ["DATA", "GATE", "LOCKS", "TABLES", "LmdbEnv", "acquire", "release"]

logger: logging.Logger = logging.getLogger("atrion")

GATE, DATA, LOCK = "gate", "data.mdb", "lock.mdb"
LOCKS: bool = fcntl is not None
"""Whether this system has the file locks that the gate needs."""
TABLES = (b"meta", b"routes", b"log", b"news")


class LmdbEnv:
    """The store in the folder ``path``, of at most ``map_size`` bytes."""

    def __init__(self, path: Path, map_size: int) -> None:
        self.path = path
        self.map_size = map_size
        self.users = 0
        self.opened = 0
        """How often it was opened: whoever remembers what it said must forget when this changes."""
        self.tables: dict[bytes, lmdb._Database] = {}
        self.env: lmdb.Environment | None = None
        self.thread_gate = threading.Lock()
        self._gate: int | None = None
        self._inode = self._size = 0

    # --- the gate --------------------------------------------------------------------------------------------

    def try_gate(self) -> bool:
        """Whether the store is now ours, until :meth:`leave_gate`; never waits.

        Raises:
            OSError: the folder cannot be used.
        """
        _notice_fork()
        if not self.thread_gate.acquire(blocking=False):
            return False
        try:
            if self._lock_gate():
                return True
        except BaseException:
            self.thread_gate.release()
            raise
        self.thread_gate.release()
        return False

    def _lock_gate(self) -> bool:
        gate = self.path / GATE
        for _ in range(2):
            if self._gate is None:
                self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._gate = os.open(gate, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self._gate, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            if _identity(gate)[0] == os.fstat(self._gate).st_ino:
                return True
            self._drop_gate()  # the folder was replaced under us: this gate guards nothing any more
        return False

    def _drop_gate(self) -> None:
        if self._gate is not None:
            os.close(self._gate)
            self._gate = None

    def leave_gate(self) -> None:
        """Let the others in."""
        if self._gate is not None:
            fcntl.flock(self._gate, fcntl.LOCK_UN)
        self.thread_gate.release()

    # --- the environment, only ever touched behind the gate ------------------------------------------------------

    def environment(self) -> lmdb.Environment:
        """The open environment: opened anew where it is not open, or is no longer the one in the folder.

        Raises:
            ProviderError: it cannot be opened.
        """
        inode, size = _identity(self.path / DATA)
        if self.env is not None and inode == self._inode and size >= self._size:
            self._size = size
            return self.env
        self._close_environment()
        import lmdb

        self._set_aside_if_broken()
        try:
            env = lmdb.open(
                str(self.path),
                map_size=self.map_size,
                max_dbs=len(TABLES),
                mode=0o600,
                sync=False,  # a process that dies loses nothing; a host that dies is what the check above is for
                readahead=False,
            )
            env.reader_check()
            with env.begin(write=True) as transaction:
                self.tables = {name: env.open_db(name, transaction) for name in TABLES}
        except lmdb.Error as error:
            raise ProviderError(f"the store in {self.path} cannot be opened: {error}") from error
        self._inode, self._size = _identity(self.path / DATA)
        self.env = env
        self.opened += 1
        return env

    def _set_aside_if_broken(self) -> None:
        """A file that is no sound store would crash the process that maps it; it is kept under another name."""
        from lmdb import verify

        check: Any = verify.verify  # it has no types
        data = self.path / DATA
        if not data.exists():
            return
        try:
            broken = bool(check(str(self.path)))
        except verify.VerifyError:
            broken = True
        if broken:
            data.replace(self.path / f"{DATA}.broken")
            (self.path / LOCK).unlink(missing_ok=True)
            logger.warning("the store in %s was not sound; it is kept as %s.broken", self.path, DATA)

    def _close_environment(self) -> None:
        env, self.env = self.env, None
        if env is not None:
            env.close()

    def reset_after_fork(self) -> None:
        """In a child: let go of the parent's, whose thread may hold the gate for the fork."""
        self.thread_gate = threading.Lock()
        self.close()

    def close(self) -> None:
        """Let go of everything; nobody is behind the gate."""
        self._close_environment()
        self._drop_gate()


def _identity(path: Path) -> tuple[int, int]:
    """Which file it is, and its bytes: a mapped file that shrinks would kill whoever reads it."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_ino, found.st_size


# --- one store per process and path --------------------------------------------------------------------------

_stores: dict[Path, LmdbEnv] = {}
_envs_lock = threading.Lock()
_process = os.getpid()


def acquire(path: Path, map_size: int) -> LmdbEnv:
    """This process's store of a folder, for one more user."""
    _notice_fork()
    with _envs_lock:
        store = _stores.setdefault(path.resolve(), LmdbEnv(path, map_size))
        store.users += 1
        return store


def release(store: LmdbEnv) -> None:
    """One user less; the last one closes it."""
    _notice_fork()
    with _envs_lock:
        store.users -= 1
        if store.users > 0:
            return
        _stores.pop(store.path.resolve(), None)
        with store.thread_gate:
            store.close()


def _before_fork() -> None:
    # No transaction may be under way in another thread: the child could neither end it nor open the store again.
    _envs_lock.acquire()
    for store in _stores.values():
        store.thread_gate.acquire()


def _after_fork_in_parent() -> None:
    for store in _stores.values():
        store.thread_gate.release()
    _envs_lock.release()


def _notice_fork() -> None:
    """In a child, before anything else: another handler of the fork may come here before our own."""
    global _process, _envs_lock  # noqa: PLW0603  # one lock for the process
    if _process != os.getpid():
        _process = os.getpid()
        _envs_lock = threading.Lock()
        for store in _stores.values():
            store.reset_after_fork()


at_fork(_notice_fork, before=_before_fork, in_parent=_after_fork_in_parent)
