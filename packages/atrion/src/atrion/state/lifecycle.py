"""An engine's use of its stores: connects on the first entry, pulses meanwhile, and disconnects on the last exit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from atrion.state.manager import StateManager
from atrion.state.pulse import Pulse, to_the_end

__all__ = ["Lifecycle"]

FLUSH_SECONDS = 0.5
"""Most seconds for the last pulse before disconnecting."""
DISCONNECT_SECONDS = 0.4
"""Most seconds for disconnecting."""


class Lifecycle:
    """Runs the pulse from the first entry to the last exit; entries count.

    Args:
        manager: The stores.
        interval: Seconds between pulses.
        turn: One pulse; returns whether the shared store answered.
        recall: Restores routes with what the stores remember; called after connecting.
    """

    def __init__(
        self,
        manager: StateManager,
        interval: float,
        turn: Callable[[], Awaitable[bool]],
        recall: Callable[[], None],
    ) -> None:
        self._manager = manager
        self._recall = recall
        self.pulse: Pulse = Pulse(turn, interval, self._connect, self._flush_and_disconnect, manager.node)
        self._ran_in_parent = False

    async def enter(self) -> None:
        """Connect, and pulse as a task of the running loop."""
        self._ran_in_parent = False
        await self.pulse.join()

    async def exit(self) -> None:
        """Leave the running loop; the last exit flushes and disconnects, within a second, even if cancelled."""
        await self.pulse.part()

    def enter_thread(self) -> None:
        """Connect, and pulse in a daemon thread."""
        self._ran_in_parent = False
        self.pulse.join_thread()

    def exit_thread(self) -> None:
        """Leave the thread; the last exit ends it."""
        self.pulse.part_thread()

    async def _connect(self) -> None:
        try:
            await self._manager.connect()
        except BaseException:  # cancelled
            await to_the_end(self._disconnect())
            raise
        self._recall()

    async def _flush_and_disconnect(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                if self._manager.healthy:
                    await self.pulse.once()
        await self._disconnect()

    async def _disconnect(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(DISCONNECT_SECONDS):
                await self._manager.disconnect()

    # --- forks -----------------------------------------------------------------------------------------------

    def after_fork(self, node: str) -> None:
        """Forget, in a child process, what did not survive the fork; ``node`` is the child's name."""
        self._manager.node = self.pulse.node = node
        self._ran_in_parent = self.pulse.abandon() or self._ran_in_parent

    def resume(self) -> None:
        """Pulse in a thread of the child, unless it has entered by itself, if the parent did."""
        if self._ran_in_parent:
            self._ran_in_parent = False
            self.pulse.join_thread(wait=False)
