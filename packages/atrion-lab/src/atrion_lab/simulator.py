"""The simulator: events in the order of time, pools of workers, and gates where policies decide."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, Protocol, final

from atrion.sensing.telemetry import Outcome
from atrion_lab.metrics import Recorder
from atrion_lab.needs import Wanted, ask
from atrion_lab.policies.port import Call, Policy
from atrion_lab.services import Phase, Server

__all__ = ["Gate", "Pool", "Simulation", "Target", "Timeline"]

SUCCESS = Outcome.SUCCESS
FAILURE = Outcome.FAILURE
DROPPED = Outcome.DROPPED


class Timeline(Protocol):
    """Time as pools and clients need it: the simulation's, or the real one."""

    @property
    def now(self) -> float:
        """Seconds since the start."""
        ...

    def at(self, when: float, action: Callable[[Any], object], argument: Any = None) -> None:
        """Plan ``action(argument)`` for ``when`` seconds."""
        ...


class Target(Protocol):
    """Where clients send their calls; it answers by the call's request."""

    def submit(self, call: Call) -> None:
        """Take a call."""
        ...


@final
class Simulation:
    """Events by time; those of one time in the order they were planned, so that a seed decides everything."""

    __slots__ = ("_events", "_order", "now")

    def __init__(self) -> None:
        self.now: float = 0.0
        self._order = 0
        self._events: list[tuple[float, int, Callable[[Any], object], Any]] = []

    def at(self, when: float, action: Callable[[Any], object], argument: Any = None) -> None:
        """Plan ``action(argument)`` for ``when`` seconds."""
        self._order += 1
        heappush(self._events, (when, self._order, action, argument))

    def run(self, until: float) -> None:
        """Let time pass until ``until`` seconds."""
        events = self._events
        while events and events[0][0] <= until:
            self.now, _, action, argument = heappop(events)
            action(argument)
        self.now = until


class Pool:
    """Workers and their queue. Expired work still executes: a worker does not know that its client has left."""

    __slots__ = ("_debt", "_server", "_simulation", "busy", "phase", "plan", "queue", "workers")

    def __init__(self, simulation: Timeline, server: Server) -> None:
        self._simulation = simulation
        self._server = server
        self.workers: int = server.workers
        self.busy: int = 0
        self.queue: deque[Call] = deque()
        self.phase: Phase = Phase()
        self.plan: Any = None
        """A clairvoyant's own: what it knows will happen here."""
        self._debt = 0.0
        for phase in server.phases:
            simulation.at(phase.start, self._enter, phase)

    @property
    def server(self) -> Server:
        """What it was made of."""
        return self._server

    @property
    def idle(self) -> bool:
        """A worker is free, and the server is well: it answers, and fails less than half."""
        phase = self.phase
        return self.busy < self.workers and not phase.hang and phase.fail < 0.5

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self.workers = self._server.workers if phase.workers is None else phase.workers
        while self.queue and self.busy < self.workers:
            self._take()

    def submit(self, call: Call) -> None:
        """Take a call that was admitted."""
        if self.busy < self.workers:
            self._begin(call)
        elif self._server.queue is None or len(self.queue) < self._server.queue:
            self.queue.append(call)
        else:
            call.gate.finish(call, FAILURE if self._server.fails else DROPPED)

    def reject(self) -> None:
        """A rejection takes work too; it delays the next call, unless a worker is idle."""
        if self.busy >= self.workers:
            self._debt += self._server.reject_cost * self._server.law.mean

    def _begin(self, call: Call) -> None:
        simulation = self._simulation
        now = simulation.now
        call.started = now
        self.busy += 1
        phase = self.phase
        work = self._work(call)
        if phase.hang:
            simulation.at(max(call.deadline, now), self._fail, call)
        elif phase.fail > 0.0 and call.luck < phase.fail:
            simulation.at(now + (work if phase.fail_after is None else phase.fail_after), self._fail, call)
        elif call.gate.wanted:
            simulation.at(now + work, self._descend, call)
        else:
            simulation.at(now + work, self._serve, call)

    def _work(self, call: Call) -> float:
        """Seconds of work it takes if it begins now."""
        work = call.service * self.phase.slow
        if self._server.worsening > 0.0:
            crowd = (self.busy + len(self.queue) - self.workers) / self.workers
            if crowd > 0.0:
                work *= 1.0 + self._server.worsening * crowd
        if self._debt > 0.0:
            work += self._debt
            self._debt = 0.0
        return work

    def _descend(self, call: Call) -> None:
        """The call's own work is done; it needs other servers' answers, and its worker waits for them."""
        ask(call.gate.wanted, call, self._simulation, lambda outcome: self.end(call, outcome))

    def _serve(self, call: Call) -> None:
        self.end(call, SUCCESS)

    def _fail(self, call: Call) -> None:
        self.end(call, FAILURE)

    def end(self, call: Call, outcome: Outcome) -> None:
        """A worker is done with a call and takes the next."""
        self.busy -= 1
        call.gate.finish(call, outcome)
        while self.queue and self.busy < self.workers:
            self._take()

    def _take(self) -> None:
        call = self.queue.popleft()
        if call.gate.policy.start(call, self._simulation.now):
            self._begin(call)
        else:
            call.gate.finish(call, DROPPED)


@final
class Gate:
    """Where a policy decides over the calls of a ``route``, in front of a pool.

    ``wanted`` are the gates whose answers its calls need; ``draw`` gives the work of calls that others' calls need of
    it, in seconds by their luck, or is None where it is the same as theirs.
    """

    __slots__ = ("_recorder", "_simulation", "draw", "policy", "pool", "route", "wanted")

    def __init__(
        self, simulation: Timeline, route: str, policy: Policy, pool: Pool, recorder: Recorder
    ) -> None:
        self._simulation = simulation
        self._recorder = recorder
        self.route: str = route
        self.policy: Policy = policy
        self.pool: Pool = pool
        self.wanted: tuple[Wanted, ...] = ()
        self.draw: Callable[[float], float] | None = None

    def submit(self, call: Call) -> None:
        """Let the policy decide over a call."""
        now = self._simulation.now
        call.gate = self
        call.route = self.route
        if self.policy.arrive(call, now):
            self._recorder.admit(call, now)
            if call.request.steps:
                self._degrade(call)
            self.pool.submit(call)
        else:
            self._recorder.reject(call, now, self.pool.idle)
            self.pool.reject()
            call.request.rejected(call)

    def _degrade(self, call: Call) -> None:
        """Let a policy that can lower the quality of the answer, and with it the work."""
        quality = getattr(self.policy, "quality", None)
        if quality is not None:
            call.request.quality = quality(call, call.request.steps)
            call.service *= call.request.quality

    def finish(self, call: Call, outcome: Outcome) -> None:
        """Tell the policy and the client how an admitted call ended."""
        now = self._simulation.now
        self.policy.finish(call, outcome, now)
        self._recorder.finish(call, outcome, now)
        call.request.answered(call, outcome, now)
