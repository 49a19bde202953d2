"""The capacity of a pool, learned from latency against calls in flight and never from a remembered minimum."""

from __future__ import annotations

import math
from typing import Final, final

from atrion._native import mypyc_attr
from atrion.sensing.contrast import CERTAIN, EVIDENT, Contrast
from atrion.sensing.credit import BUDGET, UNPROMISED, WARM, Credit
from atrion.sensing.queue import RARE, UNLOADED, Queue
from atrion.sensing.window import Window

__all__ = ["Capacity"]

SUCCESS: Final = 0
FAILURE: Final = 1
INITIAL: Final = 8.0
"""Capacity of a new route, in calls in flight, before anything was measured."""
SLACK: Final = 1.75
"""Queue allowed, in square roots of the capacity: random arrivals spread by the root."""
SPREAD: Final = 3.0
"""Square roots by which saturation spreads further, so that tiers differ by some calls in small pools too."""
QUEUE: Final = 0.5
"""Queue, in square roots of the capacity, above which the workers are taken to be full."""
HEADROOM: Final = 3.0
"""Capacities allowed while no queue has ever been seen, as the true capacity is unknown."""
ELASTIC: Final = 0.5
"""Elasticity of departures above which workers are free, whatever latencies say."""
FALL: Final = 0.6
"""Least share of the capacity that one measurement leaves: the next one can correct an error."""
STEADY: Final = 8.0
"""Completions, beside one capacity, in which the capacity follows a measurement: small pools measure with few calls."""
FAST: Final = 0.7
"""Growth, per capacity of completions, under pressure without a queue."""
BLIND: Final = 0.3
"""The same where the queue cannot be measured."""
SLOW: Final = 0.1
"""The same where a queue has been seen before."""
STRETCH: Final = 8.0
"""Usual latencies that calls may take, by Little's law, where nothing else bounds the calls in flight."""
SETTLED: Final = 20.0
"""Completions, in capacities, without pressure or growth, after which a slower service has to be told from a queue."""
CALM: Final = 10.0
"""Least seconds over which the throughput in calm is averaged."""
PAUSE: Final = 4.0
"""Most seconds that count between two completions, in usual ones: a pause is not a low throughput."""
DEMAND: Final = 1.3
"""Growth of the throughput above which it is demand that has changed, and not the service."""


def _mean_gap(gap: float, seconds: float, done: float, memory: float) -> float:
    """Mean seconds between completions, over ``memory`` of them and ``done`` more in ``seconds``.

    A mean of rates would be too high, since ticks with many completions would count more.
    """
    if gap > 0.0:
        seconds = min(seconds, PAUSE * gap * (done + 1.0))
    total = done + memory
    return gap + (seconds - gap * done) / total if total > 0.0 else 0.0


@mypyc_attr(acyclic=True)
@final
class Capacity:
    """Learns how many calls in flight a pool can serve. Times in seconds, amounts in calls in flight.

    Attributes:
        calls: The capacity.
        base: The capacity and the queue that random arrivals need.
        limit: ``base`` and the credit for bursts; lower in a dip.
        span: Calls beyond the limit that are an overload ratio of 1.
        service_time: Mean latency: the pace of learning, never a lower bound.
        wait: Measured wait in front of full workers; 0 if they are not full.
        pressed: Whether demand was at the limit at the last tick.
        dipping: Whether only critical requests may exceed ``unloaded_below`` calls in flight, so that some calls are
            measured without a queue.
        holding: Whether the controller of saturation must not learn now, because of a dip.
        queue: The queue's measurement; None until two calls have met.
    """

    __slots__ = (
        "_born",
        "_busy",
        "_calm_gap",
        "_closed",
        "_confirmed",
        "_credit",
        "_deep",
        "_done",
        "_ended",
        "_first",
        "_gap",
        "_last",
        "_peak",
        "_settled",
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
        self._closed: bool = False
        self._deep: bool = False
        self._credit: Credit = Credit()
        self._gap: float = 0.0
        self._last: float = -1.0
        self._busy: float = 0.0
        self._calm_gap: float = 0.0
        self._ended: float = 0.0
        self._done: float = 0.0
        self._peak: float = 0.0
        self._born: float = -1.0
        self._first: float = -1.0
        self._settled: float = 0.0
        self._bound()

    # --- calls ---------------------------------------------------------------------------------------------

    def _pass_time(self, in_flight: float, now: float, done: float) -> None:
        dt = now - self._last
        if dt > 0.0:
            self._last = now
        else:
            dt = 0.0
        if in_flight > 0:  # an idle period is not a low throughput
            self._busy += dt
            if in_flight > self._peak:
                self._peak = in_flight
            queue = self.queue
            if queue is not None and in_flight >= queue.loaded_from:
                queue.departures.pass_time(in_flight, dt, done)
        self._ended += done

    def pass_time(self, in_flight: float, now: float) -> None:
        """So many calls were ``in_flight`` until ``now``."""
        self._pass_time(in_flight, now, 0.0)

    def begin(self, in_flight: float, now: float) -> float:
        """A call begins beside ``in_flight`` others; returns the calls in flight with it, for :meth:`end`."""
        if in_flight > 0:
            self._pass_time(in_flight, now, 0.0)
            if self.queue is None:  # a pool in which no two calls ever meet needs none
                self.queue = Queue(self.calls, self._done)
        elif now > self._last:
            self._last = now
        if self._born < 0.0:
            self._born = now
        if self.dipping and in_flight < self.unloaded_below and self.queue is not None:
            self.queue.dips.begun += 1.0
        return in_flight + 1.0

    def begin_surplus(self, met: float, surplus: float) -> None:
        """The call that has just made ``met`` in flight counts as so many more than one."""
        if self.dipping and met - 1.0 < self.unloaded_below and self.queue is not None:
            self.queue.dips.begun += surplus

    def end(
        self,
        in_flight: float,
        now: float,
        latency: float,
        outcome: int,
        met: float,
        tier: int,
        contrast: Contrast | None,
        weight: float = 1.0,
    ) -> None:
        """A call that met ``met`` − 1 others ends after ``latency`` seconds, as one of ``in_flight``.

        It counts as ``weight`` calls.

        ``contrast`` is its route's, from :meth:`claim`; without one the call is not measured.
        """
        # A failed call may not have waited; every other one has left the queue.
        self._pass_time(in_flight, now, 0.0 if outcome == FAILURE else weight)
        queue = self.queue
        if outcome != SUCCESS:
            if outcome == FAILURE and queue is not None and contrast is not None:
                queue.fail(contrast, met, weight)
            return
        if self._first < 0.0:
            self._first = now - self._born
        if queue is not None and contrast is not None:
            queue.add(contrast, latency, in_flight, met, tier, weight)

    def restart(self, now: float) -> None:
        """The clock was set back to ``now``."""
        self._last = now

    # --- learning ------------------------------------------------------------------------------------------

    def learn(
        self, window: Window, in_flight: float, dt: float, now: float, shed: int, promise: float
    ) -> None:
        """Learn from a window of ``dt`` seconds that ends with so many calls ``in_flight``.

        So many requests were ``shed``; ``promise`` is in seconds, 0 for none.
        """
        self._pass_time(in_flight, now, 0.0)
        done = self._ended
        pressed = self.pressed = shed > 0 or self._peak >= self.base
        self._average(window, dt, done)
        full = queued = False
        before = self.calls
        queue = self.queue
        if queue is not None and done > 0.0:
            queue.measure(self.calls, done)
            slope, deviation = queue.departures.elasticity(self.calls)
            self._closed = slope + 2.0 * deviation < ELASTIC
            if queue.measured():
                full, queued = self._judge(queue, done, pressed)
        seen = queue is not None and queue.known
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
            # Workers that were full when last measured are taken to be full until a dip shows otherwise.
            short = queue is not None and queue.calls <= QUEUE * math.sqrt(self.calls)
            if short if measured else not self._confirmed:
                self._grow(queue, done, seen, measured and not queued, shed > 0 or self._confirmed)
        if queue is not None:
            if self.calls > before and self._demand_has_grown():
                # With the demand, departures grew from few calls in flight to more, which says nothing about many.
                queue.departures.fade((before / self.calls) ** 4)
            queue.dips.since += done
            self._dip(queue, in_flight, done, shed, shed > 0 or (pressed and self._confirmed), seen)
        self._give_credit(in_flight, dt, done, shed, promise, seen)
        self._ended = 0.0
        self._peak = in_flight
        if queue is not None:
            queue.place(self.calls, self._deep)
            self.unloaded_below = queue.unloaded_below
        self._bound()

    def _average(self, window: Window, dt: float, done: float) -> None:
        """Mean latency, and mean seconds between completions: while calls are in flight, and in calm."""
        successes = window.window_successes
        if successes > 0:
            latency = window.window_latency / successes
            share = successes / (successes + 4.0 * self.calls + 8.0) if self.service_time > 0.0 else 1.0
            self.service_time += share * (latency - self.service_time)
        if done > 0.0 and self._busy > 0.0:
            self._gap = _mean_gap(self._gap, self._busy, done, min(self._done, 2.0 * self.calls + 8.0))
            self._busy = 0.0
        if not self.pressed:
            memory = SETTLED * self.calls
            if self._calm_gap > 0.0:  # fast calls, too, are of a calm that lasts
                memory = max(memory, CALM / self._calm_gap)
            self._calm_gap = _mean_gap(self._calm_gap, dt, done, min(self._done, memory))

    def _demand_has_grown(self) -> bool:
        """Whether more calls complete than in the last calm, so that it is not only the service that has changed."""
        return self._calm_gap >= DEMAND * self._gap

    def _judge(self, queue: Queue, done: float, pressed: bool) -> tuple[bool, bool]:
        """Move the capacity by the measured queue.

        Returns whether the workers are full, and whether there may be a queue: without one, growth is fast.
        """
        met = queue.loaded_met
        allowed = QUEUE * math.sqrt(max(self.calls, met))
        estimate = met - max(queue.calls, 0.0)
        errors = 1.0 if self._confirmed else CERTAIN
        full = queue.calls - errors * queue.error > allowed
        slope, deviation = queue.departures.elasticity(self.calls)
        free = slope - CERTAIN * deviation > ELASTIC
        # A service that has become slower is busier at the same rate; with more demand there are more departures too.
        slower = self._settled > SETTLED * self.calls and not self._demand_has_grown()
        if full and not self._confirmed and slower and not queue.crowded():
            queue.renew()  # the unloaded calls may be of a time when the service was faster
            self._settled = 0.0
            queue.dips.since = math.inf  # under pressure, dip for new ones at once
            return False, True
        if full and free:
            queue.forget()  # departures grow with the calls in flight: the unloaded calls are outdated
            self._confirmed = False
            self.calls = max(self.calls, met)
            return False, True
        if full:
            least = max(0.5 * queue.departures.throughput() * queue.usual, 1.0)
            estimate = max(estimate, least)
            if not self._confirmed:
                self.calls = max(self.calls, min(estimate, met))
            self._confirmed = True
            self._credit.cold = False
            self._deep = estimate < UNLOADED * self.calls
            if estimate < self.calls:
                estimate = max(estimate, FALL * self.calls)
            else:
                estimate = min(estimate, 1.25 * self.calls)
            self.calls += (1.0 - math.exp(-done / (self.calls + STEADY))) * (estimate - self.calls)
            return True, True
        if free or (queue.calls + queue.error < allowed and met >= 0.5 * min(self._peak, self.base)):
            self._deep = False
            self.calls = max(self.calls, estimate)
            if pressed:
                self._confirmed = False
            return False, False
        return False, True

    def _grow(self, queue: Queue | None, done: float, seen: bool, unqueued: bool, full: bool) -> None:
        """Grow under pressure, while the workers are not known to be full."""
        if full and not seen and self.calls >= 1.5 * INITIAL:
            return
        if self._closed and not unqueued:
            return
        pace = FAST if unqueued else SLOW if self._confirmed else BLIND
        met = queue.loaded_met if queue is not None else 0.0
        top = max(self.calls, 1.5 * met, 1.5 * INITIAL, 0.0 if full else self._peak)
        if queue is not None and queue.usual > 0.0 and self._done >= WARM:
            # By Little's law: more calls would only take longer, whatever the few completed ones suggest.
            top = min(top, max(self.calls, STRETCH * self.throughput() * queue.usual))
        self.calls = min(self.calls * (1.0 + pace * min(done / self.calls, 1.0)), top)

    def _dip(self, queue: Queue, in_flight: float, done: float, shed: int, pressed: bool, seen: bool) -> None:
        """Dip where unloaded calls are needed for comparison and demand leaves none."""
        dips = queue.dips
        if queue.unloaded_met > 1.5 * UNLOADED * self.calls and queue.unloaded_seen > 4.0:
            queue.forget_unloaded()
            dips.hasten()
        may_start = dips.proceed(self.calls, queue.departures.rate(), done, in_flight)
        if may_start and pressed and in_flight > self.unloaded_below:
            compared = seen and (queue.unloaded_seen >= self.calls or shed <= done)
            dips.start_if_due(self.calls, queue.error, in_flight, compared, self._closed)
        dips.release(self.calls, in_flight >= self.base)
        self.dipping = dips.active
        self.holding = dips.holding

    def claim(self) -> Contrast | None:
        """A contrast for a route of this pool; None until two calls have met."""
        return None if self.queue is None else self.queue.claim()

    def release(self, contrast: Contrast) -> None:
        """Take back the contrast of a route that has left."""
        if self.queue is not None:
            self.queue.release(contrast)

    def is_common(self, contrast: Contrast) -> bool:
        """Whether ``contrast`` measures several rare routes together."""
        return self.queue is not None and contrast is self.queue.common

    def verdict(self, contrast: Contrast) -> int:
        """Whether the route of ``contrast`` waits in the same queue as the others: 1 if so, −1 if not, else 0."""
        queue = self.queue
        if queue is None or contrast.verdict != 0 or not contrast.recent < RARE:
            return contrast.verdict
        # A route that waits for certain does so here, even if the other rare routes do not.
        return max(queue.together, 0) if contrast.wait > EVIDENT * contrast.error else queue.together

    def usual_latency(self) -> float:
        """Geometric mean latency of unloaded calls, in seconds; the mean of all calls if there were none."""
        usual = 0.0 if self.queue is None else self.queue.usual
        return usual if usual > 0.0 else self.service_time

    def carry(self, calls: float) -> None:
        """Start with ``calls`` in flight that were carried elsewhere, and without the credit of a cold start."""
        if not self._confirmed:
            self.calls = max(self.calls, calls)
            self._credit.drop()
            self._bound()

    def stubborn(self) -> bool:
        """Whether refusing all but critical requests does not make a dip, and this one takes long."""
        queue = self.queue
        return queue is not None and queue.dips.stubborn(self.calls)

    def throughput(self) -> float:
        """Mean completions per second in which calls were in flight; 0 before the first."""
        return 1.0 / self._gap if self._gap > 0.0 else 0.0

    def pace(self) -> float:
        """Seconds of one service: the fastest pace at which the calls in flight can show anything."""
        return min(self.service_time, self.calls * self._gap) if self._gap > 0.0 else self.service_time

    def _give_credit(
        self, in_flight: float, dt: float, done: float, shed: int, promise: float, seen: bool
    ) -> None:
        """Admit a queue that came at once and will soon be gone, and not one that stays."""
        credit = self._credit
        if (seen and self._gap > 0.0) or self._done >= WARM:
            credit.cold = False
        full = BUDGET * (promise if promise > 0.0 else UNPROMISED) * self.throughput()
        refill = shed == 0 and not self.dipping
        credit.update(full, self.pace(), self._first, dt, in_flight > self.base, done <= 0.0, refill)

    def _bound(self) -> None:
        calls = self.calls
        root = math.sqrt(calls)
        base = calls + SLACK * root
        if not self._confirmed:
            wide = HEADROOM * calls
            queue = self.queue
            if queue is not None and queue.usual > 0.0 and self._done >= WARM:
                wide = HEADROOM * 1.5 * self.throughput() * queue.usual
            base = max(base, wide)
        self.base = max(base, 1.0)
        self.limit = self.base + self._credit.calls
        self.span = self.base + SPREAD * root
        if self.dipping:
            self.limit = min(self.limit, self.unloaded_below)

    def overload_ratio(self, in_flight: float) -> float:
        """(``in_flight`` − limit) / span: 1 is a whole pool and its queue too many; ≤ 0 up to the limit."""
        return (in_flight - self.base - self._credit.calls) / self.span
