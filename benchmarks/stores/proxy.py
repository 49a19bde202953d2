"""A TCP proxy between a client and its store, which can delay, stall, cut and black out what passes."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self


class Proxy:
    """Forwards a port of the loopback, in a thread of its own.

    Attributes:
        delay: Seconds each chunk waits, there and back.
        loss: Share of chunks that wait ``stall`` seconds more, as a lost segment does until it is sent again.
        dark: Let nothing pass: a partition. Connections stay, and new ones are taken and hang.
    """

    def __init__(self, port: int, *, seed: int = 7) -> None:
        self._target = port
        self._random = random.Random(seed)
        self.delay = 0.0
        self.loss = 0.0
        self.stall = 0.2
        self.dark = False
        self.port = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._thread.start()
        self._ready.wait()

    @property
    def url(self) -> str:
        """The way through the proxy."""
        return f"redis://127.0.0.1:{self.port}/0"

    def _main(self) -> None:
        async def serve() -> None:
            server = await asyncio.start_server(self._take, "127.0.0.1", 0)
            self.port = server.sockets[0].getsockname()[1]
            self._stopped = asyncio.Event()
            self._ready.set()
            await self._stopped.wait()
            server.close()
            self._cut()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(serve())
        self._loop.close()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._light()
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            self._writers.discard(writer)
            return
        self._writers.add(there_writer)
        await asyncio.gather(self._pump(reader, there_writer), self._pump(there_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(65536):
                wait = self.delay + (self.stall if self._random.random() < self.loss else 0.0)
                if wait:
                    await asyncio.sleep(wait)
                await self._light()
                writer.write(chunk)
                await writer.drain()
        writer.transport.abort()
        self._writers.discard(writer)

    async def _light(self) -> None:
        while self.dark:  # noqa: ASYNC110  # it is set from another thread
            await asyncio.sleep(0.01)

    def _cut(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    def _in_loop(self, call: Callable[[], Any]) -> None:
        with suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(call)

    def cut(self) -> None:
        """Cut every connection now."""
        self._in_loop(self._cut)

    def close(self) -> None:
        """End it."""
        self._in_loop(self._stopped.set)
        self._thread.join(5.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
