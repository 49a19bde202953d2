"""Record how a real dependency answers: ``python -m packages.atrion.tests.migrate.record > recording.csv``.

A client calls Redis five times a second for some minutes, in which Redis is killed, stopped and started. What each
call met and how long it took is kept in recording.csv, which is played through other libraries and through Atrion.
"""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Callable
from itertools import count

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from benchmarks.stores.redis_server import RedisServer, free_port

EVERY = 0.2
"""Seconds between two calls, unless the one before takes longer."""
TIMEOUT = 1.0
"""Seconds after which the client gives up."""


def client(port: int) -> redis.Redis:
    return redis.Redis(port=port, socket_timeout=TIMEOUT, protocol=2, retry=Retry(NoBackoff(), 0))


def main() -> None:
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(("phase", "at", "outcome", "seconds"))
    with RedisServer() as server:
        there, nowhere = client(server.port), client(free_port())
        there.set("text", "value")
        turns = count()
        begin = time.monotonic()

        def phase(name: str, seconds: float, call: Callable[[], object] = lambda: there.get("text")) -> None:
            end = time.monotonic() + seconds
            while (at := time.monotonic()) < end:
                try:
                    call()
                    outcome = "answered"
                except redis.ResponseError:
                    outcome = "invalid"
                except (redis.ConnectionError, redis.TimeoutError):
                    outcome = "failed"
                now = time.monotonic()
                rows.writerow((name, f"{at - begin:.3f}", outcome, f"{now - at:.4f}"))
                time.sleep(max(at + EVERY - now, 0.0))

        def back() -> None:
            server.start()
            there.set("text", "value")

        phase("healthy", 20.0)
        server.kill()
        phase("down for a moment", 0.5)
        back()
        phase("healthy again", 15.0)
        phase("callers ask for nonsense", 10.0, lambda: there.lpush("text", "more"))
        phase("healthy again", 5.0)
        server.kill()
        phase("down", 40.0)
        back()
        phase("back after it was down", 45.0)
        server.hang()
        phase("hangs", 40.0)
        server.go_on()
        phase("back after it hung", 45.0)
        phase("one of two servers is down", 30.0, lambda: (nowhere, there)[next(turns) % 2].get("text"))
        phase("both servers are up again", 20.0)
        phase("answers are slow", 20.0, lambda: there.blpop(["empty"], timeout=0.5))


if __name__ == "__main__":
    main()
