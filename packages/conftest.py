"""For the tests of every distribution: hypothesis, coverage, and who waits for whom when they run side by side."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from hypothesis import settings

# No time limits on a shared machine, nothing remembered from one checkout's run to the next, and the same examples
# each time: a change is judged by what it changes. `pytest --hypothesis-profile=search` looks for new ones.
settings.register_profile("atrion", deadline=None, database=None, derandomize=True)
settings.register_profile("search", deadline=None, database=None, max_examples=1000, print_blob=True)
settings.load_profile("atrion")

UNTRACED = {"atrion-lab", "atrion-studio"}
CORES, TURN = Path(__file__), Path(__file__).parent
"""What the processes of pytest-xdist lock: nobody else does, and it is there."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files of long tests, so that no process is left with one at the end.

    Long tests are not traced: tracing makes simulations several times slower, and the short tests show what is covered.
    Nor is the dashboard, which is no part of the core: the lock of coverage's tracers once stopped its server's thread.
    """
    slow = {item for item in items if item.get_closest_marker("slow")}
    for item in items:
        if item in slow or not UNTRACED.isdisjoint(item.path.parts):
            item.add_marker("no_cover")
    files = {item.path for item in slow}
    items.sort(key=lambda item: item.path not in files)


@contextmanager
def locked(path: Path, operation: int) -> Iterator[None]:
    """Hold a lock of ``flock`` on what is at ``path``."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, operation)
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing is not enough if a test has forked a child
        os.close(descriptor)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let the other processes wait while a test marked ``alone`` runs."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return (yield)
    alone = item.get_closest_marker("alone") is not None
    with ExitStack() as stack:
        with locked(TURN, fcntl.LOCK_EX):  # kept while waiting, so that nobody's next test overtakes
            stack.enter_context(locked(CORES, fcntl.LOCK_EX if alone else fcntl.LOCK_SH))
        return (yield)
