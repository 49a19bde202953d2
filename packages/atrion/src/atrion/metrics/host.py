"""The readings of all processes that share a folder, so that a scrape of any one of them tells of all."""

from __future__ import annotations

import atexit
import json
import os
import time
import uuid
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from atrion.metrics.reading import Reading, merged

try:
    import fcntl
except ImportError:  # the store for workers refuses such systems
    fcntl = None  # type: ignore[assignment]

__all__ = ["HostReadings"]

EVERY: Final = 1.0
"""Seconds between two publications: what a killed process loses of its counts."""
WATCHED: Final = 600.0
"""Seconds for which processes publish after a scrape."""
MOST_BYTES: Final = 4 << 20
MOST_ROUTES: Final = 1000
"""Routes kept of processes that have ended; the others are added to ``_other``."""


class HostReadings:
    """Publishes this process's reading in a folder while somebody scrapes, and adds up those of all processes.

    Each process holds a lock for as long as it lives. The counts of one that has ended are added, once, to a file of
    the departed: counts never fall when a worker restarts. What a killed process counted in its last second is lost.

    Args:
        folder: A folder on a local disk; it is created if missing.
        read: Reads this process.
    """

    def __init__(self, folder: Path, read: Callable[[], Reading]) -> None:
        self._folder = folder
        self._read = read
        self._watched = folder / "watched"
        self._departed = folder / "departed"
        self._due = 0.0
        self._published = False
        self._process = -1
        self._name = ""
        self._unlock: Callable[[], object] | None = None
        own = weakref.ref(self)
        atexit.register(lambda: None if (kept := own()) is None else kept.leave())

    def look(self) -> None:
        """Publish if it is time, and somebody has scraped of late.

        Raises:
            OSError: the folder cannot be written to.
        """
        now = time.monotonic()
        if self._due - EVERY <= now < self._due:
            return
        self._due = now + EVERY
        try:
            watched = time.time() - self._watched.stat().st_mtime < WATCHED
        except OSError:
            return
        if watched:
            self._publish(self._read())

    def leave(self) -> None:
        """Publish the last counts, if any were published before; the process ends."""
        if self._published and self._process == os.getpid():
            with suppress(Exception):
                self._publish(self._read())

    def collect(self) -> Reading:
        """The sum of all processes; this one's are read now, the others' were published within the last second.

        Raises:
            OSError: the folder cannot be used.
        """
        own = self._read()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._watched.touch()
        with self._gate():
            self._publish(own)
            found = [own]
            departed = _load(self._departed)
            for path in sorted(self._folder.glob("*.json")):
                if path.stem == self._name:
                    continue
                seen = _load(path)
                if self._is_alive(path):
                    found.append(seen)
                    continue
                departed = merged([departed, seen.without_gauges()], MOST_ROUTES)
                # Its counts are in one of the two files whenever this process is killed, and for a moment in both.
                self._write(self._departed, departed)
                path.unlink(missing_ok=True)
                path.with_suffix(".lock").unlink(missing_ok=True)
        return merged([*found, departed])

    @contextmanager
    def _gate(self) -> Iterator[None]:
        """Only one process at a time adds to the departed."""
        with (self._folder / "gate").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _is_alive(self, path: Path) -> bool:
        try:
            with path.with_suffix(".lock").open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def _publish(self, reading: Reading) -> None:
        if self._process != os.getpid():  # new, or a child, which holds its parent's lock open
            self._folder.mkdir(parents=True, exist_ok=True)
            if self._unlock is not None:
                self._unlock()
            self._name = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
            lock = os.open(self._folder / f"{self._name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            self._unlock = weakref.finalize(self, os.close, lock)
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._process = os.getpid()
        self._write(self._folder / f"{self._name}.json", reading)
        self._published = True

    def _write(self, path: Path, reading: Reading) -> None:
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps(reading.as_dict(), separators=(",", ":")))
        draft.replace(path)


def _load(path: Path) -> Reading:
    """A published reading; an empty one if there is none, or nobody of us has written it."""
    try:
        with path.open("rb") as file:
            return Reading.from_dict(json.loads(file.read(MOST_BYTES)))
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return Reading()
