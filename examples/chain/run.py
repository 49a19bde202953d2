"""The last service of a chain dies: python examples/chain/run.py [SECONDS].

Three services run as processes; stock, the last, is killed and started again after so many seconds, 10 by default.
What was served and refused, and where, is printed as a table.
"""

import asyncio
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import httpx

SERVICES = Path(__file__).with_name("services.py")
PATHS = {"critical": "/checkout", "normal": "/basket", "without stock": "/home"}
RATE = 15.0
"""Requests a second of each kind."""
CALM, NOTICE, BACK, AFTER = 4.0, 5.0, 3.0, 4.0
"""Seconds before stock dies, in which that is noticed, in which all must be well again, and after that."""
PHASES = ("before", "dies", "dead", "back", "after")
CALM_PHASES = ("warming up", "before", "after")
OWN = "process_saturated"
"""The reason of what a service refuses as its process gets no time: then this machine is the bottleneck."""


@dataclass
class Report:
    """What happened, by phase."""

    answers: dict[str, dict[str, Counter[str]]] = field(default_factory=dict)
    """How requests were answered, by phase and kind: served, refused, or another status."""
    counts: dict[str, dict[str, Counter[str]]] = field(default_factory=dict)
    """What the services counted, by phase and service."""

    def share(self, phase: str, kind: str) -> float:
        """The share that was served, of what this machine had time for."""
        found = self.answers[phase][kind]
        return found["served"] / max(found.total() - found[OWN], 1)

    def starved(self) -> int:
        """Requests that this machine had no time for."""
        return sum(found[OWN] for kinds in self.answers.values() for found in kinds.values())

    def worked(self, phase: str) -> float:
        """Orders that came to the second service, for each request of the first one."""
        return self.counts[phase]["orders"]["requests"] / max(self.counts[phase]["edge"]["requests"], 1)

    def attempts(self) -> float:
        """Attempts of either service for each request of the first one, from when stock dies until all is well."""
        phases = [self.counts[phase] for phase in self.counts if phase not in CALM_PHASES]
        requests = sum(phase["edge"]["requests"] for phase in phases)
        return max(
            sum(phase[name]["attempts"] for phase in phases) / max(requests, 1) for name in ("edge", "orders")
        )

    def printed(self) -> str:
        """The table."""
        lines = ["| | " + " | ".join(PHASES) + " |", "|---" * (len(PHASES) + 1) + "|"]
        for kind in PATHS:
            cells = [f"{self.share(phase, kind):.3f}" for phase in PHASES]
            lines.append(f"| {kind}: served | " + " | ".join(cells) + " |")
        worked = [f"{self.worked(phase):.3f}" for phase in PHASES]
        lines.append(
            "| orders begun in the second service, of those asked for | " + " | ".join(worked) + " |"
        )
        said = [f"Attempts for each request, from the death of stock on: {self.attempts():.2f}."]
        if self.starved():
            said.append(f"The machine had no time for {self.starved()} requests, which do not count.")
        return "\n".join([*lines, "", *said]) + "\n"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextmanager
def service(role: str, *ports: int) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, SERVICES, role, *map(str, ports)])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def stock_answers(port: int) -> None:
    options = [("grpc.max_reconnect_backoff_ms", 200)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        await asyncio.wait_for(channel.channel_ready(), 60.0)


async def web_answers(client: httpx.AsyncClient, url: str) -> None:
    for _ in range(600):
        try:
            await client.get(f"{url}/counts")
        except httpx.TransportError:
            await asyncio.sleep(0.1)
        else:
            return
    raise TimeoutError(url)


class Load:
    """The same number of requests of each kind every second, whatever becomes of them."""

    def __init__(self, client: httpx.AsyncClient, edge: int, orders: int) -> None:
        self._client = client
        self._edge = f"http://127.0.0.1:{edge}"
        self._urls = {"edge": self._edge, "orders": f"http://127.0.0.1:{orders}"}
        self._tasks: set[asyncio.Task[None]] = set()
        self.report = Report()

    async def ask(self, kind: str, number: int, counter: Counter[str]) -> None:
        method = "GET" if kind == "without stock" else "POST"
        try:
            answer = await self._client.request(
                method, self._edge + PATHS[kind], headers={"x-user": f"user-{number}"}
            )
        except httpx.TransportError as error:
            counter[type(error).__name__] += 1
            return
        if answer.status_code == 503:
            counter[OWN if answer.json()["reason"] == OWN else "refused"] += 1
        else:
            counter["served" if answer.status_code == 200 else str(answer.status_code)] += 1

    async def counted(self) -> dict[str, Counter[str]]:
        return {
            name: Counter((await self._client.get(f"{url}/counts")).json())
            for name, url in self._urls.items()
        }

    async def phase(self, name: str, ends: asyncio.Future[None]) -> None:
        """Ask until ``ends`` is done."""
        answers = self.report.answers.setdefault(name, {kind: Counter() for kind in PATHS})
        before = await self.counted()
        began, number = time.monotonic(), 0
        while not ends.done():
            number += 1
            for kind in PATHS:
                task = asyncio.ensure_future(self.ask(kind, number, answers[kind]))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            await asyncio.sleep(max(began + number / RATE - time.monotonic(), 0.0))
        after = await self.counted()
        self.report.counts[name] = {role: after[role] - before[role] for role in after}

    async def warm_up(self) -> None:
        """Ask until everything is served for two seconds; a minute at most."""
        for _ in range(30):
            self.report.answers.pop("warming up", None)
            await self.phase("warming up", asyncio.ensure_future(asyncio.sleep(2.0)))
            await self.end()
            if all(self.report.share("warming up", kind) == 1.0 for kind in PATHS):
                return

    async def end(self) -> None:
        await asyncio.gather(*self._tasks)


async def play(seconds: float, back: float = BACK) -> Report:
    """Let stock be dead for so many seconds; all must be well again ``back`` seconds after it is there again."""
    ports = edge, orders, stock = free_port(), free_port(), free_port()
    timeout, limits = httpx.Timeout(20.0), httpx.Limits(max_connections=200, keepalive_expiry=2.0)
    client = httpx.AsyncClient(timeout=timeout, limits=limits, trust_env=False)
    async with client:
        with service("edge", *ports[:2]), service("orders", *ports[1:]):
            load = Load(client, edge, orders)
            with service("stock", stock):
                await stock_answers(stock)
                for port in (edge, orders):
                    await web_answers(client, f"http://127.0.0.1:{port}")
                await load.warm_up()
                await load.phase("before", asyncio.ensure_future(asyncio.sleep(CALM)))
            await load.phase("dies", asyncio.ensure_future(asyncio.sleep(min(NOTICE, seconds))))
            await load.phase("dead", asyncio.ensure_future(asyncio.sleep(max(seconds - NOTICE, 0.0))))
            with service("stock", stock):
                # It is dead until it answers: a process takes its time to begin.
                await load.phase("dead, starting", asyncio.ensure_future(stock_answers(stock)))
                await load.phase("back", asyncio.ensure_future(asyncio.sleep(back)))
                await load.phase("after", asyncio.ensure_future(asyncio.sleep(AFTER)))
                await load.end()
    return load.report


if __name__ == "__main__":
    print(asyncio.run(play(float(sys.argv[1]) if len(sys.argv) > 1 else 10.0)).printed(), end="")
