"""One worker of a host, for the tests: run as ``worker_process.py URL ROLE``; it says a line when it is there."""

from __future__ import annotations

import asyncio
import fcntl
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from atrion import Atrion, FlowRejected, PhysicsVector
from atrion.providers.workers import WorkersProvider
from atrion.state import NodeRow


def say(*words: object) -> None:
    print(*words, flush=True)


async def break_dependency(url: str) -> None:
    """Calls that fail until the route is scarred and that was shared; then waits to be killed."""
    async with Atrion(provider=url) as atrion:
        pushed = 0.0
        while pushed < 60.0:
            with suppress(FlowRejected, OSError):
                async with atrion.flow("dependency"):
                    raise OSError("the dependency is down")
            await asyncio.sleep(0.002)
            kept = atrion.state.get_local("dependency")
            pushed = 0.0 if kept is None else kept.scar_tissue
        say("scarred", pushed)
        await asyncio.Event().wait()


async def first_decision(url: str) -> None:
    """What the very first decision of a process that starts says."""
    async with Atrion(provider=url, gamma=0.0) as atrion:
        decision = atrion.decide("dependency")
        say("first", decision.resistance, atrion.snapshot()["dependency"].scar_tissue)


async def hammer(url: str) -> None:
    """Writes as fast as it can, until it is killed."""
    provider = WorkersProvider.from_url(url)
    await provider.connect()
    say("hammering")
    number = 0
    while True:
        number += 1
        row = NodeRow(PhysicsVector(10.0, 0.0, float(number % 100), 1.0), 10.0, 0.8)
        await provider.exchange(f"node-{number % 7}", {f"r{number % 50}": row}, ["r1", "r2"])


async def hold(url: str) -> None:
    """Holds the store's gate for ever, as a process does that was stopped in the middle."""
    provider = WorkersProvider.from_url(url)
    await provider.connect()
    with (Path(urlsplit(url).path) / "gate").open("rb") as gate:  # nothing else runs here
        fcntl.flock(gate, fcntl.LOCK_EX)
        say("holding")
        await asyncio.Event().wait()


if __name__ == "__main__":
    role = {"break": break_dependency, "first": first_decision, "hammer": hammer, "hold": hold}[sys.argv[2]]
    asyncio.run(role(sys.argv[1]))
