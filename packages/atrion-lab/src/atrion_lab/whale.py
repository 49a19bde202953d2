"""One whale holds a lock: what the calls lose that wait for it, with and without asking the holder to stop.

A server of 16 workers answers calls of 50 ms, and jobs run beside them under leases. A call begins, and a job goes on,
only while the lock of their tables is free. Jobs take it for two milliseconds at some time of their lives. After
:data:`CALM` seconds, a migration takes it for a minute.

* ``unasked``: the migration does not listen, and may not be cancelled. Jobs that wait for it use up their own minutes.
* ``asked``: it looks once every 100 ms whether it should stop.
* ``marked``: the same, and every holder marks while it holds the lock.
* ``cancelled``: it does not listen, but may be cancelled.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, final

from atrion import SLO, Atrion, Call, FlowRejected, Lease, Profile
from atrion.physics.voltage import TierName
from atrion_lab.hypotheses.hypothesis import Clock
from atrion_lab.parallel import parallel
from atrion_lab.simulator import Simulation

__all__ = ["GOODPUT", "MODES", "STOPPED", "missed", "rows"]

MODES: Final = ("unasked", "asked", "marked", "cancelled")
GOODPUT: Final = 0.95
"""Answers in time, as a share of those without the migration, that a mode must reach that may stop it."""
STOPPED: Final = 0.001
"""Largest share of the leases that may be asked to stop or cancelled."""

WORKERS: Final = 16
SERVICE: Final = 0.05
LOAD: Final = 0.8
DEADLINE: Final = 0.5
JOBS: Final = 20.0
"""Jobs a second."""
JOB: Final = 0.25
"""Mean seconds of a job."""
LOCKED: Final = 0.002
"""Seconds for which a job holds the lock."""
CALM: Final = 20.0
"""Seconds before the migration."""
HOLDS: Final = 60.0
"""Seconds for which it holds the lock, unless it is stopped."""
END: Final = 110.0
REVIEW: Final = 0.25
"""Seconds between reviews of the leases, as in a program."""
HEARTBEAT: Final = 0.1
"""Seconds between heartbeats of a job that works, each of which looks whether it should stop."""
GRACE: Final = 1.0
"""Seconds that the migration has to stop by itself."""
TIERS: Final[tuple[TierName, ...]] = ("bulk", "low", "normal", "high", "critical")
SHARES: Final = (10, 20, 40, 20, 10)


@final
class _Request:
    """One call from its arrival to its answer or its deadline."""

    __slots__ = ("call", "critical", "over", "service")

    def __init__(self, call: Call, critical: bool, service: float) -> None:
        self.call = call
        self.critical = critical
        self.service = service
        self.over = False


@final
@dataclass
class Play:
    """One run; ``mode`` None leaves the migration out."""

    seed: int
    mode: str | None
    good: dict[bool, int] = field(default_factory=lambda: {False: 0, True: 0})
    """Answers in time, of critical calls and of others."""
    leases: int = 0
    innocent: int = 0
    """Jobs that were asked to stop."""
    stopped: bool = False
    """Whether the migration was asked to stop, or cancelled."""
    waited: float = HOLDS
    """Seconds for which it held the lock."""

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.simulation = Simulation()
        self.engine = Atrion(clock=Clock(self.simulation))
        self.engine.configure("*", pool="tables")
        self.engine.configure("orders", slo=SLO(latency=DEADLINE))
        self.queue: deque[_Request] = deque()
        self.free = WORKERS
        self.holder: object | None = None
        self.waiters: deque[Callable[[], None]] = deque()

    def at(self, seconds: float, event: Callable[[], None]) -> None:
        """Let ``event`` happen in so many seconds."""
        self.simulation.at(self.simulation.now + seconds, lambda _: event())

    def run(self) -> Play:
        """Play to the end."""
        self.at(0.0, self.arrive)
        self.at(0.0, self.start_job)
        self.at(REVIEW, self.review)
        if self.mode is not None:
            self.at(CALM, self.migrate)
        self.simulation.run(END)
        return self

    def review(self) -> None:
        """What the engine's thread does in a program."""
        self.engine.leases()
        self.at(REVIEW, self.review)

    # --- calls ---

    def arrive(self) -> None:
        """A call comes, and the next one after a random time."""
        self.at(self.random.expovariate(LOAD * WORKERS / SERVICE), self.arrive)
        tier = self.random.choices(TIERS, SHARES)[0]
        service = self.random.lognormvariate(-0.125, 0.5) * SERVICE
        call = self.engine.flow("orders", tier)
        if not call.try_begin():
            return
        request = _Request(call, tier == "critical", service)
        self.queue.append(request)
        self.at(DEADLINE, partial(self.give_up, request))
        self.pump()

    def pump(self) -> None:
        """Begin calls while there are workers and the lock is free."""
        while self.free and self.queue and self.holder is None:
            request = self.queue.popleft()
            if not request.over:
                self.free -= 1
                self.at(request.service, partial(self.answer, request))

    def answer(self, request: _Request) -> None:
        """A worker has finished."""
        self.free += 1
        if not request.over:
            request.over = True
            request.call.finish()
            if self.simulation.now >= CALM / 2.0:
                self.good[request.critical] += 1
        self.pump()

    def give_up(self, request: _Request) -> None:
        """The client does not wait any longer."""
        if not request.over:
            request.over = True
            request.call.drop()
            request.call.finish()

    # --- the lock and the jobs ---

    def take(self, holder: object, then: Callable[[], None]) -> None:
        """Take the lock now, or when it is free."""
        if self.holder is None:
            self.holder = holder
            then()
        else:
            self.waiters.append(lambda: self.take(holder, then))

    def let_go(self) -> None:
        """Free the lock."""
        self.holder = None
        if self.waiters:
            self.waiters.popleft()()
        self.pump()

    def start_job(self) -> None:
        """A job begins, and the next one after a random time."""
        self.at(self.random.expovariate(JOBS), self.start_job)
        tier = self.random.choices(TIERS, SHARES)[0]
        before, after = (self.random.expovariate(2.0 / JOB) for _ in range(2))
        lease = self.engine.lease("jobs", tier, profile="heavy", budget={"seconds": 60.0})
        if not self.begin(lease):
            return
        mark = lease.holding()

        def hold() -> None:
            if self.mode == "marked":
                mark.__enter__()
            self.at(LOCKED, done)

        def done() -> None:
            if self.mode == "marked":
                mark.__exit__(None, None, None)
            lease.heartbeat(0.5)
            self.let_go()
            self.at(after, end)

        def end() -> None:
            self.innocent += lease.should_stop
            lease.__exit__(None, None, None)

        self.at(before, lambda: self.take(lease, hold))

    def begin(self, lease: Lease) -> bool:
        """Enter a lease; returns whether it was admitted."""
        try:
            lease.__enter__()
        except FlowRejected:
            return False
        self.leases += 1
        return True

    def migrate(self) -> None:
        """The migration asks for the lock, and tries again where it is shed."""
        lease = self.engine.lease(
            "migration", "low", profile=Profile(grace=GRACE), interruptible=self.mode == "cancelled"
        )
        if not self.begin(lease):
            self.at(1.0, self.migrate)
            return
        mark: AbstractContextManager[None] = lease.holding()
        until = 0.0

        def hold() -> None:
            nonlocal until
            until = self.simulation.now + HOLDS
            if self.mode == "marked":
                mark.__enter__()
            work()

        def work() -> None:
            lease.heartbeat()
            listens = self.mode in {"asked", "marked"} and lease.should_stop
            if listens or lease.cancelled.is_set() or self.simulation.now >= until:
                self.stopped = lease.should_stop
                self.waited = HOLDS - max(until - self.simulation.now, 0.0)
                if self.mode == "marked":
                    mark.__exit__(None, None, None)
                lease.__exit__(None, None, None)
                self.let_go()
            else:
                self.at(HEARTBEAT, work)

        self.take(lease, hold)


def _row(task: tuple[int, str]) -> dict[str, Any]:
    seed, mode = task
    calm = Play(seed, None).run()
    play = Play(seed, mode).run()
    return {
        "scenario": "one whale holds a lock",
        "mode": mode,
        "seed": seed,
        "goodput": sum(play.good.values()) / sum(calm.good.values()),
        "critical": play.good[True] / calm.good[True],
        "held_seconds": play.waited,
        "leases": play.leases,
        "stopped": (play.innocent + play.stopped) / play.leases,
        "innocent": play.innocent,
        "innocent_in_calm": calm.innocent,
    }


def rows(
    modes: Sequence[str], seeds: Sequence[int], processes: int, show: Callable[[float], None]
) -> list[dict[str, Any]]:
    """A row for each mode and seed; ``show`` is told the share that is done."""
    planned = [(seed, mode) for mode in modes for seed in seeds]
    found = []
    for row in parallel(_row, planned, processes):
        found.append(row)
        show(len(found) / len(planned))
    return found


def missed(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of modes that may stop the migration in which a bound was missed."""
    return [
        row
        for row in found
        if row["mode"] != "unasked" and (row["goodput"] < GOODPUT or row["stopped"] > STOPPED)
    ]
