"""AtrionStudio beside the demo: a process of its own that watches the demo's workers through their store."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from atrion.errors import AtrionError, MissingExtraError

__all__ = ["check_studio", "studio_beside"]


def check_studio() -> None:
    """Refuse to begin without what is needed.

    Raises:
        AtrionError: atrion-studio is not installed.
        MissingExtraError: lmdb is not installed.
    """
    if importlib.util.find_spec("atrion_studio") is None:
        raise AtrionError("atrion demo --studio needs the dashboard: pip install atrion-studio")
    if importlib.util.find_spec("lmdb") is None:
        raise MissingExtraError("atrion demo --studio", "workers")


@contextmanager
def studio_beside(say: Callable[[str], None]) -> Iterator[str]:
    """The URL of a store for the demo's workers, watched by a Studio whose address is told to ``say``.

    Raises:
        AtrionError: the Studio does not start.
    """
    with tempfile.TemporaryDirectory(prefix="atrion-demo-") as folder:
        store = f"workers://{folder}"
        process = subprocess.Popen(
            [sys.executable, "-m", "atrion", "studio", store, "--tied"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,  # the parent handles Ctrl-C
        )
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            line = process.stdout.readline().strip()
            if not line:
                raise AtrionError("the Studio did not start; run it alone to see why: atrion studio --demo")
            say(f"The dashboard is at {line.rpartition(' ')[2]}")
            yield store
        finally:
            process.terminate()
            process.wait()
            process.stdin.close()
            process.stdout.close()
