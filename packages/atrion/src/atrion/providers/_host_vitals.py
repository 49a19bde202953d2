"""Vitals of the processes of one host: a small file for each, beside the store they share, while somebody watches."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

from atrion.errors import ProviderError
from atrion.state.port import VITALS_EXPIRY, VITALS_MOST_BYTES

__all__ = ["HostVitals"]

MOST_NODES: Final = 1000
MOST_BYTES: Final = VITALS_MOST_BYTES + (1 << 14)
"""Bytes of one file that are read: the longest vitals, and the name of their node before them."""
FORGET: Final = 60.0
"""Seconds after which a file is removed."""


class HostVitals:
    """Files in ``folder``: ``watched``, which watchers touch, and one for each node.

    Ages are differences of this host's wall clock, by which the files are stamped; one that is set back makes files
    look new until they are written again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._watched = folder / "watched"

    def is_watched(self) -> bool:
        """Whether a watcher has been here of late."""
        try:
            return time.time() - self._watched.stat().st_mtime < VITALS_EXPIRY
        except OSError:
            return False

    def publish(self, node: str, vitals: bytes) -> None:
        """Replace a node's file; a reader sees the old one or the new one, and never a part.

        Raises:
            OSError: the folder cannot be written to.
            ProviderError: there is too much.
        """
        if len(vitals) > VITALS_MOST_BYTES:
            raise ProviderError(f"{len(vitals)} bytes of vitals: at most {VITALS_MOST_BYTES} are kept")
        self._folder.mkdir(exist_ok=True)
        target = self._folder / sha256(node.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        draft = target.with_suffix(f".{os.getpid()}")
        draft.write_bytes(json.dumps(node).encode() + b"\n" + vitals)  # on one line, whatever it is called
        draft.replace(target)

    def watch(self) -> Mapping[str, tuple[float, bytes]]:
        """Touch ``watched``, and read the nodes' files; those that nobody renews are removed after a minute.

        Raises:
            OSError: the folder cannot be used.
        """
        self._folder.mkdir(exist_ok=True)
        self._watched.touch()
        now = time.time()
        found = {}
        for path in sorted(self._folder.iterdir())[:MOST_NODES]:
            if path == self._watched:
                continue
            try:
                age = now - path.stat().st_mtime
                if age > FORGET:
                    path.unlink()
                elif age <= VITALS_EXPIRY and not path.suffix:
                    with path.open("rb") as file:
                        node, _, vitals = file.read(MOST_BYTES).partition(b"\n")
                    if len(vitals) <= VITALS_MOST_BYTES:
                        found[str(json.loads(node))] = (max(age, 0.0), vitals)
            except (OSError, ValueError):  # its process has just replaced it, or nobody of us has written it
                continue
        return found
