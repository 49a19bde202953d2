"""Plays recorded calls through a program that uses another library, and through what it is rewritten to.

Time is virtual, for the libraries as for Atrion: a call takes as long as it was recorded to.
"""

from __future__ import annotations

import asyncio
import csv
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import circuitbreaker
import httpx
import tenacity.nap
import time_machine

from atrion import Atrion
from atrion._migrate.project import migrate
from atrion.testing import VirtualClock

__all__ = ["PROGRAMS", "Phase", "World", "fails", "load", "play", "recorded"]

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
QUOTA, SHED = 429, 503
CLIENTS = ("192.0.2.1", "192.0.2.2")


@dataclass(frozen=True)
class Recorded:
    """One call: what the dependency does with it, and for how long."""

    at: float
    outcome: str
    seconds: float


@dataclass
class Phase:
    """What became of the calls of one phase."""

    name: str
    calls: list[Recorded]
    outcomes: list[str] = field(default_factory=list)
    """Of each call: ``answered``, ``failed``, ``refused`` or, beyond a quota, ``quota``."""
    reached: list[int] = field(default_factory=list)
    """How often each call reached the dependency."""
    errors: list[str] = field(default_factory=list)
    """The class of what each call raised, empty where it raised nothing."""
    resistances: list[float] = field(default_factory=list)
    """Of the style of v1: ohms after each call."""

    def count(self, outcome: str) -> int:
        """How many calls had this outcome."""
        return Counter(self.outcomes)[outcome]


def recorded(path: Path = HERE / "recording.csv") -> list[Phase]:
    """The phases of a recording, not yet played."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        Phase(name, [Recorded(float(row["at"]), row["outcome"], float(row["seconds"])) for row in group])
        for name, group in groupby(rows, lambda row: row["phase"])
    ]


class World:
    """Virtual time for all that reads a clock or sleeps."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self._begin = self.clock.now
        self._moved: Callable[[float], None] = self.clock.advance

    @contextmanager
    def running(self) -> Iterator[World]:
        """Time moves by :meth:`sleep` alone."""
        with (
            time_machine.travel(self.clock.now, tick=False) as wall,
            mock.patch.object(circuitbreaker, "monotonic", self.clock.monotonic),
            mock.patch.object(
                tenacity.nap, "time", SimpleNamespace(sleep=self.sleep, monotonic=time.monotonic)
            ),
        ):
            self._moved = wall.shift
            yield self

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(seconds)
        self._moved(seconds)

    def until(self, at: float) -> None:
        """Let time pass until a moment of the recording; nothing if it is past."""
        self.sleep(max(self._begin + at - self.clock.now, 0.0))


def load(library: str, engine: Atrion | None = None) -> dict[str, Any]:
    """The program that uses the library, or with an engine what it is rewritten to."""
    path = PROGRAMS / f"with_{library}.py"
    source = path.read_bytes()
    if engine is not None:
        (file,) = migrate(library, [path], engine="played:atrion").files
        if not file.changed:
            raise RuntimeError(f"{path} was not rewritten: {file.error}")
        source = file.after
    program: dict[str, Any] = {"__name__": path.stem}
    played = ModuleType("played")
    played.atrion = engine  # type: ignore[attr-defined]  # a module of the program's project
    with mock.patch.dict(sys.modules, played=played):
        exec(compile(source, str(path), "exec"), program)
    return program


def play(library: str, phases: list[Phase], *, rewritten: bool) -> list[Phase]:
    """Play a recording through the library's program, as it is or rewritten."""
    with World().running() as world:
        program = load(library, Atrion(clock=world.clock) if rewritten else None)
        if library == "v1":
            _play_telemetry(program, phases, world)
        elif library == "slowapi":
            _play_requests(program, phases, world)
        else:
            _play_calls(program["query"], phases, world)
    return phases


def _dependency(call: Recorded, world: World) -> str:
    world.sleep(call.seconds)
    if call.outcome == "failed":
        raise OSError("the dependency is down")
    if call.outcome == "invalid":
        raise ValueError("the caller asks for nonsense")
    return "answer"


def _play_calls(query: Callable[[Callable[[], str]], str], phases: list[Phase], world: World) -> None:
    for phase in phases:
        for call in phase.calls:
            world.until(call.at)
            reached = 0

            def work(call: Recorded = call) -> str:
                nonlocal reached
                reached += 1
                return _dependency(call, world)

            error = ""
            try:
                query(work)
            except Exception as raised:  # whatever a library raises is what is compared
                error = "its own" if isinstance(raised, OSError | ValueError) else type(raised).__name__
            phase.outcomes.append("answered" if not error else "failed" if reached else "refused")
            phase.reached.append(reached)
            phase.errors.append(error)


def _play_requests(program: Mapping[str, Any], phases: list[Phase], world: World) -> None:
    async def ask(host: str) -> int:
        transport = httpx.ASGITransport(program["app"], raise_app_exceptions=False, client=(host, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            return (await client.get("/item")).status_code

    known = {200: "answered", QUOTA: "quota", SHED: "refused"}
    turn = 0
    for phase in phases:
        for call in phase.calls:
            world.until(call.at)
            program["app"].state.work = partial(_dependency, call, world)
            # The first client asks twice as often as the second. Each request has an event loop of its own: in one loop
            # that is busy with nothing but requests, the middleware finds in real time that the process is saturated.
            status = asyncio.run(ask(CLIENTS[turn % 3 // 2]))
            turn += 1
            phase.outcomes.append(known.get(status, "failed"))


def _play_telemetry(program: Mapping[str, Any], phases: list[Phase], world: World) -> None:
    before = world.clock.now
    for phase in phases:
        for call in phase.calls:
            world.until(call.at + call.seconds)
            seconds, before = world.clock.now - before, world.clock.now
            resistance, _ = program["hear"](call.seconds, float(call.outcome == "failed"), seconds)
            phase.resistances.append(resistance)


def fails() -> str:
    raise OSError("down")
