"""The demo's runs: a service of one of the shapes, unprotected and protected, and its load."""

from __future__ import annotations

import asyncio
import itertools
import socket
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from atrion.errors import AtrionError
from atrion.providers import provider_from
from atrion.state import Inspect
from atrion_lab.demo.load import PHASES
from atrion_lab.demo.plot import Recording
from atrion_lab.demo.processes import Processes, Row
from atrion_lab.demo.result import Service, summary, trouble
from atrion_lab.demo.server import BACKLOG
from atrion_lab.demo.services import DEMO, SHAPES
from atrion_lab.demo.view import Scene, View

__all__ = ["demonstrate", "lasts", "measure", "play", "server", "shared_store"]

BALANCED = sys.platform == "linux"
"""Whether the kernel balances connections over the sockets of a port; elsewhere one process takes most of them."""
STARTS = 2.5
"""Approximate seconds in which the processes of the demo start."""
LEAST = 5.0
"""Minimum seconds of one run: a shorter overload does not fill the queue."""
MEASURE = 0.1
"""Share of the length in which the capacity is measured, between 1 and 5 seconds."""


def _listen(workers: int) -> Iterator[socket.socket]:
    """Listening sockets of one port, one for each worker where the kernel then gives them equal shares."""
    first = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG, reuse_port=BALANCED)
    yield first
    for _ in range(workers - 1 if BALANCED else 0):
        yield socket.create_server(first.getsockname(), backlog=BACKLOG, reuse_port=True)


@contextmanager
def server(processes: Processes, shape: str, workers: int, provider: str | None) -> Iterator[int]:
    """The port of so many worker processes; protected where they have a provider.

    Raises:
        AtrionError: no port is free, or a worker does not start.
    """
    with ExitStack() as stack:
        try:
            listeners = [stack.enter_context(each) for each in _listen(workers)]
        except OSError as error:
            raise AtrionError(f"the demo found no port on 127.0.0.1 to listen on: {error}") from error
        for worker in range(workers):
            descriptor = listeners[worker % len(listeners)].fileno()
            arguments = [shape, worker, workers, descriptor, *([provider] if provider else [])]
            name = "service" if workers == 1 else f"service {worker + 1}"
            processes.start(name, "server", arguments, keep=[descriptor])
        ready = 0
        for _, row in processes.rows():
            ready += bool(row.get("ready"))
            if ready == workers:
                break
        yield int(listeners[0].getsockname()[1])


@contextmanager
def shared_store(workers: int, given: str | None = None) -> Iterator[str]:
    """The URL of a provider for so many workers: the ``given`` one, a folder they share, or memory for one alone."""
    if given is not None:
        yield given
        return
    if workers == 1:
        yield "memory:"
        return
    with tempfile.TemporaryDirectory(prefix="atrion-demo-") as folder:
        yield f"workers://{folder}"


def sharing(provider: str) -> int:
    """Number of nodes in a store with a recent update."""

    async def count() -> int:
        store = provider_from(provider)
        await store.connect()
        try:
            return len(await store.list_nodes()) if isinstance(store, Inspect) else 0
        finally:
            await store.disconnect()

    return asyncio.run(count())


def measure(view: View, shape: str, workers: int, seconds: float, seed: int = 1) -> float:
    """The capacity of an unprotected service, in answers per second."""
    scene = Scene("measuring what the service can do")
    view.show(scene)
    with Processes() as processes, server(processes, shape, workers, None) as port:
        processes.start("load", "load", [port, shape, seed, 0.0, 0.0, seconds])
        for name, row in processes.rows():
            if "capacity" in row:
                return float(row["capacity"])
            if scene.take(name, row):
                view.show(scene)
    raise AtrionError("the demo could not measure the capacity of the service")


def play(
    view: View, scene: Scene, shape: str, workers: int, provider: str | None, seconds: float, seed: int = 1
) -> tuple[dict[str, Row], Service]:
    """One run: the last line of each phase, and what the service's processes were like in overload."""
    phases: dict[str, Row] = {}
    seen: list[Row] = []
    view.show(scene)
    with Processes() as processes, server(processes, shape, workers, provider) as port:
        processes.start("load", "load", [port, shape, seed, scene.capacity, scene.overload, seconds])
        for name, row in processes.rows():
            if name != "load" and scene.phase == "overload":
                seen.append(row)
            if row.get("end"):
                phases[row["phase"]] = row
            elif scene.take(name, row):
                view.show(scene)
    lag, cpu = (statistics.median([row[what] for row in seen] or [0.0]) for what in ("lag", "cpu"))
    return phases, Service(lag, cpu, SHAPES[shape].computes)


def lasts(seconds: float) -> float:
    """Seconds that the demo takes if ``seconds`` are requested."""
    return max(seconds, 2.0 * LEAST + STARTS + 1.0)


def demonstrate(
    view: View, shape: str, overload: float, workers: int, seconds: float, store: str | None = None
) -> tuple[dict[str, Any], list[str], list[Recording]]:
    """Measure the capacity, then play both runs: the result, notes on the machine, and what a figure shows.

    The protected service shares its state in ``store``, a provider's URL, where one is given.
    """
    measuring = min(max(MEASURE * seconds, 1.0), 5.0)
    each = max((seconds - measuring - STARTS) / 2.0, LEAST)
    capacity = measure(view, shape, workers, measuring)
    view.say(f"The service can answer {capacity:.0f} requests a second.")
    result: dict[str, Any] = {} if shape == DEMO[0] else {"shape": shape}
    result |= {"capacity_rps": round(capacity, 1), "offered_rps": 0.0}
    notes, recordings = [], []
    for run_name, title in (("unprotected", "unprotected"), ("protected", "with Atrion")):
        with ExitStack() as stack:
            provider = stack.enter_context(shared_store(workers, store)) if run_name == "protected" else None
            scene = Scene(title, capacity, overload, each)
            phases, service = play(view, scene, shape, workers, provider, each)
            if provider is not None and workers > 1:
                result["workers"], result["workers_sharing"] = workers, sharing(provider)
        result[run_name] = found = summary(phases, capacity)
        result["offered_rps"] = round(phases["overload"]["offered"], 1)
        view.say(f"{title}: {found['goodput_ratio']:.0%} of its capacity was answered in time.")
        notes.append(trouble(title, phases["overload"], service, overload * capacity))
        recordings.append(_recording(scene, phases["overload"]))
    return result, [note for note in notes if note], recordings


def _recording(scene: Scene, overload: Row) -> Recording:
    starts = dict(zip(PHASES, itertools.accumulate(PHASES.values(), initial=0.0), strict=False))
    points = [(starts[phase] * scene.whole + at, rate / scene.capacity) for phase, at, rate in scene.sparks]
    tiers = {name: tally["good"] / max(tally["sent"], 1) for name, tally in overload["tiers"].items()}
    return Recording(scene.title, scene.whole, points, tiers)
