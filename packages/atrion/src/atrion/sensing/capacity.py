"""What a route can carry: learned from latency against calls in flight, and never from a remembered floor."""

from __future__ import annotations

import math
from typing import Final, final

from atrion._native import mypyc_attr
from atrion.sensing.contrast import CERTAIN, EVIDENT, Contrast
from atrion.sensing.queue import RARE, UNLOADED, Queue
from atrion.sensing.window import Window

__all__ = ["Capacity"]

SUCCESS: Final = 0
FAILURE: Final = 1
INITIAL: Final = 16.0
"""Calls in flight that a route is believed to carry before anything was measured."""
SLACK: Final = 1.75
"""Queue allowed, in square roots of the capacity: the spread of random arrivals grows like the root."""
SPREAD: Final = 3.0
"""Roots more over which saturation grows, so that tiers stand some calls apart in small pools too."""
QUEUE: Final = 0.5
"""Queue, in square roots of the capacity, above which the workers are believed to be full."""
HEADROOM: Final = 3.0
"""Capacities allowed while no queue was ever seen: nobody knows yet."""
ELASTIC: Final = 0.5
"""Elasticity of departures above which there are free workers, whatever latencies say."""
FALL: Final = 0.6
"""Least share of the capacity that one measurement may leave: a wrong one is mended by the next."""
FAST: Final = 0.7
"""Growth, per capacity of completions, where demand presses and no queue is seen."""
BLIND: Final = 0.3
"""The same where nothing can be said of the queue."""
SLOW: Final = 0.1
"""The same where a queue was seen before."""
BEGUN: Final = 200.0
"""Completions after which the usual latency is known: the first to come back are the short ones."""
STRETCH: Final = 8.0
"""Usual latencies that calls may take, by Little's law, where nothing else says how many are too many."""
SETTLED: Final = 20.0
"""Completions, in capacities, without pressure or growth, after which only new low calls prove a queue."""
COLD_CREDIT: Final = 400.0
"""Calls beyond the limit that a route may begin with: a cold start into ordinary traffic refuses nobody."""
COLD_TIME: Final = 0.5
"""Seconds, or two first calls, in which that credit fades."""
WARM: Final = 48.0
"""Completions after which a route has begun."""
BUDGET: Final = 0.5
"""Share of the promised latency in which a queue that came at once must be worked off to be let in."""
UNPROMISED: Final = 1.0
"""Seconds taken for the promise where none was given, for the budget alone."""
CREDIT_TIME: Final = 0.1
"""Least seconds in which the credit is used up; else one service time."""
REFILL: Final = 20.0
"""Times slower that it comes back."""
DIP_FIRST: Final = 4.0
"""Completions, in capacities, of pressure without low calls before the limit dips to see some."""
DIP_AGAIN: Final = 25.0
"""The same from one dip to the next."""
DIP_ENOUGH: Final = 0.75
"""Low calls, in capacities, that end a dip."""
DIP_CLOSED: Final = 4.0
"""Times rarer that they are while departures do not grow with the calls in flight, which says the same for nothing."""
DIP_PATIENCE: Final = 64.0
"""Times rarer that dips become while each finds what the last one found."""


@mypyc_attr(acyclic=True)
@final
class Capacity:
    """Learned capacity (``calls`` in flight) and the ``limit`` that also holds the queue that random arrivals need.

    ``service_time`` is the mean latency in seconds: the pace of what is learnt, never a floor. While ``dipping``, only
    critical requests may exceed ``unloaded_below`` calls in flight, so that some calls are measured without a queue.
    ``wait`` in seconds is what was measured in front of full workers, 0 where they are not; ``pressed`` says whether
    demand was at the limit at the last tick.
    ``holding`` is when the controller of saturation must not learn from what a dip does. There is no ``queue`` before
    two calls have met.
    """

    __slots__ = (
        "_born",
        "_busy",
        "_closed",
        "_cold",
        "_confirmed",
        "_credit",
        "_deep",
        "_done",
        "_ended",
        "_first",
        "_last",
        "_peak",
        "_settled",
        "_since",
        "_throughput",
        "base",
        "calls",
        "dipping",
        "holding",
        "limit",
        "pressed",
        "queue",
        "service_time",
        "span",
        "unloaded_below",
        "wait",
    )

    def __init__(self) -> None:
        self.calls: float = INITIAL
        self.service_time: float = 0.0
        self.base: float = 0.0
        self.limit: float = 0.0
        self.span: float = 1.0
        self.unloaded_below: float = UNLOADED * INITIAL
        self.dipping: bool = False
        self.holding: bool = False
        self.pressed: bool = False
        self.wait: float = 0.0
        self.queue: Queue | None = None
        self._confirmed: bool = False
        self._cold: bool = True
        self._closed: bool = False
        self._deep: bool = False
        self._credit: float = COLD_CREDIT
        self._throughput: float = 0.0
        self._last: float = -1.0
        self._busy: float = 0.0
        self._ended: int = 0
        self._done: float = 0.0
        self._peak: int = 0
        self._born: float = -1.0
        self._first: float = -1.0
        self._settled: float = 0.0
        self._since: float = 0.0
        self._bound()

    # --- calls ---------------------------------------------------------------------------------------------

    def _pass_time(self, in_flight: int, now: float, done: int) -> None:
        dt = now - self._last
        if dt > 0.0:
            self._last = now
        else:
            dt = 0.0
        if in_flight > 0:  # an idle gap is no low throughput
            self._busy += dt
            if in_flight > self._peak:
                self._peak = in_flight
            queue = self.queue
            if queue is not None and in_flight >= queue.loaded_from:
                queue.pass_time(in_flight, dt, done)
        self._ended += done

    def begin(self, in_flight: int, now: float) -> int:
        """A call begins beside ``in_flight`` others; returns what it met, for :meth:`end`."""
        if in_flight > 0:
            self._pass_time(in_flight, now, 0)
            if self.queue is None:  # a route on which no two calls ever meet needs none
                self.queue = Queue(self.calls)
        elif now > self._last:
            self._last = now
        if self._born < 0.0:
            self._born = now
        if self.dipping and in_flight < self.unloaded_below and self.queue is not None:
            self.queue.dip_begun += 1
        return in_flight + 1

    def end(
        self,
        in_flight: int,
        now: float,
        latency: float,
        outcome: int,
        met: int,
        tier: int,
        contrast: Contrast | None,
    ) -> None:
        """A call that had ``met`` so many ends, one of ``in_flight``, after ``latency`` seconds.

        ``contrast`` is its route's, from :meth:`claim`; without one it bears no witness.
        """
        # What failed may not have waited; all else has left the queue, whoever was at fault.
        self._pass_time(in_flight, now, 0 if outcome == FAILURE else 1)
        queue = self.queue
        if outcome != SUCCESS:
            if outcome == FAILURE and queue is not None and contrast is not None:
                queue.fail(contrast, met)
            return
        if self._first < 0.0:
            self._first = now - self._born
        if queue is not None and contrast is not None:
            queue.add(contrast, latency, in_flight, met, tier)

    def restart(self, now: float) -> None:
        """The clock has gone back to ``now``."""
        self._last = now

    # --- learning ------------------------------------------------------------------------------------------

    def learn(self, window: Window, dt: float, now: float, shed: int, promise: float) -> None:
        """Take a window of ``dt`` seconds in which ``shed`` calls were refused; ``promise`` in seconds, 0 for none."""
        in_flight = window.in_flight
        self._pass_time(in_flight, now, 0)
        done = float(self._ended)
        pressed = self.pressed = shed > 0 or self._peak >= self.base
        self._average(window, done)
        full = queued = False
        before = self.calls
        queue = self.queue
        if queue is not None and done > 0.0:
            queue.measure(self.calls, done)
            slope, deviation = queue.elasticity(self.calls)
            self._closed = slope + 2.0 * deviation < ELASTIC
            if queue.measured():
                full, queued = self._judge(queue, done, pressed)
        seen = queue is not None and queue.known
        self._since += done
        self._done += done
        if abs(self.calls - before) > 0.1 * before:
            self._settled = 0.0
        elif pressed:
            self._settled = max(self._settled - done, 0.0)
        else:
            self._settled = min(self._settled + done, 2.0 * SETTLED * self.calls)
        self.wait = queue.wait if queue is not None and full else 0.0
        if pressed and not full and not self.dipping and done > 0.0:
            measured = queue is not None and queue.measured()
            if queue is None or not measured or queue.calls <= QUEUE * math.sqrt(self.calls):
                self._grow(queue, done, seen, measured and not queued, shed > 0 or self._confirmed)
        if queue is not None:
            self._dip(queue, in_flight, done, shed, shed > 0 or (pressed and self._confirmed), seen)
        self._give_credit(
            in_flight, dt, done, shed, BUDGET * (promise if promise > 0.0 else UNPROMISED), seen
        )
        self._busy = 0.0
        self._ended = 0
        self._peak = in_flight
        if queue is not None:
            queue.place(self.calls, self._deep)
            self.unloaded_below = queue.unloaded_below
        self._bound()

    def _average(self, window: Window, done: float) -> None:
        """Mean latency and throughput, over completions and busy time."""
        successes = window.window_successes
        if successes > 0:
            latency = window.window_latency / successes
            share = successes / (successes + 4.0 * self.calls + 8.0) if self.service_time > 0.0 else 1.0
            self.service_time += share * (latency - self.service_time)
        if done > 0.0 and self._busy > 0.0:
            share = done / (done + 2.0 * self.calls + 8.0) if self._throughput > 0.0 else 1.0
            self._throughput += share * (done / self._busy - self._throughput)

    def _judge(self, queue: Queue, done: float, pressed: bool) -> tuple[bool, bool]:
        """Move the capacity by the queue that was measured.

        Returns whether the workers are full, and whether there may be a queue: without one it may grow fast.
        """
        met = queue.loaded_met
        allowed = QUEUE * math.sqrt(max(self.calls, met))
        estimate = met - max(queue.calls, 0.0)
        errors = 1.0 if self._confirmed else CERTAIN
        full = queue.calls - errors * queue.error > allowed
        slope, deviation = queue.elasticity(self.calls)
        free = slope - CERTAIN * deviation > ELASTIC
        if full and not self._confirmed and self._settled > SETTLED * self.calls and not queue.crowded():
            queue.renew()  # the service may have become slower, and the low calls be of a time before that
            self._settled = 0.0
            self._since = math.inf  # where demand presses, new ones are wanted at once
            return False, True
        if full and free:
            queue.forget()  # departures grow with what is in flight: the low calls are of another time
            self._confirmed = False
            self.calls = max(self.calls, met)
            return False, True
        if full:
            least = max(0.5 * queue.throughput() * queue.usual, 1.0)
            estimate = max(estimate, least)
            if not self._confirmed:
                self.calls = max(self.calls, min(estimate, met))
            self._confirmed = True
            self._cold = False
            self._deep = estimate < UNLOADED * self.calls
            if estimate < self.calls:
                estimate = max(estimate, FALL * self.calls)
            else:
                estimate = min(estimate, 1.25 * self.calls)
            self.calls += (1.0 - math.exp(-done / self.calls)) * (estimate - self.calls)
            return True, True
        if free or (queue.calls + queue.error < allowed and met >= 0.5 * min(self._peak, self.base)):
            self._deep = False
            self.calls = max(self.calls, estimate)
            if pressed:
                self._confirmed = False
            return False, False
        return False, True

    def _grow(self, queue: Queue | None, done: float, seen: bool, unqueued: bool, full: bool) -> None:
        """Demand presses, and the workers are not known to be full."""
        if full and not seen and self.calls >= 1.5 * INITIAL:
            return
        if self._closed and not unqueued:
            return
        pace = FAST if unqueued else SLOW if self._confirmed else BLIND
        met = queue.loaded_met if queue is not None else 0.0
        top = max(self.calls, 1.5 * met, 1.5 * INITIAL, 0.0 if full else float(self._peak))
        if queue is not None and queue.usual > 0.0 and self._done >= BEGUN:
            # By Little's law: more than these would only take longer, whatever the few say that have come back.
            top = min(top, max(self.calls, STRETCH * self._throughput * queue.usual))
        self.calls = min(self.calls * (1.0 + pace * min(done / self.calls, 1.0)), top)

    def _dip(self, queue: Queue, in_flight: int, done: float, shed: int, pressed: bool, seen: bool) -> None:
        """See to it that there are low calls to compare with."""
        if queue.unloaded_met > 1.5 * UNLOADED * self.calls and queue.unloaded_seen > 4.0:
            queue.forget_unloaded()
            self._since = 1e9
            queue.dip_every = 1.0
        need = max(DIP_ENOUGH * self.calls, 4.0)
        rate = queue.rate()
        if self.dipping:
            queue.dip_done += done
            enough = queue.dip_begun >= need or in_flight == 0
            if enough or queue.dip_done > queue.dip_start + 2.0 * need + 8.0:
                self.dipping = False
                self._since = 0.0
                queue.got = 0
                queue.failed_dips = 0 if enough else queue.failed_dips + 1
                same = abs(self.calls - queue.dip_calls) < 0.25 * self.calls
                same = same and abs(rate - queue.dip_rate) < 0.25 * rate
                queue.dip_every = min(2.0 * queue.dip_every, DIP_PATIENCE) if same or not enough else 1.0
                queue.dip_calls = self.calls
                queue.dip_rate = rate
        elif queue.got >= need:
            self._since = 0.0
            queue.got = 0
            queue.dip_every = 1.0
        elif pressed and in_flight > self.unloaded_below:
            poor = queue.error > 0.6 * math.sqrt(self.calls)
            wait = DIP_FIRST * queue.dip_every * self.calls
            if seen and (queue.unloaded_seen >= self.calls or shed <= done):
                every = queue.dip_every * DIP_CLOSED if self._closed else 1.0 if poor else queue.dip_every
                wait = DIP_AGAIN * every * self.calls + 16.0
            if self._since > wait:
                self.dipping = self.holding = True
                queue.dip_done = 0.0
                queue.dip_begun = 0
                queue.dip_start = in_flight
                queue.got = 0
        if self.holding and not self.dipping and (in_flight >= self.base or self._since > 3.0 * self.calls):
            self.holding = False

    def claim(self) -> Contrast | None:
        """A contrast for a route whose calls are carried here; None while no two calls have met."""
        return None if self.queue is None else self.queue.claim()

    def release(self, contrast: Contrast) -> None:
        """The route has gone."""
        if self.queue is not None:
            self.queue.release(contrast)

    def verdict(self, contrast: Contrast) -> int:
        """Whether the route of ``contrast`` waits for what the others wait for: 1 if so, −1 if not, else 0."""
        queue = self.queue
        if queue is None or contrast.verdict != 0 or not contrast.recent < RARE:
            return contrast.verdict
        # One that waits for certain does not wait elsewhere, whatever those do that are as rare.
        return max(queue.together, 0) if contrast.wait > EVIDENT * contrast.error else queue.together

    def usual_latency(self) -> float:
        """Geometric mean latency of calls that met few others, in seconds; the mean of all where none was seen."""
        usual = 0.0 if self.queue is None else self.queue.usual
        return usual if usual > 0.0 else self.service_time

    def carry(self, calls: float) -> None:
        """Begin with ``calls`` in flight that were carried elsewhere, and without the credit of a cold start."""
        if not self._confirmed:
            self.calls = max(self.calls, calls)
            self._cold = False
            self._credit = 0.0
            self._bound()

    def stubborn(self) -> bool:
        """Whether dips cannot be had from what is not critical, and this one takes long."""
        queue = self.queue
        return queue is not None and queue.failed_dips >= 2 and queue.dip_done > 2.0 * self.calls + 8.0

    def pace(self) -> float:
        """Seconds of one service: what is learnt from the calls in flight cannot be learnt faster."""
        if self._throughput > 0.0:
            return min(self.service_time, self.calls / self._throughput)
        return self.service_time

    def _give_credit(
        self, in_flight: int, dt: float, done: float, shed: int, budget: float, seen: bool
    ) -> None:
        """A queue that came at once and will soon be gone is let in; one that stays is not."""
        if (seen and self._throughput > 0.0) or self._done >= WARM:
            self._cold = False
        full = budget * self._throughput
        fade = max(CREDIT_TIME, self.pace())
        if self._cold:
            full = COLD_CREDIT
            fade = max(COLD_TIME, 2.0 * self._first)
        if in_flight > self.base or (self._cold and self._first >= 0.0):
            if done > 0.0 or self._cold:  # a pause of the service is no queue that stays
                self._credit *= math.exp(-dt / fade)
        elif shed == 0 and not self.dipping:
            self._credit += (1.0 - math.exp(-dt / (REFILL * fade))) * (full - self._credit)
        if not self._cold:
            self._credit = min(self._credit, full)

    def _bound(self) -> None:
        calls = self.calls
        root = math.sqrt(calls)
        base = calls + SLACK * root
        if not self._confirmed:
            wide = HEADROOM * calls
            queue = self.queue
            if queue is not None and queue.usual > 0.0 and self._done >= BEGUN:
                wide = HEADROOM * min(calls, 1.5 * self._throughput * queue.usual)
            base = max(base, wide)
        self.base = max(base, 1.0)
        self.limit = self.base + self._credit
        self.span = self.base + SPREAD * root
        if self.dipping:
            self.limit = min(self.limit, self.unloaded_below)

    def overload_ratio(self, in_flight: int) -> float:
        """How far ``in_flight`` exceeds the limit, 1 being a whole pool and its queue; ≤ 0 while it does not."""
        return (in_flight - self.base - self._credit) / self.span
