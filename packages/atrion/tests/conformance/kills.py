"""Calls of every guarded server that are killed at random points: nothing may be left in flight."""

from __future__ import annotations

import gc
import random
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from threading import Event

from packages.atrion.tests.conformance.grpc_services import METHODS, GrpcClient
from packages.atrion.tests.conformance.incoming import HttpClient, Incoming
from packages.atrion.tests.conformance.serving import CANCEL_AFTER
from packages.atrion.tests.conformance.subject import Recorder, eventually

__all__ = ["killed", "table"]

AT_ONCE = 8
BATCH = 16
"""Calls after which everything that is held goes on, and nothing may be left."""
LONGEST = 0.01
"""Seconds after which a client leaves at the latest."""
TURNS = 40
"""Turns of the event loop after which a call is cancelled at the latest."""
Kill = Callable[[], object]


def _exchange(client: HttpClient, operation: str, wait: float, *headers: str, part: float = 1.0) -> None:
    """Send a request, or a part of it, and leave without reading the answer."""
    head = "".join(f"{line}\r\n" for line in (f"GET {client.path(operation)} HTTP/1.1", "host: x", *headers))
    sent = f"{head}\r\n".encode()
    with suppress(OSError), socket.create_connection(("127.0.0.1", client.port), 20.0) as connection:
        if wait * 1e6 % 2 < 1.0:  # half of the clients do not say goodbye
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(sent[: max(int(len(sent) * part), 1)])
        Event().wait(wait)


def _cancelled(client: HttpClient, operation: str, turns: int) -> None:
    """The server's task is cancelled after so many turns of its event loop."""
    _exchange(client, operation, LONGEST, f"{CANCEL_AFTER}: {turns}")


def _http(client: HttpClient, cancels: bool, rng: random.Random) -> Iterator[tuple[str, Kill]]:
    while True:
        operation = rng.choice(["item", "hold", "stream"])
        wait = LONGEST * rng.random()
        yield "disconnect", partial(_exchange, client, operation, wait)
        yield "disconnect", partial(_exchange, client, operation, wait, part=rng.random())
        yield "exception", partial(client.ask, rng.choice(["raise", "broken", "inner"]))
        if cancels:
            yield "cancellation", partial(_cancelled, client, operation, rng.randrange(TURNS))


def _grpc(client: GrpcClient, rng: random.Random) -> Iterator[tuple[str, Kill]]:
    def expired(operation: str, timeout: float) -> None:
        with suppress(Exception):
            client.channel.unary_unary(f"/{METHODS[operation]}")(b"", timeout=timeout)

    while True:
        operation = rng.choice(["item", "hold", "stream"])
        wait = partial(Event().wait, LONGEST * rng.random())
        yield "cancellation", partial(client.leave, operation, wait)
        yield "timeout", partial(expired, rng.choice(["item", "hold"]), LONGEST * rng.random())
        yield "exception", partial(client.ask, rng.choice(["raise", "broken", "inner"]))


def _nothing_left(engine: Recorder) -> bool:
    if engine.in_flight() > 0:
        # Django drops the response to a client that leaves when its stream is about to begin, unclosed and in a cycle.
        gc.collect()
    return engine.in_flight() == 0


def killed(service: Incoming, calls: int, seed: int = 1) -> Counter[str]:
    """Kill so many calls of a service, and assert after every few that nothing is left; returns what killed them."""
    rng = random.Random(seed)
    found: Counter[str] = Counter()
    with service.session() as it, ThreadPoolExecutor(AT_ONCE) as pool:
        if isinstance(it.client, GrpcClient):
            kills = _grpc(it.client, rng)
        else:
            assert isinstance(it.client, HttpClient)
            kills = _http(it.client, service.cancels, rng)
        while found.total() < calls:
            batch = [next(kills) for _ in range(min(BATCH, calls - found.total()))]
            for running in [pool.submit(kill) for _, kill in batch]:
                running.result(60.0)
            found.update(kind for kind, _ in batch)
            it.gate.set()
            eventually(partial(_nothing_left, it.engine), 60.0)
            it.gate.clear()
        assert it.client.ask("item").status == service.ok
        found["guarded"] = len(it.engine.calls)
    return found


def table(services: Iterable[Incoming], calls: int) -> Iterator[str]:
    """What became of the calls, line by line."""
    kinds = ("disconnect", "cancellation", "timeout", "exception")
    yield "| integration | killed by " + " | ".join(kinds) + " | reached the guard | left in flight |"
    yield "|---" * (len(kinds) + 3) + "|"
    for service in services:
        found = killed(service, calls)
        counts = [f"{found[kind]:,}" if found[kind] else "–" for kind in kinds]
        yield "| " + " | ".join([service.title, *counts, f"{found['guarded']:,}", "0"]) + " |"
