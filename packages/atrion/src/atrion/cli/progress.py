"""How far a long command is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

__all__ = ["progress"]


def progress(title: str) -> Callable[[float], None]:
    """Shows the share that is done on a terminal's error stream, once it takes longer than two seconds."""
    begun = time.monotonic()

    def show(share: float) -> None:
        if sys.stderr.isatty() and time.monotonic() - begun > 2.0:
            end = "\r\x1b[K" if share >= 1.0 else ""
            print(f"\r{title} {share:4.0%}", end=end, file=sys.stderr, flush=True)

    return show
