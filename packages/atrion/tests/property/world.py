"""A server behind one guarded route, of which it is known what really happened."""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable

from atrion import SLO, Atrion, Decision, Outcome, Reason
from atrion.testing import VirtualClock

TIERS = ("bulk", "low", "normal", "high", "critical")
STALL = 3.0
"""Seconds in which nothing comes back that may be a stall."""

PROVEN = 16
"""Calls side by side up to which nobody is refused, without exception.

With more, chance alone can look like a wait: independent work of a few hundred calls, or work that changes together
with the number of clients. Of histories like these with 24 to 48, one in twenty-five refuses somebody for a while.
"""


class World:
    """A server of ``workers``, first in first out, behind one guarded route; it knows what really happened.

    ``time`` is the world's, and ``paused`` for how long the process stood still; the engine's clock may go back
    besides. Seconds.
    """

    def __init__(self, workers: int, promise: float | None, seed: int) -> None:
        self.clock = VirtualClock(1e5)
        self.engine = Atrion(clock=self.clock)
        self.engine.configure("r", slo=SLO(latency=promise))
        self.dice = random.Random(seed)
        self.workers = workers
        self.promise = promise
        self.time = 0.0
        self.paused = 0.0
        self.begun: dict[object, float] = {}
        self.decisions: list[tuple[float, Decision]] = []
        self.truth: set[Reason] = set()
        self._answered = 0.0
        self._busy = 0
        self._queue: deque[Callable[[], None]] = deque()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def run(self, until: float) -> None:
        """Let the world go on."""
        while self._events and self._events[0][0] <= until:
            at, _, event = heapq.heappop(self._events)
            self._pass_to(at)
            event()
        self._pass_to(until)

    def _pass_to(self, at: float) -> None:
        if at > self.time:
            self.clock.advance(at - self.time)
            self.time = at

    def later(self, seconds: float, event: Callable[[], None]) -> None:
        """Let something happen in so many seconds."""
        self._count += 1
        heapq.heappush(self._events, (self.time + seconds, self._count, event))

    def ask(
        self, tier: str, service: float, outcome: Outcome, done: Callable[[], None] | None = None
    ) -> Decision:
        """A request of ``tier``; where it flows, a worker is busy with it for ``service`` seconds."""
        flow = self.engine.flow("r", tier)
        decision = flow.decide()
        self.decisions.append((self.time, decision))
        if decision.allowed:
            self.begun[flow] = self.time + self.paused
            if len(self.begun) > self.workers:
                self.truth.add(Reason.SATURATED)

            def end() -> None:
                flow.finish(int(outcome))
                self._note(self.begun.pop(flow), outcome)
                self._busy -= 1
                self._serve()
                if done is not None:
                    done()

            self._queue.append(lambda: self.later(service, end))
            self._serve()
        return decision

    def _serve(self) -> None:
        while self._queue and self._busy < self.workers:
            self._busy += 1
            self._queue.popleft()()

    def _note(self, begun: float, outcome: Outcome) -> None:
        now = self.time + self.paused
        if outcome is Outcome.FAILURE:
            self.truth.add(Reason.FAILING)
        if self.promise is not None and now - begun > self.promise:
            self.truth.add(Reason.LATE)
        if outcome is not Outcome.DROPPED:
            self._answered = now

    def mend(self) -> None:
        """The server is well: what hung or waited is over at once."""
        while self._events:
            events, self._events = self._events, []
            for _, _, event in sorted(events, key=lambda item: item[:2]):
                event()

    def check(self) -> None:
        """Resistance is as low as at the beginning, or has a name, of which the world knows that it is true.

        With more than ``PROVEN`` workers it may rise by a few ohms beside free ones, and nobody be refused.
        """
        if self.workers > PROVEN:
            return
        now = self.time + self.paused
        if self.promise is not None and self.begun and now - min(self.begun.values()) > self.promise:
            self.truth.add(Reason.LATE)
        if now - self._answered >= STALL:
            self.truth.add(Reason.STALLED)
        seen = self.engine.snapshot()["r"]
        if seen.reason is None:
            assert seen.resistance <= 12.0
        else:
            assert seen.reason in self.truth
        if self.decisions and not (last := self.decisions[-1][1]).allowed:
            assert last.reason in self.truth
