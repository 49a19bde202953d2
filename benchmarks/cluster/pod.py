"""One pod as a process: an engine on a shared store, told what to do by lines on its input.

    know ROUTE     ask for it once, so that it exists and idles
    break ROUTE    let its dependency fail under guarded calls
    quit

It prints one JSON object a line: ``ready``, ``known``, ``scarred`` (its own scar passed 10 Ω) and ``rose`` (the
resistance of an idle route passed 1 Ω above what it was). Times are seconds of the machine's monotonic clock, which
all processes of a host share.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from atrion import Atrion, FlowRejected
from atrion.state import ClusterScar, NodeRow
from atrion_cluster import RedisClusterProvider

POLL = 0.0005
SCARRED = 10.0
ROSE = 1.0


class Timed(RedisClusterProvider):
    """Remembers when its last exchanges ended."""

    ended: deque[float]

    async def exchange(
        self, node: str, rows: Mapping[str, NodeRow], routes: list[str]
    ) -> Mapping[str, ClusterScar]:
        """The same, noted."""
        answer = await super().exchange(node, rows, routes)
        self.ended.append(time.monotonic())
        return answer


class WithoutChannel(Timed):
    """Hears by the pulse alone."""

    listen = None  # type: ignore[assignment]  # takes the ability away


class Down(Exception):
    """What the dependency raises."""


def say(event: str, **facts: Any) -> None:
    """One line for the process that started this pod."""
    print(json.dumps({"event": event, **facts}), flush=True)


class Pod:
    """The engine and what it is told."""

    def __init__(self, engine: Atrion, provider: Timed) -> None:
        self.engine = engine
        self.provider = provider
        self.tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Obey until told to quit."""
        loop = asyncio.get_running_loop()
        lines = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        async with self.engine:
            first = self.engine.decide("restarted")
            scar = self.engine.snapshot()["restarted"].scar_tissue
            say("ready", at=time.monotonic(), resistance=first.resistance, scar=scar)
            while line := (await lines.readline()).decode().split():
                if line[0] == "quit":
                    break
                if line[0] == "know":
                    before = self.engine.decide(line[1]).resistance
                    say("known", route=line[1], resistance=before)
                    self._start(self._watch(line[1], before))
                elif line[0] == "break":
                    self._start(self._break(line[1]))
            for task in self.tasks:
                task.cancel()

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _watch(self, route: str, before: float) -> None:
        seen = self.engine.routes[route]
        while seen.tick_resistance < before + ROSE:
            before = seen.tick_resistance
            await asyncio.sleep(POLL)
        at = time.monotonic()
        decision = self.engine.decide(route)
        say(
            "rose", route=route, at=at, resistance=decision.resistance, before=before, own=seen.model.state.scar_tissue,
            cluster=seen.model.cluster_scar, exchanges=list(self.provider.ended),
        )  # fmt: skip

    async def _break(self, route: str) -> None:
        ends = time.monotonic() + 20.0
        said = False
        while time.monotonic() < ends:
            try:
                with self.engine.flow(route):
                    raise Down
            except (Down, FlowRejected):
                pass
            scar = self.engine.snapshot()[route].scar_tissue
            if scar > SCARRED and not said:
                said = True
                say("scarred", route=route, at=time.monotonic(), scar=scar)
                ends = time.monotonic() + 0.5
            await asyncio.sleep(0.001)


def main() -> None:
    """Run one pod."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--node")
    parser.add_argument("--no-channel", action="store_true")
    options = parser.parse_args()
    provider = (WithoutChannel if options.no_channel else Timed).from_url(options.url)
    provider.ended = deque(maxlen=10)
    asyncio.run(Pod(Atrion(provider=provider, node=options.node), provider).run())


if __name__ == "__main__":
    main()
