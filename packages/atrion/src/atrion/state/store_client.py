"""A client of one store: deadline, health and counters. It never raises, and logs when the store fails and recovers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from atrion.state.port import StateProvider

__all__ = ["StoreClient"]

logger: logging.Logger = logging.getLogger("atrion")

AT_ONCE = 32
"""Most concurrent requests, for a store that is asked for one route at a time."""


class StoreClient:
    """A store, its health and its counters.

    Args:
        provider: The store.
        name: What the log calls it.
        deadline: Seconds one round trip may take.
    """

    def __init__(self, provider: StateProvider, name: str, deadline: float) -> None:
        self.provider = provider
        self.deadline = deadline
        self.connected: bool = False
        self.healthy: bool = True
        self.failures: int = 0
        self.dropped: int = 0
        self._name = name

    async def connect(self) -> bool:
        """Connect within the deadline; returns whether that worked."""
        self.connected = (await self.ask(self.provider.connect))[0]
        return self.connected

    async def disconnect(self) -> None:
        """Disconnect within the deadline."""
        self.connected = False
        await self.ask(self.provider.disconnect)

    async def ask(self, call: Callable[[], Awaitable[Any]]) -> tuple[bool, Any]:
        """(True, result of ``call``), or (False, None) if it fails or exceeds the deadline."""
        try:
            async with asyncio.timeout(self.deadline):
                answer = await call()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return self._failed(
                "CancelledError"
            )  # raised inside the provider, not a cancellation of this task
        except Exception as error:
            return self._failed(f"{type(error).__name__}: {error}")
        return True, answer

    async def ask_each(
        self, calls: Mapping[str, Callable[[], Awaitable[Any]]], answered: Callable[[str, Any], None]
    ) -> bool:
        """Make ``calls`` concurrently and pass on each result; returns whether all calls made have succeeded.

        No call begins after half of the deadline; the rest is left for the next time.
        """
        now = asyncio.get_running_loop().time
        until = now() + 0.5 * self.deadline
        waiting = iter(calls.items())
        worked = True

        async def ask_in_turn() -> None:
            nonlocal worked
            for name, call in waiting:
                answers, answer = await self.ask(call)
                if answers:
                    answered(name, answer)
                worked = worked and answers
                if not worked or now() >= until:
                    return

        await asyncio.gather(*(ask_in_turn() for _ in range(min(AT_ONCE, len(calls)))))
        return worked

    async def within(self, turn: Coroutine[Any, Any, bool]) -> bool:
        """The result of a whole ``turn`` with the store, or False if it exceeds the deadline."""
        try:
            async with asyncio.timeout(self.deadline):
                return await turn
        except TimeoutError:
            return self._failed(f"no answer within {self.deadline:g} s")[0]

    def attempt(self, call: Callable[[], Any]) -> Any:
        """The result of a synchronous ``call``, or None if it fails."""
        try:
            return call()
        except Exception as error:
            self._failed(f"{type(error).__name__}: {error}")
            return None

    def _failed(self, why: str) -> tuple[bool, Any]:
        self.failures += 1
        if self.healthy:
            self.healthy = False
            logger.warning("%s fails (%s); decisions go on locally", self._name, why)
        return False, None

    def recovered(self) -> None:
        """Note that a whole turn has succeeded, and log it after a failure."""
        if not self.healthy:
            self.healthy = True
            logger.warning("%s answers again", self._name)

    def reject(self, answer: object) -> None:
        """Count an invalid answer, and log the first one."""
        self.dropped += 1
        if self.dropped == 1:
            logger.warning(
                "%s answers with invalid data (%s); it is dropped and counted", self._name, type(answer)
            )
