"""Streams, uploads and background tasks beside ordinary routes, which they must not affect."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

__all__ = ["Companions", "stream"]

EVENTS, PERIOD = 12, 0.25
"""An event stream's events, and seconds between two."""
AFTERWARDS = 2.0
"""Seconds for which a background task goes on after the last byte."""
CHUNK, CHUNKS = bytes(65536), 128
"""An export: 8 MiB, more than the kernel keeps for a client that reads slowly."""
READ = 65536
PAUSE = 0.02
"""Seconds between two reads of a slow client: an export takes some 2.5 s."""
UPLOAD, PIECES = bytes(100), 20
"""An upload comes in so many pieces, one in each AFTERWARDS / PIECES seconds."""
CLIENTS = 10
"""Clients of each kind, each asking again and again."""
HEAD_OF = {"/events": b"text/event-stream", "/export": b"application/octet-stream", "/upload": b"text/plain"}


async def stream(scope: Any, receive: Any, send: Any) -> bool:
    """Serve one of these routes, and work on for a while after its last byte; False where it is none of them."""
    kind = HEAD_OF.get(scope["path"])
    if kind is None:
        return False
    if scope["path"] == "/upload":
        while (await receive()).get("more_body", False):
            pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    if scope["path"] == "/events":
        for _ in range(EVENTS):
            await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
            await asyncio.sleep(PERIOD)
    elif scope["path"] == "/export":
        for _ in range(CHUNKS):
            await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
    await asyncio.sleep(AFTERWARDS)
    return True


class Companions:
    """Clients of the streams at ``port``; they count the answers."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._answers: list[bytes] = []

    async def run(self) -> None:
        """Ask until cancelled."""
        async with asyncio.TaskGroup() as group:
            for client in (self._events, self._export, self._upload):
                for _ in range(CLIENTS):
                    group.create_task(self._again(client))

    async def _again(self, client: Callable[[Any, Any], Any]) -> None:
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=READ)
            try:
                await client(reader, writer)
            except OSError:  # the server ends with the scenario
                return
            finally:
                writer.transport.abort()

    async def _head(self, reader: asyncio.StreamReader) -> None:
        self._answers.append((await reader.readline())[9:12])

    async def _events(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET /events HTTP/1.1\r\nhost: lab\r\nconnection: close\r\n\r\n")
        await self._head(reader)
        while await reader.read(READ):
            pass

    async def _export(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET /export HTTP/1.1\r\nhost: lab\r\nconnection: close\r\n\r\n")
        await self._head(reader)
        while True:
            if not await reader.read(READ):
                return
            await asyncio.sleep(PAUSE)

    async def _upload(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = len(UPLOAD) * PIECES
        head = f"POST /upload HTTP/1.1\r\nhost: lab\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        writer.write(head.encode())
        for _ in range(PIECES):
            writer.write(UPLOAD)
            await asyncio.sleep(AFTERWARDS / PIECES)
        await self._head(reader)

    def measured(self) -> dict[str, float]:
        """What became of the streams, 1 being all: an answer that never began is one that is not answered."""
        total = max(len(self._answers), 1)
        return {
            "streams answered": self._answers.count(b"200") / total,
            "streams refused": self._answers.count(b"503") / total,
        }
