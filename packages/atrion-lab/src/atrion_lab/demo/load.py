"""The demo's open-loop load: Poisson arrivals that do not wait for answers, each with a deadline.

There is no task, timer or future per request: at eight times the capacity thousands are sent per second, and the load
generator must not be the bottleneck.
"""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import time
from collections import deque
from collections.abc import Callable
from itertools import accumulate
from typing import Any

from atrion_lab.demo.connection import Connection
from atrion_lab.demo.processes import event_loop, say, tied_to_parent
from atrion_lab.demo.services import MIX, SHAPES, Ask, Shape

__all__ = ["DEADLINE", "PHASES", "SETTLED", "Load", "Phase", "Request"]

DEADLINE = 0.8
"""Seconds after which an answer is late."""
CALM = 0.3
"""Offered load over capacity, before and after the overload."""
PHASES = {"calm": 0.27, "overload": 0.53, "recovery": 0.2}
"""Phases, as shares of a run's length."""
REPORT = 0.25
"""Seconds between lines for the parent."""
GLANCE = 0.01
"""Seconds between checks for requests past their deadline."""
USERS = 400
"""Connections opened before anything is sent, and used in turn, so that every worker is asked about equally often: of a
few, those of the worker that rejects most, and so answers at once, would carry most of what follows."""
SETTLED = DEADLINE + 5.0 * GLANCE
"""Seconds after which every request of a phase has ended."""
WARM_UP = 0.7
"""Seconds of the closed loop before its answers count."""


class Tally:
    """Outcomes of one tier's requests; ``work`` is the work of the good ones, in multiples of the mean."""

    __slots__ = ("good", "late", "sent", "shed", "work")

    def __init__(self) -> None:
        self.sent: int = 0
        self.good: int = 0
        self.shed: int = 0
        self.late: int = 0
        self.work: float = 0.0

    def row(self) -> dict[str, float]:
        """The counts."""
        return {name: getattr(self, name) for name in self.__slots__}


class Phase:
    """Tallies and latencies (seconds, of what was not shed) of one phase: a late answer belongs to its own."""

    def __init__(self, name: str, rate: float, seconds: float) -> None:
        self.name: str = name
        self.rate: float = rate
        self.seconds: float = seconds
        self.tiers: dict[str, Tally] = {tier: Tally() for tier in MIX}
        self.latencies: list[float] = []
        self.lag: float = 0.0
        self._cpu: float = time.process_time()
        self._began: float = time.perf_counter()

    def at(self) -> float:
        """Seconds since it began."""
        return time.perf_counter() - self._began

    def row(self) -> dict[str, Any]:
        """The report to the parent: ``cpu`` as a share of a core, ``lag`` the largest delay of sending in seconds."""
        at = max(self.at(), 1e-3)
        return {
            "phase": self.name,
            "at": at,
            "seconds": self.seconds,
            "cpu": (time.process_time() - self._cpu) / at,
            "lag": self.lag,
            "tiers": {tier: tally.row() for tier, tally in self.tiers.items()},
        }


class Request:
    """One request in progress."""

    __slots__ = ("connection", "done", "load", "phase", "started", "tally", "then", "work")

    def __init__(self, load: Load, phase: Phase, ask: Ask, then: Callable[[], object] | None) -> None:
        self.load: Load = load
        self.phase: Phase = phase
        self.tally: Tally = phase.tiers[ask.tier]
        self.work: float = ask.work
        self.then: Callable[[], object] | None = then
        self.started: float = time.perf_counter()
        self.connection: Connection | None = None
        self.done: bool = False

    def heard(self, status: int) -> None:
        """It ended: a status, or 0 for no answer."""
        if self.done:
            return
        self.done = True
        elapsed = time.perf_counter() - self.started
        connection = self.connection
        if connection is not None:
            if status > 0:
                self.load.idle.append(connection)
            else:
                connection.hang_up()
        if status == 503:
            self.tally.shed += 1
        else:
            self.phase.latencies.append(elapsed)
            if status == 200 and elapsed <= DEADLINE:
                self.tally.good += 1
                self.tally.work += self.work
            else:
                self.tally.late += 1
        if self.then is not None:
            self.then()


class Load:
    """Drives one server and tallies what a client sees."""

    def __init__(self, port: int, shape: Shape, seed: int) -> None:
        self._port = port
        self._crowd = shape.crowd
        self._asks = shape.asks
        self._shares = list(accumulate(ask.share for ask in shape.asks))
        self._random = random.Random(seed)
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Request] = deque()  # in the order of their deadlines
        self._opening: set[asyncio.Task[None]] = set()
        self.idle: deque[Connection] = deque()  # in turn: the last to answer is often the one that rejected
        self._loop.call_later(GLANCE, self._give_up)

    def send(self, phase: Phase, then: Callable[[], object] | None = None) -> None:
        """Send one of the shape's requests; ``then`` is called when it has ended."""
        ask = self._random.choices(self._asks, cum_weights=self._shares)[0]
        request = Request(self, phase, ask, then)
        request.tally.sent += 1
        self._waiting.append(request)
        self.ask(request, ask)

    def ask(self, request: Request, ask: Ask) -> None:
        """Send one request over HTTP."""
        text = f"GET {ask.path} HTTP/1.1\r\nhost: demo\r\nx-atrion-tier: {ask.tier}\r\n\r\n".encode()
        while self.idle:
            connection = self.idle.popleft()
            if not connection.transport.is_closing():
                request.connection = connection
                connection.ask(text, request.heard)
                return
        task = self._loop.create_task(self._open(request, text))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _connect(self) -> Connection:
        _, connection = await self._loop.create_connection(Connection, "127.0.0.1", self._port)
        return connection

    async def open(self) -> None:
        """Open the connections, and shuffle them, since a worker may accept several in a row."""
        users = [await self._connect() for _ in range(USERS)]
        random.Random(USERS).shuffle(users)
        self.idle.extend(users)

    async def close(self) -> None:
        """Give up what is in progress, and close all connections."""
        while self._waiting:
            self._waiting.popleft().heard(0)
        while self.idle:
            self.idle.popleft().hang_up()
        await asyncio.gather(*self._opening)
        await asyncio.sleep(GLANCE)  # until the transports have closed

    async def _open(self, request: Request, text: bytes) -> None:
        try:
            connection = await self._connect()
        except OSError:
            request.heard(0)
            return
        if request.done:
            connection.transport.abort()
            return
        request.connection = connection
        connection.ask(text, request.heard)

    def _give_up(self) -> None:
        """Close requests past their deadline; the service may continue to work on them."""
        before = time.perf_counter() - DEADLINE
        waiting = self._waiting
        while waiting and (waiting[0].done or waiting[0].started <= before):
            waiting.popleft().heard(0)
        self._loop.call_later(GLANCE, self._give_up)

    async def poisson(self, phase: Phase) -> float:
        """A phase's arrivals; returns how many seconds they really took."""
        due = shown = 0.0
        while True:
            due += self._random.expovariate(phase.rate)
            if due >= phase.seconds:
                break
            wait = due - phase.at()
            if wait > 0.0:
                await asyncio.sleep(wait)
            now = phase.at()
            phase.lag = max(phase.lag, now - due)
            self.send(phase)
            if now - shown >= REPORT:
                shown = now
                say(**phase.row())
                await asyncio.sleep(0)  # read answers even if sending is behind schedule
        return max(phase.at(), phase.seconds)

    async def closed(self, seconds: float) -> float:
        """The capacity: work per second, in multiples of the mean, with clients in a closed loop."""
        phase = Phase("measure", 0.0, seconds)

        def again() -> None:
            if phase.at() < WARM_UP + seconds:
                self.send(phase, again)

        def worked() -> float:
            return sum(tally.work for tally in phase.tiers.values())

        for _ in range(self._crowd):
            again()
        await asyncio.sleep(WARM_UP)
        before, began = worked(), phase.at()
        while phase.at() < began + seconds:
            say(**phase.row())
            await asyncio.sleep(min(REPORT, max(began + seconds - phase.at(), 0.0)))
        return (worked() - before) / (phase.at() - began)


async def drive(load: Load, capacity: float, overload: float, seconds: float) -> None:
    """Measure the capacity if it is 0, else run calm, overload and recovery; prints a line at the end of each."""
    if capacity <= 0.0:
        say(end=True, capacity=await load.closed(seconds))
        return
    loop = asyncio.get_running_loop()
    for name, share in PHASES.items():
        phase = Phase(name, capacity * (overload if name == "overload" else CALM), share * seconds)
        took = await load.poisson(phase)
        # The next phase begins at once; requests in progress still have until their deadline.
        loop.call_later(SETTLED, tell_end, phase, phase.row(), took)
    await asyncio.sleep(SETTLED + GLANCE)


def tell_end(phase: Phase, row: dict[str, Any], took: float) -> None:
    """Print the last line of a phase: ``row`` at its end, with the outcomes of all requests sent in ``took`` s."""
    tiers = phase.row()["tiers"]
    offered = sum(tally["sent"] for tally in tiers.values()) / took
    latencies = sorted(phase.latencies)
    say(**{**row, "end": True, "seconds": took, "tiers": tiers, "offered": offered, "latencies": latencies})


async def send(port: int, shape: str, seed: int, plan: list[float]) -> None:
    """Run the load generator."""
    load = Load(port, SHAPES[shape], seed)
    await load.open()
    await drive(load, *plan)


def main() -> None:
    """The port, shape, seed, capacity per second (0 to measure it), overload as a factor, and length in seconds."""
    tied_to_parent()
    gc.freeze()
    with event_loop() as runner:
        runner.run(
            send(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), [float(each) for each in sys.argv[4:7]])
        )
    say(done=True)


if __name__ == "__main__":
    main()
