"""What the tests of the pulse's life share: a store that tells what was asked of it, and ways to wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from atrion import InMemoryProvider
from atrion.state import ClusterScar, NodeRow, Pulse
from packages.atrion.tests.waiting import eventually


class Counting(InMemoryProvider):
    """Tells when it was connected, asked three times, and left."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[str] = []
        self.third = asyncio.Event()

    async def connect(self) -> None:
        self.log.append("connect")

    async def disconnect(self) -> None:
        self.log.append("disconnect")

    async def exchange(
        self, node: str, rows: Mapping[str, NodeRow], routes: list[str]
    ) -> Mapping[str, ClusterScar]:
        self.log.append("exchange")
        if self.log.count("exchange") >= 3:
            self.third.set()
        return await super().exchange(node, rows, routes)

    def runs(self) -> bool:
        """Whether it is asked, for at least one turn more, within some seconds."""
        before = self.log.count("exchange")
        return eventually(lambda: self.log.count("exchange") > before)


async def soon(what: Callable[[], bool]) -> bool:
    return await asyncio.to_thread(eventually, what)


def others() -> set[asyncio.Task[Any]]:
    return asyncio.all_tasks() - {task for task in [asyncio.current_task()] if task is not None}


async def nothing() -> None: ...


def pulse_of(
    turn: Callable[[], Awaitable[bool]],
    enter: Callable[[], Awaitable[None]] = nothing,
) -> Pulse:
    return Pulse(turn, 0.1, enter, nothing)


async def works() -> bool:
    return True
