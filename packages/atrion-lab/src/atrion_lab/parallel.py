"""Runs in several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

__all__ = ["parallel"]

Job = TypeVar("Job")
Found = TypeVar("Found")


def parallel(play: Callable[[Job], Found], planned: Sequence[Job], processes: int) -> Iterator[Found]:
    """What ``play``, a function of a module, finds for each job, in their order; with ``processes`` at most."""
    if processes <= 1:
        yield from map(play, planned)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(play, planned)
