"""One process for the tests: run as ``kept_process.py URL ROLE``; it says a line when it is there."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

from atrion import Atrion, FlowRejected


async def break_dependency(url: str) -> None:
    """Calls that fail until the route is scarred and that was kept; then waits to be killed."""
    async with Atrion(persistence=url) as atrion:
        persistence = atrion.state.persistence
        assert persistence is not None
        kept = 0.0
        while kept < 60.0:
            with suppress(FlowRejected, OSError):
                async with atrion.flow("dependency"):
                    raise OSError("the dependency is down")
            await asyncio.sleep(0.002)
            vector = await persistence.provider.get_vector("dependency")
            kept = 0.0 if vector is None else vector.scar_tissue
        print("kept", kept, flush=True)
        await asyncio.Event().wait()


async def first_decision(url: str) -> None:
    """What the very first decision of a process that starts says."""
    async with Atrion(persistence=url) as atrion:
        decision = atrion.decide("dependency")
        print("first", decision.resistance, atrion.snapshot()["dependency"].scar_tissue, flush=True)


if __name__ == "__main__":
    asyncio.run({"break": break_dependency, "first": first_decision}[sys.argv[2]](sys.argv[1]))
