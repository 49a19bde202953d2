"""Processor sharing: a server whose workers divide themselves equally among all the calls it has."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import final

from atrion.sensing.telemetry import Outcome
from atrion_lab.policies.port import Call
from atrion_lab.services import Phase, Server
from atrion_lab.simulator import Pool, Timeline

__all__ = ["SharedPool"]


@final
class SharedPool(Pool):
    """Every call is begun at once; with more calls than workers each gets ``workers / calls`` of one.

    ``busy`` are the calls being worked on. Those that wait for another server, fail after a fixed time or hang take
    no share, but they keep their place.
    """

    __slots__ = ("_done", "_order", "_places", "_since", "_turn", "_works")

    def __init__(self, simulation: Timeline, server: Server) -> None:
        super().__init__(simulation, server)
        self._works: list[tuple[float, int, Call, bool]] = []
        self._done = 0.0  # work each call would have got that was here from the start
        self._since = 0.0
        self._turn = 0
        self._order = 0
        self._places = 0

    def _enter(self, phase: Phase) -> None:
        self._pass()
        self.phase = phase
        self.workers: int = self._server.workers if phase.workers is None else phase.workers
        self._plan()

    def submit(self, call: Call) -> None:
        """Take a call that was admitted."""
        server = self._server
        if server.queue is not None and self._places >= self.workers + server.queue:
            call.gate.finish(call, Outcome.FAILURE if server.fails else Outcome.DROPPED)
            return
        self._places += 1
        now = self._simulation.now
        call.started = now
        phase = self.phase
        doomed = phase.fail > 0.0 and call.luck < phase.fail
        if phase.hang:
            self._simulation.at(max(call.deadline, now), self._fail, call)
        elif doomed and phase.fail_after is not None:
            self._simulation.at(now + phase.fail_after, self._fail, call)
        else:
            self._pass()
            self.busy += 1
            self._order += 1
            heappush(self._works, (self._done + self._work(call), self._order, call, doomed))
            self._plan()

    def _pass(self) -> None:
        now = self._simulation.now
        if self.busy:
            self._done += (now - self._since) * min(1.0, self.workers / self.busy)
        self._since = now

    def _plan(self) -> None:
        """The next end, unless something changes before."""
        self._turn += 1
        if self._works and self.workers > 0:
            speed = min(1.0, self.workers / self.busy)
            left = max(self._works[0][0] - self._done, 0.0)
            self._simulation.at(self._simulation.now + left / speed, self._finish, self._turn)

    def _finish(self, turn: int) -> None:
        if turn != self._turn:
            return
        self._pass()
        due, _, call, doomed = heappop(self._works)
        self._done = max(self._done, due)  # rounding must not delay it again
        self.busy: int = self.busy - 1
        self._plan()
        if doomed:
            self._fail(call)
        elif call.gate.wanted:
            self._descend(call)
        else:
            self._serve(call)

    def end(self, call: Call, outcome: Outcome) -> None:
        """A call has left."""
        self._places -= 1
        call.gate.finish(call, outcome)
