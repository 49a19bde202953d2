"""Real worker processes, and the lab's clients sending to them over HTTP."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from atrion.errors import AtrionError
from atrion.physics.voltage import Tier
from atrion.sensing.telemetry import Outcome
from atrion_lab.clients import Clients, Traffic
from atrion_lab.demo.connection import Connection
from atrion_lab.metrics import Recorder, Run
from atrion_lab.policies.port import Call
from atrion_lab.real.server import READY, SETTING, RealTime
from atrion_lab.real.streams import Companions
from atrion_lab.scenario import Scenario
from atrion_lab.scenarios.real import REAL
from atrion_lab.simulator import Target

__all__ = ["Strain", "Wires", "play", "served"]

STARTUP = 20.0
"""Seconds the worker processes may take to start."""
BUSY = 0.9
"""Share of a core above which this process, which sends, is the bottleneck."""
LATE = 0.2
"""Seconds by which a request is sent too late for its answer to tell anything."""
GLANCE = 0.05
"""Seconds between looks at the own loop."""
TIERS = tuple(tier.name.lower() for tier in Tier)


@contextmanager
def served(name: str, protected: bool) -> Iterator[tuple[int, float]]:
    """Worker processes on a free port, and the second of the monotonic clock that is their 0.

    Raises:
        AtrionError: they do not start in time.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "atrion_lab.real.server:app", "--factory"]
    command += [
        "--workers",
        str(REAL[name].workers),
        "--port",
        str(port),
        "--log-level",
        "critical",
        "--backlog",
        "4096",
    ]
    command += ["--lifespan", "off", "--no-access-log", "--timeout-graceful-shutdown", "1"]
    with TemporaryDirectory() as folder:
        begin = Path(folder, "begin")
        environment = {**os.environ, SETTING: f"{name} {int(protected)} {begin}"}
        with subprocess.Popen(command, env=environment) as process:
            try:
                _await(port)
                start = time.monotonic() + 0.5
                begin.write_text(repr(start))
                yield port, start
            finally:
                process.terminate()
                try:
                    process.wait(5.0)
                except subprocess.TimeoutExpired:
                    process.kill()


def _await(port: int) -> None:
    """Until the workers answer: a dozen connections in a row reach all that are there."""
    until = time.monotonic() + STARTUP
    answered = 0
    while answered < 12:
        if time.monotonic() > until:
            raise AtrionError(f"uvicorn did not start within {STARTUP:g} s; is the machine too busy?")
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}{READY}", timeout=1.0).close()
            answered += 1
        except OSError:
            time.sleep(0.05)


class _Wire:
    """One route of the server, as a target for the lab's clients."""

    def __init__(self, wires: Wires, route: str) -> None:
        self._wires = wires
        self._route = route

    def submit(self, call: Call) -> None:
        """Send a call."""
        call.route = self._route
        self._wires.submit(call)


class Wires:
    """Keep-alive connections to the server, for the lab's clients; used in turn, so workers share."""

    def __init__(self, port: int, clock: RealTime, recorder: Recorder) -> None:
        self._port = port
        self._clock = clock
        self._recorder = recorder
        self._idle: deque[Connection] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def to(self, route: str) -> Target:
        """Where clients of a route send their calls."""
        return _Wire(self, route)

    def submit(self, call: Call) -> None:
        """Send a call to its route; its request hears of the end. Nothing is sent any more once it is closed."""
        if self._closed:
            return
        task = asyncio.get_running_loop().create_task(self._call(call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _call(self, call: Call) -> None:
        status = await self._ask(call)
        now = self._clock.now
        recorder, request = self._recorder, call.request
        if status == 503:
            recorder.reject(call, call.arrived)
            request.rejected(call)
            return
        recorder.admit(call, call.arrived)
        outcome = {200: Outcome.SUCCESS, 500: Outcome.FAILURE}.get(status, Outcome.DROPPED)
        # Who gave up has waited as long as the deadline at least: that counts as a latency too.
        recorder.finish(call, Outcome.FAILURE if outcome is Outcome.DROPPED else outcome, now)
        request.answered(call, outcome, now)

    async def _ask(self, call: Call) -> int:
        """The status of the reply, or 0 when none came before the deadline."""
        loop = asyncio.get_running_loop()
        connection: Connection | None = None
        status = 0
        try:
            async with asyncio.timeout(call.deadline - self._clock.now):
                while self._idle and connection is None:
                    connection = self._idle.popleft()
                    if connection.transport.is_closing():
                        connection = None
                if connection is None:
                    _, connection = await loop.create_connection(Connection, "127.0.0.1", self._port)
                answer: asyncio.Future[int] = loop.create_future()
                head = f"GET /{call.route}?{call.service:.6f}&{call.luck:.6f} HTTP/1.1\r\nhost: lab\r\n"
                request = f"{head}x-atrion-tier: {TIERS[call.tier]}\r\n\r\n".encode()
                connection.ask(request, lambda status: None if answer.done() else answer.set_result(status))
                status = await answer
        except (TimeoutError, OSError):
            pass
        if connection is not None and connection.transport is not None:
            if status > 0:
                self._idle.append(connection)
            else:
                connection.hang_up()
        return status

    async def close(self) -> None:
        """Wait for what is under way, and hang up."""
        self._closed = True
        if self._tasks:
            await asyncio.wait(self._tasks)  # each ends at its deadline
        for connection in self._idle:
            connection.transport.close()


class Strain:
    """How hard this process, which sends, has to work: as a share of a core, and by how late its loop is."""

    def __init__(self) -> None:
        self.lag: float = 0.0
        self._cpu = time.process_time()
        self._began = time.monotonic()

    async def watch(self) -> None:
        """Look again and again."""
        while True:
            due = time.monotonic() + GLANCE
            await asyncio.sleep(GLANCE)
            self.lag = max(self.lag, time.monotonic() - due)

    def trouble(self, name: str) -> str | None:
        """A sentence if the machine, and not the service, decided."""
        cpu = (time.process_time() - self._cpu) / (time.monotonic() - self._began)
        if cpu > BUSY:
            what = f"sending took {cpu:.0%} of a core"
        elif self.lag > LATE:
            what = f"requests were sent up to {self.lag:.1f} s late"
        else:
            return None
        return f"Note: {name}: this machine itself was a bottleneck: {what}. Try again when it is idle."


async def play(
    scenario: Scenario, port: int, start: float, dice_seed: int, beside: Companions | None = None
) -> tuple[Run, Strain]:
    """Play a scenario's traffic against a real server, with companions ``beside`` it; the run, and its strain here."""
    clock = RealTime(start)
    recorder = Recorder(scenario.seconds + 10.0)
    wires = Wires(port, clock, recorder)
    await asyncio.sleep(max(-clock.now - 0.2, 0.0))
    strain = Strain()
    tasks = [asyncio.create_task(strain.watch())]
    if beside is not None:
        tasks.append(asyncio.create_task(beside.run()))
    for index, traffic in enumerate(scenario.traffic):
        _send(scenario, traffic, index, clock, wires, recorder, dice_seed)
    await asyncio.sleep(scenario.seconds - clock.now)
    await wires.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    run = Run.of(scenario.name, "real", dice_seed, scenario.seconds, scenario.capacity, recorder)
    return run, strain


def _send(
    scenario: Scenario,
    traffic: Traffic,
    index: int,
    clock: RealTime,
    wires: Wires,
    recorder: Recorder,
    dice_seed: int,
) -> None:
    """One kind of clients, with the simulation's random generators."""

    def rng(purpose: str) -> Random:
        return Random(f"{dice_seed}/{(index, purpose)}")

    sampler = scenario.servers[scenario.route(traffic.to[0]).server].law.sampler(rng("service"))
    targets = [wires.to(route) for route in traffic.to]
    chance = rng("route")
    Clients(
        clock,
        traffic,
        recorder,
        lambda: traffic.work * sampler(),
        lambda _: targets[0] if len(targets) == 1 else chance.choice(targets),
        rng,
    )
