"""Receives messages of the channels between pulses, on a separate connection that reconnects."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from atrion.errors import ProviderError
from atrion_cluster.redis.connection import ServerConnection

__all__ = ["ChannelSubscriber"]

logger: logging.Logger = logging.getLogger("atrion")

PATIENCE = 5.0
"""Seconds without a message after which the server is pinged."""
BACKOFF = (0.1, 2.0)
"""Seconds before reconnecting: initial and maximum; jittered."""


class ChannelSubscriber:
    """Listens on channels. Losing a message costs nothing, so nothing here ever raises or warns.

    Args:
        dial: Opens the connection to listen on.
        wanted: Returns the channels needed now.
        heard: Called with channel and message, both untrusted.
        missed: Called with a channel that is subscribed again, and the seconds for which it was not.
    """

    def __init__(
        self,
        dial: Callable[[], Awaitable[ServerConnection]],
        wanted: Callable[[], set[bytes]],
        heard: Callable[[bytes, object], None],
        missed: Callable[[bytes, float], None],
    ) -> None:
        self._dial = dial
        self._wanted = wanted
        self._heard = heard
        self._missed = missed
        self._missing_since: dict[bytes, float] = {}
        self._subscribed = asyncio.Event()
        self._connection: ServerConnection | None = None
        self._has: set[bytes] = set()
        self._task: asyncio.Task[None] | None = None
        self._tuning: asyncio.Task[None] | None = None
        self._complained = False

    async def start(self, patience: float) -> None:
        """Listen; returns once the server has confirmed it, or after ``patience`` seconds."""
        self.tune()
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._subscribed.wait()

    def tune(self) -> None:
        """Update the subscriptions; called in the event loop of the listener."""
        wanted = self._wanted()
        for channel in wanted - self._has:
            self._missing_since.setdefault(channel, asyncio.get_running_loop().time())
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="atrion-redis-subscriber")
        elif wanted != self._has and (self._tuning is None or self._tuning.done()):
            self._tuning = asyncio.get_running_loop().create_task(self._tune())

    async def _tune(self) -> None:
        connection = self._connection
        if connection is None or not connection.open:
            return  # the subscriptions are set on connecting
        with suppress(ProviderError):
            while (wanted := self._wanted()) != self._has:
                has, self._has = self._has, wanted
                if wanted - has:
                    await connection.send("SUBSCRIBE", *sorted(wanted - has))
                if has - wanted:
                    await connection.send("UNSUBSCRIBE", *sorted(has - wanted))

    async def _run(self) -> None:
        wait = BACKOFF[0]
        while True:
            self._subscribed.clear()
            for channel in self._has:
                self._missing_since.setdefault(channel, asyncio.get_running_loop().time())
            self._has = set()
            try:
                self._connection = await self._dial()
                await self._tune()
                wait = BACKOFF[0]
                await self._listen(self._connection)
            except ProviderError:
                pass
            except Exception:  # listening continues after any error
                if not self._complained:
                    self._complained = True
                    logger.exception("listening to the store failed; it is tried again")
            await asyncio.sleep(wait * random.uniform(0.5, 1.5))
            wait = min(2.0 * wait, BACKOFF[1])

    async def _listen(self, connection: ServerConnection) -> None:
        asked = False
        while True:
            message = await connection.listen(connection.timeout if asked else PATIENCE)
            if message is not None:
                asked = False
                self._pass_on(message)
            elif asked:
                connection.close()
                return
            else:
                asked = True
                await connection.send("PING")
            await asyncio.sleep(0)  # other tasks must run during a burst of messages

    def _pass_on(self, message: Any) -> None:
        match message:
            case [b"message", bytes(channel), content]:
                self._heard(channel, content)
            case [b"subscribe", bytes(channel), _]:
                self._subscribed.set()
                since = self._missing_since.pop(channel, None)
                if since is not None:
                    self._missed(channel, asyncio.get_running_loop().time() - since)

    def close(self) -> list[asyncio.Task[None]]:
        """Stop listening; returns the tasks that are still ending."""
        ending = [task for task in (self._task, self._tuning) if task is not None]
        for task in ending:
            task.cancel()
        self._task = self._tuning = None
        if self._connection is not None:
            self._connection.close()
        return ending

    def abandon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Release the resources of a closed loop or of a parent process."""
        self._task = self._tuning = None
        if self._connection is not None:
            self._connection.abandon(loop)
