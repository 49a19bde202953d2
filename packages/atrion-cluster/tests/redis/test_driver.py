"""What is used of redis-py and asyncio beside their public interface is still there, and does what it did."""

from __future__ import annotations

import asyncio
import gc
import warnings
from typing import Any

from redis.asyncio import Connection

from atrion_cluster.redis.driver import detach, end_transport, streams_of
from benchmarks.stores.redis_server import RedisServer


def connection_to(server: RedisServer) -> Any:
    return Connection(host="127.0.0.1", port=server.port)


def test_a_connection_has_the_streams_it_reads_and_writes(redis_server: RedisServer) -> None:
    async def main() -> None:
        connection = connection_to(redis_server)
        assert streams_of(connection) == (None, None)
        await connection.connect()
        reader, writer = streams_of(connection)
        assert reader is not None
        assert writer is not None
        assert not reader.at_eof()
        writer.write(b"QUIT\r\n")
        await connection.read_response()
        for _ in range(100):
            await asyncio.sleep(0.01)
            if reader.at_eof():
                break
        assert reader.at_eof()  # by which a server that hung up is known
        await connection.disconnect()

    asyncio.run(main())


def test_a_detached_connection_is_collected_without_complaint(redis_server: RedisServer) -> None:
    async def main() -> None:
        connection = connection_to(redis_server)
        await connection.connect()
        _, writer = streams_of(connection)
        assert writer is not None
        detach(connection)
        assert not connection.is_connected
        with warnings.catch_warnings(record=True) as complaints:
            warnings.simplefilter("always")
            del connection
            gc.collect()
        assert [str(complaint.message) for complaint in complaints] == []
        assert not writer.is_closing()
        writer.transport.abort()
        await asyncio.sleep(0)

    asyncio.run(main())


def test_a_transport_of_a_closed_loop_is_ended(redis_server: RedisServer) -> None:
    loop = asyncio.new_event_loop()
    connection = connection_to(redis_server)
    loop.run_until_complete(connection.connect())
    _, writer = streams_of(connection)
    assert writer is not None
    detach(connection)
    loop.close()
    sock = writer.get_extra_info("socket")
    assert sock.fileno() >= 0
    end_transport(writer.transport)
    assert sock.fileno() == -1
