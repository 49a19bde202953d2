"""A thousand pods on one real Redis: each pod's side of the exchange is the product's, its traffic is made up.

All pods live in one process, so that its own cost stays small beside the server's: a slice of them sends, and hears.
"""

from __future__ import annotations

import random
import resource
import statistics
import time
from dataclasses import dataclass
from typing import Any

import hiredis

from atrion.state import NodeRow, PhysicsVector
from atrion.state.blending import EVIDENCE_SECONDS
from atrion_cluster.redis.connection import function_names, library
from atrion_cluster.redis.shard_session import ShardSession
from atrion_cluster.redis.topology import keys_of, tags_of
from benchmarks.cluster.rates import Wires, server_seconds
from benchmarks.stores.redis_server import RedisServer

SLICES = 50
RENEWED = 0.29 * EVIDENCE_SECONDS
"""Seconds after which a busy route's row has faded by a quarter, and is sent again."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """A run of a fleet against one server; milliseconds are those of one pod's exchange."""

    case: str
    pods: int
    routes: int
    seconds: float
    wanted: float
    exchanges: float
    server_share: float
    server_mb: float
    bytes_each: float
    p50_ms: float
    p99_ms: float


def measure(pods: int, routes: int, seconds: float, interval: float) -> list[Fleet]:
    """Idle, with a tenth of the routes busy at every pod, and with five routes scarred again and again everywhere."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, pods + 4096), most))
    found = []
    for case, busy, breaking in (
        ("idle", 0, 0),
        ("a tenth of the routes busy", routes // 10, 0),
        ("incident", 0, 5),
    ):
        with RedisServer("--maxclients", str(pods + 100)) as server:
            found.append(_Run(server, pods, routes).run(case, seconds, interval, busy, breaking))
    return found


class _Run:
    def __init__(self, server: RedisServer, pods: int, routes: int) -> None:
        server.do("FUNCTION", "LOAD", library()[0])
        (self.tag,) = tags_of("fleet", 1)
        self.server = server
        self.names = [f"api/route-{number}" for number in range(routes)]
        self.peers = [ShardSession(f"pod{number}", self.tag, "c") for number in range(pods)]
        self.wires = Wires(server, pods)
        self.prefixes = [
            ("FCALL", function_names()["exchange"], 5, *keys_of(self.tag, p.node)) for p in self.peers
        ]
        for peer in self.peers:
            peer.follow(self.names)

    def run(self, case: str, seconds: float, interval: float, busy: int, breaking: int) -> Fleet:
        rng = random.Random(1)
        slices = [range(start, len(self.peers), SLICES) for start in range(SLICES)]
        for first in slices:
            self._turn(first, time.monotonic())
        took: list[float] = []
        before, cpu, began = self.server.do("INFO", "stats"), server_seconds(self.server), time.monotonic()
        turn = 0
        while (now := time.monotonic()) - began < seconds:
            chosen = slices[turn % SLICES]
            for number in chosen:
                self._speak(self.peers[number], rng, now, interval, busy, breaking)
            sent = time.monotonic()
            self._turn(chosen, now)
            took += [1e3 * (time.monotonic() - sent)] * len(chosen)
            turn += 1
            time.sleep(max(began + turn * interval / SLICES - time.monotonic(), 0.0))
        passed = time.monotonic() - began
        after, cpu = self.server.do("INFO", "stats"), server_seconds(self.server) - cpu
        memory = float(self.server.do("INFO", "memory")["used_memory_rss"]) / 1e6
        self.wires.close()
        moved = sum(after[key] - before[key] for key in ("total_net_input_bytes", "total_net_output_bytes"))
        cuts = statistics.quantiles(took, n=100)
        pods, rate = len(self.peers), len(took) / passed
        return Fleet(
            case, pods, len(self.names), passed, pods / interval, rate, cpu / passed, memory, moved / len(took),
            cuts[49], cuts[98],
        )  # fmt: skip

    def _speak(
        self, peer: ShardSession, rng: random.Random, now: float, interval: float, busy: int, breaking: int
    ) -> None:
        """What the pod's engine would send: busy routes as their evidence fades, breaking ones with every pulse."""
        rows = {self.names[n]: _row(0.0) for n in range(busy) if rng.random() < interval / RENEWED}
        rows |= {self.names[n]: _row(rng.uniform(20.0, 150.0)) for n in range(breaking)}
        peer.take(rows, now)

    def _turn(self, pods: range, now: float) -> None:
        """One exchange of each of these pods."""
        for number in pods:
            command: Any = (*self.prefixes[number], *self.peers[number].request(now))
            self.wires.sockets[number].sendall(hiredis.pack_command(command))
        for number in pods:
            answer = self.wires.answer(number)
            if self.peers[number].reply(answer, now) is None:
                raise RuntimeError(f"the server gave an unusable answer: {answer!r}")


def _row(scar: float) -> NodeRow:
    return NodeRow(PhysicsVector(12.0, 0.0, scar, 0.0), 100.0, 0.8)
