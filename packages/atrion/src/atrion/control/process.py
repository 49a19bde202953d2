"""The process itself as a bottleneck: requests that wait before any guard sees them. Pure: callers pass the time.

Requests wait for the event loop, or for a thread of a pool. A PI controller turns the wait into resistance: the seconds
for which requests wait for the loop, or the share of time in which all threads are busy while requests wait for one.
"""

from __future__ import annotations

import math
from typing import Final, final

from atrion._native import mypyc_attr

__all__ = ["REST", "STEEP", "TICK", "LoopQueue", "Process", "Threads"]

TICK: Final = 0.1
"""Seconds from one observation of a pool of threads to the next."""
WAIT: Final = 0.1
"""Seconds that a request may wait for the event loop, short enough not to be noticed."""
AHEAD: Final = 8.0
"""Admitted requests that may be ahead of it in any case: slow handlers queue by chance alone."""
BRIEF: Final = 0.001
"""Seconds that a turn of an idle event loop takes."""
LATE: Final = 0.5
"""Seconds of waiting for the loop above which all but critical requests are shed at once: the credit of a burst."""
PACE: Final = 0.2
"""Weight of a batch in the mean time that the loop takes for each request of the backlog."""
REST: Final = -10.0
"""Error while no request waits for the loop: resistance falls ten times as fast as a full error raises it."""
STEEP: Final = 3.0
"""Largest error: a loop that is four times too late raises resistance three times as fast as one twice too late."""
SPARE: Final = 0.15
"""Share of time that a single thread should be idle; divided by √n for n threads, which serve one queue."""
PROOF: Final = 5.0
"""Calls of a tick below which it counts for less: a few slow calls in a row are chance."""
QUEUED: Final = 0.01
"""Seconds of waiting for a thread below which there is no queue; kernels count in steps of up to 4 ms."""
SPACING: Final = 0.1
"""Weight of a call in the mean time between two calls."""
RECENT: Final = 1.0
"""Seconds for which a queue counts as known."""
RATE: Final = 30.0
"""Ohms per second by which an error of 1 raises resistance: a band in a third of a second."""
QUICK: Final = 10.0
"""Ohms that an error of 1 adds at once: the width of a band."""
EVIDENCE: Final = 20.0
"""Ohms of the integral before it becomes resistance: two thirds of a second at an error of 1."""
LONGEST: Final = 2.0 * TICK
"""Most seconds that one observation counts for: one long computation is no queue."""
CEILING: Final = 130.0
"""Most ohms: above every voltage, for a process that critical requests alone can overload."""
NOT_CRITICAL: Final = 60.0
"""Ohms that only critical requests pass."""


@mypyc_attr(acyclic=True)
@final
class Process:
    """Controller of an overloaded process: ``ohms`` is a resistance of every route that it serves, 0 in calm.

    ``until`` is when a remote one wants to be asked again, −∞ if it did not say.
    """

    __slots__ = ("_integral", "_last", "ohms", "until")

    def __init__(self, now: float = 0.0) -> None:
        self._last: float = now
        self._integral: float = 0.0
        self.ohms: float = 0.0
        self.until: float = -math.inf

    def observe(self, now: float, error: float) -> None:
        """Integrate the relative ``error`` of the queue until ``now``: 0 at the target, −1 or less without a queue.

        A long time since the last observation is a pause of the whole process, and counts for little.
        """
        passed = now - self._last
        self._last = now
        if not passed > 0.0:
            return
        # Not bounded below: otherwise random variation would raise the integral of a well-used process.
        error = min(error, STEEP)
        step = error * min(passed, LONGEST) if error > 0.0 else error * passed
        self._integral = min(max(self._integral + RATE * step, 0.0), EVIDENCE + CEILING)
        if self._integral < EVIDENCE:
            self.ohms = 0.0
        else:
            self.ohms = min(max(self._integral - EVIDENCE + QUICK * max(error, 0.0), 0.0), CEILING)

    def expire(self, now: float) -> None:
        """Forget the resistance of the time for which a remote process wanted to be left alone, if that is over."""
        if -math.inf < self.until <= now:
            self.until = -math.inf
            self.ohms = 0.0

    def refuse_at_once(self) -> None:
        """Let only critical requests pass until the next observation."""
        self.ohms = max(self.ohms, NOT_CRITICAL)


def _served(calls: int, before: int, backlog: int) -> int:
    """What was taken from a backlog while so many ``calls`` began, and it went from ``before`` to ``backlog``.

    Clients that open many connections before they send requests are no queue: the backlog then falls without calls.
    """
    return calls + max(before - backlog, 0)


@final
class LoopQueue:
    """The queue in front of an event loop, and the resistance that it causes: ``process``.

    A loop serves batches: everything that became ready during the batch before. A request has waited for those ahead of
    it in its batch, and up to as long as the batch before took, whatever kept the thread from running: handlers that
    compute, threads that hold the interpreter's lock, or another process on its CPU. After an idle turn a request has
    not waited, however long it takes itself.
    """

    __slots__ = (
        "_admitted",
        "_ahead",
        "_arrived",
        "_backlog",
        "_before",
        "_began",
        "_ended",
        "_looked",
        "_open",
        "_pace",
        "_rests",
        "process",
    )

    def __init__(self, now: float) -> None:
        self.process: Process = Process(now)
        self._began: float = now
        self._ended: float = now
        self._open: bool = False
        self._rests: bool = True
        self._looked: bool = False
        self._before: float = 0.0
        self._ahead: int = 0
        self._arrived: int = 0
        self._admitted: int = 0
        self._backlog: int = 0
        self._pace: float = 0.0

    def arrive(self, now: float, backlog: int = 0) -> bool:
        """Count a request that the loop takes up; ``backlog`` connections wait to be accepted.

        Returns whether the loop was idle. The caller then calls :meth:`turn` after every turn of the loop until that
        returns False.
        """
        rested = self._rests
        if self._open:
            self._measure(now)
        else:
            self._begin(now, backlog)
        self._arrived += 1
        if self._waited(now) >= LATE and self._ahead + self._admitted >= AHEAD:
            self.process.refuse_at_once()
        return rested

    def admit(self) -> None:
        """Count the last arrival as admitted."""
        self._admitted += 1

    def turn(self, now: float) -> bool:
        """Note that a turn of the loop has ended; returns whether to call this again after the next one."""
        if self._open:
            self._measure(now)
            self._open = False
            self._ended = now
            self._rests = now - self._began < BRIEF
        else:
            # A turn of an idle loop is short. Otherwise the next requests are being read: look once more.
            self._rests = self._looked or now - self._ended < BRIEF
            self._looked = True
        return not self._rests

    def rest(self, now: float) -> None:
        """Forget the batch that is being served, because its loop has ended."""
        self._open = False
        self._rests = True
        self._ended = now

    def _begin(self, now: float, backlog: int) -> None:
        if backlog > 0 and self._backlog > 0:
            # A loop with a backlog is never idle, so the time since then served so many.
            served = _served(self._arrived, self._backlog, backlog)
            self._pace += PACE * ((now - self._began) / served - self._pace)
            self._rests = False
        elif backlog == 0:
            self._pace = 0.0
        if self._rests and now - self._ended >= BRIEF:
            self._before = 0.0
            self._ahead = 0
            self.process.observe(now, REST)
        else:
            # Bounded, so that requests that have piled up in a pause of the process are not shed: they are soon served.
            self._before = min(now - self._began, 0.5 * LATE)
            self._ahead = self._admitted
        self._began = now
        self._open = True
        self._rests = self._looked = False
        self._arrived = self._admitted = 0
        self._ahead += backlog
        self._backlog = backlog
        self._measure(now)

    def _waited(self, now: float) -> float:
        """Seconds that the last request in the queue waits."""
        return now - self._began + self._before + self._backlog * self._pace

    def _measure(self, now: float) -> None:
        queue = min(self._waited(now) / WAIT, (self._ahead + self._admitted) / AHEAD)
        self.process.observe(now, max(queue - 1.0, -1.0))


@final
class Threads:
    """The load of a pool of ``size`` threads, at least 1, and the resistance that it causes: ``process``.

    A size of 0 is learned: the largest number of threads busy at once so far. An estimate that is too small does no
    harm: if threads are idle between calls, no call waits.

    Where the queue is known, it alone raises resistance. Elsewhere it is inferred from how busy the threads are.

    The calls of :meth:`enter` and :meth:`leave` come one at a time: hold a lock.
    """

    __slots__ = (
        "_backlog",
        "_began",
        "_behind",
        "_busy",
        "_came",
        "_counted",
        "_entered",
        "_last",
        "_learns",
        "_refusing",
        "_rested",
        "_spacing",
        "_untold",
        "_used",
        "process",
        "size",
    )

    def __init__(self, size: int, now: float) -> None:
        self.process: Process = Process(now)
        self.size: int = max(size, 1)
        self._learns: bool = size == 0
        self._busy: int = 0
        self._used: float = 0.0
        self._entered: int = 0
        self._rested: int = 0
        self._behind: int = 0
        self._counted: float = -math.inf
        self._refusing: bool = False
        self._came: float = now
        self._untold: int = 0
        self._spacing: float = 0.0
        self._backlog: int = 0
        self._began: float = now
        self._last: float = now

    def enter(
        self,
        now: float,
        between: float = 0.0,
        backlog: int = 0,
        waited: float | None = None,
        behind: int | None = None,
    ) -> None:
        """A thread takes up a call, ``between`` seconds after its last one; 0 if it was idle in between.

        While most others are busy, a thread that is not idle has found a call that waited for it, so the time between
        calls counts as busy. ``backlog`` connections wait to be accepted. ``waited``: seconds for which the call has
        waited for the thread, in the order in which calls came; ``behind``: calls that wait behind it. None if not
        known.
        """
        self._pass(now)
        self._untold += 1
        if behind is None and waited is not None:
            behind = self._came_since(now, waited)
        if behind is not None:
            self._behind = behind
            self._counted = now
        if now - self._counted <= RECENT:
            backlog = self._behind
            between = 0.0
        self._entered += 1
        if between > 0.0 and 2 * self._busy >= self.size - 1:
            self._used += between
        else:
            self._rested += 1
        # A queue that is refused at once is gone before the next tick: what is left of it when it is short is served.
        if now - self._began >= TICK or (self._refusing and backlog <= self._ahead() and now > self._began):
            self._tick(now, backlog)
        self._busy += 1
        if self._learns and self._busy > self.size:
            self.size = self._busy

    def leave(self, now: float) -> None:
        """A thread has finished a call."""
        self._pass(now)
        self._busy = max(self._busy - 1, 0)

    def _came_since(self, now: float, waited: float) -> int:
        """Calls that have come while one has ``waited``, at the rate of the calls before it."""
        passed = max(now - waited - self._came, 0.0)
        self._came += passed
        spacing = passed / self._untold
        self._untold = 0
        self._spacing += SPACING * (spacing - self._spacing) if self._spacing > 0.0 else spacing
        return int(waited / self._spacing) if waited >= QUEUED and self._spacing > 0.0 else 0

    def _ahead(self) -> float:
        """Calls that may be ahead of another: with one for each thread, it waits about as long as it runs."""
        return max(AHEAD, float(self.size))

    def _pass(self, now: float) -> None:
        if now > self._last:
            self._used += min(self._busy, self.size) * (now - self._last)
            self._last = now

    def _tick(self, now: float, backlog: int) -> None:
        passed = now - self._began
        share = min(self._used / (self.size * passed), 1.0)
        spare = SPARE / math.sqrt(self.size)
        error = 1.0 - (1.0 - share) / spare
        if error > 0.0:
            error *= min(self._entered / PROOF, 1.0)
        # Threads that are idle before most calls have no queue, however busy their few clients keep them.
        if 2 * self._rested >= self._entered:
            error = min(error, -1.0)
        ahead = self._ahead()
        waited = 0.0
        if backlog > 0 and self._backlog > 0:
            waited = backlog * passed / _served(self._entered, self._backlog, backlog)
            error = max(error, min(waited / WAIT, backlog / ahead) - 1.0)
        self._backlog = backlog
        self.process.observe(now, error)
        self._refusing = waited >= LATE and backlog >= 2.0 * ahead
        if self._refusing:
            self.process.refuse_at_once()
        self._began = now
        self._used = 0.0
        self._entered = self._rested = 0
