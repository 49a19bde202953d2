"""Exchanges a second of one Redis core, and the bytes of each: many connections, as many pods have."""

from __future__ import annotations

import random
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import hiredis

from atrion_cluster.redis.connection import function_names, library
from atrion_cluster.redis.topology import keys_of, tags_of
from benchmarks.stores.redis_server import RedisServer

CONNECTIONS = 100


@dataclass(frozen=True, slots=True)
class Rate:
    """What one kind of exchange costs the server; ``told`` is how many changed routes it brought back."""

    case: str
    rows: int
    told: float
    per_cpu_second: float
    cpu_us: float
    bytes_in: float
    bytes_out: float


class Wires:
    """Plain sockets to the server, one for each simulated pod."""

    def __init__(self, server: RedisServer, count: int) -> None:
        self.sockets = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(count)]
        self.readers = [hiredis.Reader() for _ in self.sockets]
        for each in self.sockets:
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def round(self, commands: Sequence[bytes]) -> list[Any]:
        """One command on each socket, and all the answers."""
        for each, command in zip(self.sockets, commands, strict=True):
            each.sendall(command)
        return [self.answer(number) for number in range(len(commands))]

    def answer(self, number: int) -> Any:
        """The next answer on one socket."""
        reader = self.readers[number]
        while (answer := reader.gets()) is False:
            reader.feed(self.sockets[number].recv(262_144))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        """Hang up."""
        for each in self.sockets:
            each.close()


def packed_row(scar: float, evidence: float) -> bytes:
    """A row as it travels."""
    return struct.pack("<6d", 50.0, 0.1, scar, 1234.5, evidence, 0.8)


def exchange(tag: str, node: str, *arguments: Any) -> bytes:
    """The bytes of one exchange."""
    keys = keys_of(tag, node)
    command = ("FCALL", function_names()["exchange"], 5, *keys, node, *arguments)
    made: bytes = hiredis.pack_command(command)
    return made


def server_seconds(server: RedisServer) -> float:
    """CPU seconds that the server has used."""
    found = server.do("INFO", "cpu")
    return float(found["used_cpu_user"]) + float(found["used_cpu_sys"])


def measure(seconds: float, routes: int = 100) -> list[Rate]:
    """Calm, a busy calm, and an incident."""
    cases = [
        ("calm: nothing to say, nothing new", 0, 0),
        ("busy: 5 rows, nothing new", 5, 0),
        ("busy: 20 rows, nothing new", 20, 0),
        ("incident: 5 rows, 100 changes told", 5, 100),
    ]
    found = []
    for case, rows, changes in cases:
        with RedisServer() as server:
            found.append(_measure(server, case, rows, changes, seconds, routes))
    return found


def curve(seconds: float) -> list[Rate]:
    """How the cost grows with what changes, and not with what there is: rows said, changes told, routes kept."""
    found = []
    for routes, rows, changes in (
        (10, 0, 0), (100, 0, 0), (1000, 0, 0), (1000, 1, 0), (1000, 10, 0), (1000, 50, 0), (1000, 0, 10),
        (1000, 0, 100), (1000, 0, 1000),
    ):  # fmt: skip
        with RedisServer() as server:
            found.append(_measure(server, f"{routes} routes", rows, changes, seconds, routes))
    return found


def _measure(server: RedisServer, case: str, rows: int, changes: int, seconds: float, routes: int) -> Rate:
    server.do("FUNCTION", "LOAD", library()[0])
    (tag,) = tags_of("bench", 1)
    names = [f"api/route-{number}" for number in range(routes)]
    wires = Wires(server, CONNECTIONS)
    rng = random.Random(3)
    first = [part for name in names for part in (name, packed_row(10.0, 100.0))]
    answers = wires.round(
        [
            exchange(tag, f"n{number}", "", 0, "bq", 1000, "c", tag, routes, *first)
            for number in range(CONNECTIONS)
        ]
    )

    def commands() -> list[bytes]:
        epoch, version = answers[-1][0], max(answer[1] for answer in answers)
        made = []
        for number in range(CONNECTIONS):
            parts = [part for name in rng.sample(names, rows) for part in (name, packed_row(10.0, 100.0))]
            # A node far behind is told all; one at the newest version, nothing.
            since = 0 if changes else version
            made.append(
                exchange(tag, f"n{number}", epoch, since, "", changes or 1000, "c", tag, rows, *parts)
            )
        return made

    answers = wires.round(commands())
    fixed = commands()
    before, cpu, calls, told = server.do("INFO", "stats"), server_seconds(server), 0, 0.0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answers = wires.round(commands() if rows else fixed)
        told += sum(len(answer[4]) for answer in answers) / 2
        calls += CONNECTIONS
    cpu = server_seconds(server) - cpu
    after = server.do("INFO", "stats")
    wires.close()
    return Rate(
        case, rows, told / calls, calls / cpu, 1e6 * cpu / calls,
        (after["total_net_input_bytes"] - before["total_net_input_bytes"]) / calls,
        (after["total_net_output_bytes"] - before["total_net_output_bytes"]) / calls,
    )  # fmt: skip
