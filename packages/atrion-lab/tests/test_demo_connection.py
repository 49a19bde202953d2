"""The demo's connections follow what the server says of them."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from atrion_lab.demo.connection import Connection


@pytest.mark.parametrize("header, closed", [("connection: close\r\n", True), ("", False)])
def test_a_connection_that_the_server_closes_is_not_used_again(header: str, closed: bool) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 OK\r\n{header}content-length: 2\r\n\r\nok".encode())
        with suppress(ConnectionError):
            await reader.read()  # it waits for the client to close
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        left.set()

    left = asyncio.Event()

    async def ask() -> tuple[int, bool]:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, "127.0.0.1", port)
        heard: asyncio.Future[tuple[int, bool]] = loop.create_future()
        connection.ask(
            b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
            lambda status: heard.done() or heard.set_result((status, connection.transport.is_closing())),
        )
        found = await asyncio.wait_for(heard, 20.0)
        connection.hang_up()
        await asyncio.wait_for(left.wait(), 20.0)
        server.close()
        return found

    assert asyncio.run(ask()) == (200, closed)
