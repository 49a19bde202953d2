"""What every integration must do, as the columns of one table. Each check returns what the table says of it."""

from __future__ import annotations

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from atrion import Atrion, Call, Decision, Observer
from atrion.state import Clock
from atrion.testing import VirtualClock
from atrion_lab.demo.services import times

__all__ = ["COLUMNS", "Heard", "Recorder", "Slots", "Subject", "eventually", "in_background"]

COLUMNS = {
    "refused": "a shed request or call",
    "faults": "failures",
    "name": "route",
    "tier_and_key": "tier and key",
    "nothing_left": "nothing in flight after",
    "streams": "streams",
    "excluded": "exclusion",
    "shadow": "shadow mode",
    "pattern": "settings by pattern",
    "outage": "a dependency that is down for 10 s",
}


class Recorder(Atrion):
    """An engine, on a clock that stands still unless another is given, whose calls can be asked how they ended."""

    def __init__(self, clock: Clock | None = None, **arguments: Any) -> None:
        super().__init__(clock=clock or VirtualClock(), **arguments)
        self.calls: list[Call] = []

    def flow(self, *arguments: Any, **options: Any) -> Call:
        call = super().flow(*arguments, **options)
        self.calls.append(call)
        return call

    def in_flight(self) -> int:
        return sum(route.in_flight for route in self.snapshot().values())


class Heard(Observer):
    def __init__(self) -> None:
        self.decisions: list[Decision] = []

    def on_decision(self, decision: Decision) -> None:
        self.decisions.append(decision)


class Slots(threading.Event):
    """A gate for load: who waits at it holds one of so many slots, for ``seconds`` on average."""

    def __init__(self, slots: int, seconds: float) -> None:
        super().__init__()
        self._threads = ThreadPoolExecutor(slots)  # first come, first served, unlike a semaphore of threads
        self._tasks = asyncio.Semaphore(slots)
        self._draw = times(seconds)

    def wait(self, timeout: float | None = None) -> bool:
        self._threads.submit(time.sleep, self._draw()).result()
        return True

    async def hold(self) -> None:
        async with self._tasks:
            await asyncio.sleep(self._draw())


class Subject(ABC):
    """One integration: a row of the table, and a check for each column."""

    title: str

    @abstractmethod
    def refused(self) -> str: ...

    @abstractmethod
    def faults(self) -> str: ...

    @abstractmethod
    def name(self) -> str: ...

    @abstractmethod
    def tier_and_key(self) -> str: ...

    @abstractmethod
    def nothing_left(self) -> str: ...

    @abstractmethod
    def streams(self) -> str: ...

    @abstractmethod
    def excluded(self) -> str: ...

    @abstractmethod
    def shadow(self) -> str: ...

    @abstractmethod
    def pattern(self) -> str: ...

    def outage(self) -> str:
        """What a dependency that is down costs, where the integration is one of clients."""
        return "–"


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until something is so."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.005)


@contextmanager
def in_background(serve: Callable[[], None], stop: Callable[[], None]) -> Iterator[None]:
    """A server in a thread of its own."""
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop()
        thread.join(10.0)
