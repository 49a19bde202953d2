"""Memory of one route: a fresh interpreter creates 100,000 of them and compares its resident set.

Run as `python -m benchmarks.memory LIBRARY COUNT`; prints one JSON object. The resident set tells what a
process really pays, allocator slack included; the traced size beside it is what the objects ask for.
"""

import gc
import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.libraries import guard_named

ROOT = Path(__file__).resolve().parent.parent
COUNT = 100_000

_TIMEOUT = 120.0  # seconds


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes of one route: of resident memory, and as traced by the allocator."""

    resident: float
    traced: float


def measure(library: str, count: int = COUNT) -> Footprint:
    """Measure a library in a process of its own.

    Raises:
        RuntimeError: it failed or took longer than two minutes; the message is its last line.
    """
    command = [sys.executable, "-m", "benchmarks.memory", library, str(count)]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"no result within {_TIMEOUT:g} s") from None
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip().rpartition("\n")[2] or f"exit status {done.returncode}")
    found = json.loads(done.stdout)
    return Footprint(resident=found["resident"], traced=found["traced"])


def _names(prefix: str, count: int) -> Iterator[str]:
    return (f"api/{prefix}/{number:06d}" for number in range(count))


def _resident() -> int:
    """Bytes of this process that are in memory now."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:  # no procfs: the peak is near enough, for nothing is freed before it is read
        import resource  # not at the top: Windows has none, and it does not come this far

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")


def _populate(library: str, count: int) -> Footprint:
    guard = guard_named(library)
    gc.disable()  # collecting between so many objects takes long and changes no size
    warm = guard.populate(_names("warm", 100))  # imports, caches and free lists are not the routes'
    gc.collect()
    before = _resident()
    kept = guard.populate(_names("routes", count))
    gc.collect()
    resident = (_resident() - before) / count
    del kept
    gc.collect()
    tracemalloc.start()
    few = max(count // 10, 1)
    before = tracemalloc.get_traced_memory()[0]
    kept = guard.populate(_names("traced", few))
    gc.collect()
    traced = (tracemalloc.get_traced_memory()[0] - before) / few
    del kept, warm
    return Footprint(resident, traced)


def main() -> None:
    library, count = sys.argv[1], int(sys.argv[2])
    found = _populate(library, count)
    print(json.dumps({"resident": round(found.resident, 1), "traced": round(found.traced, 1)}), flush=True)
    os._exit(0)  # 100,000 objects need not be torn down one by one


if __name__ == "__main__":
    main()
