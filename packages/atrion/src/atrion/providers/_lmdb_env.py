"""An LMDB environment, opened once per process and path, checked before it is opened, never blocking, safe to fork.

LMDB forbids opening a store twice in one process and using it across a fork, and its own write lock blocks. So every
provider of a path shares one :class:`LmdbEnv`, and a forked child reopens it. Every transaction is guarded by the
*gate*, an advisory file lock that is tried and never waited for. The kernel releases the gate when its holder dies. It
is held for microseconds only, and there are no read transactions, which a dead process could leave behind.
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
    except ImportError:  # Windows: the provider refuses to be created
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
        """How often the store was opened; anything read from it is invalid after a change of this number."""
        self.tables: dict[bytes, lmdb._Database] = {}
        self.env: lmdb.Environment | None = None
        self.thread_gate = threading.Lock()
        self._gate: int | None = None
        self._inode = self._size = 0

    # --- the gate --------------------------------------------------------------------------------------------

    def try_gate(self) -> bool:
        """Try to take the gate, until :meth:`leave_gate`; returns whether it was free, and never waits.

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
            self._drop_gate()  # the folder was replaced, so this gate guards nothing any more
        return False

    def _drop_gate(self) -> None:
        if self._gate is not None:
            os.close(self._gate)
            self._gate = None

    def leave_gate(self) -> None:
        """Release the gate."""
        if self._gate is not None:
            fcntl.flock(self._gate, fcntl.LOCK_UN)
        self.thread_gate.release()

    # --- the environment, used only while holding the gate -------------------------------------------------------

    def environment(self) -> lmdb.Environment:
        """The environment; it is reopened if it is not open or its file has been replaced.

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
                sync=False,  # safe if a process dies; after a crash of the host, the check above finds damage
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
        """Move a damaged file away: mapping it would crash the process."""
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
        """In a forked child: drop the parent's environment, whose thread may hold the gate during the fork."""
        self.thread_gate = threading.Lock()
        self.close()

    def close(self) -> None:
        """Close the environment; the gate must not be held."""
        self._close_environment()
        self._drop_gate()


def _identity(path: Path) -> tuple[int, int]:
    """Identity and size of the file: reading a mapped file that has shrunk would kill the process."""
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
    """The store of a folder in this process, with one more user."""
    _notice_fork()
    with _envs_lock:
        store = _stores.setdefault(path.resolve(), LmdbEnv(path, map_size))
        store.users += 1
        return store


def release(store: LmdbEnv) -> None:
    """Remove a user; the last one closes the store."""
    _notice_fork()
    with _envs_lock:
        store.users -= 1
        if store.users > 0:
            return
        _stores.pop(store.path.resolve(), None)
        with store.thread_gate:
            store.close()


def _before_fork() -> None:
    # No other thread may have a transaction during a fork: the child could neither end it nor reopen the store.
    _envs_lock.acquire()
    for store in _stores.values():
        store.thread_gate.acquire()


def _after_fork_in_parent() -> None:
    for store in _stores.values():
        store.thread_gate.release()
    _envs_lock.release()


def _notice_fork() -> None:
    """In a forked child, before any use: another fork handler may run before ours."""
    global _process, _envs_lock  # noqa: PLW0603  # one lock for the process
    if _process != os.getpid():
        _process = os.getpid()
        _envs_lock = threading.Lock()
        for store in _stores.values():
            store.reset_after_fork()


at_fork(_notice_fork, before=_before_fork, in_parent=_after_fork_in_parent)
