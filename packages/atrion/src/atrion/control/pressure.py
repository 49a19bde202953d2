"""The three pressures of the law, from the calls of a window or from a caller's own samples."""

from __future__ import annotations

import math
from typing import Final, final

from atrion._native import mypyc_attr
from atrion.control.decision import Reason
from atrion.control.settings import Settings
from atrion.physics.laws import normalize
from atrion.physics.state import Constants
from atrion.sensing.evidence import Lateness, Share, lower_bound
from atrion.sensing.samples import Samples
from atrion.sensing.window import Window

__all__ = ["Pressure"]

FAILING: Final = Reason.FAILING
TOO_LATE: Final = Reason.LATE
STALLED: Final = Reason.STALLED
SATURATED: Final = Reason.SATURATED

ERROR_MEMORY: Final = 12.0
"""Calls over which the share of failures is taken."""
LATE: Final = 0.5
"""Share of late answers above which serving is not worth its cost."""
FOLLOW: Final = 30.0
"""Seconds over which the usual latency of a caller's samples is averaged, in calm."""
STALL_LATENCIES: Final = 30.0
"""Mean latencies without any answer after which calls have stalled, if that is longer than the profile's time."""
STALL_CALLS: Final = 3
"""Least calls unanswered meanwhile: a single stuck call proves nothing about the others."""


@mypyc_attr(acyclic=True)
@final
class Pressure:
    """Normalised pressures of one route, each in [−1, 1]; a component without data keeps its last value.

    Attributes:
        latency: Pressure of late answers.
        error: Pressure of failures, or of unanswered calls while they have ``stalled``.
        saturation: Pressure of saturation, from samples alone.
        stalled: Whether calls are unanswered for so long that this counts as failure.
        stall_age: Age of the unanswered calls in seconds, without pauses of this process; 0 while it proves nothing.
    """

    __slots__ = (
        "_begun_at_answer",
        "_errors",
        "_lateness",
        "_quiet",
        "error",
        "latency",
        "saturation",
        "stall_age",
        "stalled",
    )

    def __init__(self) -> None:
        self.latency: float = 0.0
        self.error: float = 0.0
        self.saturation: float = 0.0
        self.stall_age: float = 0.0
        self.stalled: bool = False
        self._errors: Share = Share(ERROR_MEMORY)
        self._lateness: Lateness | None = None  # only where latency was promised
        self._quiet: float = 0.0
        self._begun_at_answer: int = 0

    def read_samples(self, given: Samples, settings: Settings, dt: float, shed: int) -> int:
        """Take and clear the samples of the last ``dt`` seconds; returns how many there were."""
        k = settings.constants.steepness
        if given.latencies > 0:
            latency = given.latency()
            finite = min(latency, settings.sample_latency_ceiling())
            if given.usual <= 0.0:
                given.usual = finite
            self.latency = normalize(latency, settings.sample_latency_baseline(given.usual), k)
            if shed == 0 and self.latency <= 0.0 and self.error <= 0.0:
                given.usual += (1.0 - math.exp(-dt / FOLLOW)) * (finite - given.usual)
        if given.errors > 0:
            self.error = normalize(given.error_rate(), settings.error_baseline, k)
        if given.saturations > 0:
            self.saturation = normalize(given.saturation(), 1.0, k)
        count = given.count()
        given.clear()
        return count

    def worst(self, constants: Constants) -> tuple[Reason, float]:
        """The reason and ohms of the pressure that adds most to resistance; ≤ 0 ohms if none adds any."""
        reason = STALLED if self.stalled else FAILING
        ohms = constants.weight_error * self.error
        late = constants.weight_latency * self.latency
        if late > ohms:
            reason, ohms = TOO_LATE, late
        saturated = constants.weight_saturation * self.saturation
        return (SATURATED, saturated) if saturated > ohms else (reason, ohms)

    def late_calls(self) -> int:
        """Calls of the last window that were answered later than promised."""
        return 0 if self._lateness is None else self._lateness.recent

    def late(self) -> None:
        """Count a call that was answered, or given up, later than promised."""
        self._get_lateness().add()

    def _get_lateness(self) -> Lateness:
        """The share of late answers, created with the first call of a route that promises a latency."""
        if self._lateness is None:
            self._lateness = Lateness()
        return self._lateness

    def read_calls(
        self, window: Window, begun: int, settings: Settings, now: float, dt: float, usual: float
    ) -> int:
        """Take a window of ``dt`` seconds of guarded calls; returns how many calls it stands for.

        ``begun`` calls have begun so far, and take ``usual`` seconds. An empty window changes nothing unless calls have
        stalled.
        """
        k = settings.constants.steepness
        finished = window.window_successes + window.window_failures
        stalled = self._stalled(window, begun, settings, dt, usual)
        if finished > 0 or (self.stalled and window.window_answers > 0):
            self.stalled = False
            self._errors.add(window.window_failures, finished)
            self.error = normalize(self._errors.bound(), settings.error_baseline, k)
        if stalled > 0:
            self.stalled = True
            self.error = normalize(lower_bound(1.0, float(stalled)), settings.error_baseline, k)
        if settings.promise > 0.0:
            ended = window.window_successes + window.window_drops
            over = begun - window.in_flight
            share = self._get_lateness().read(ended, begun, over, now, settings.promise)
            self.latency = normalize(share, LATE, k) if ended > 0 or share > LATE else self.latency
            if share > LATE:
                return max(finished + window.window_drops, 1)
        return finished + window.window_drops + stalled

    def _stalled(self, window: Window, begun: int, settings: Settings, dt: float, usual: float) -> int:
        """How many calls are unanswered for so long that the dependency has stalled; 0 if it may be chance."""
        if window.window_answers > 0 or begun == self._begun_at_answer:
            self._begun_at_answer = begun
            self._quiet = self.stall_age = 0.0
            return 0
        if window.in_flight == 0 and window.window_drops == 0:
            self.stall_age = 0.0
            return 0
        # A long step may be a pause of this process, in which no answer could have been seen.
        self._quiet += min(dt, max(2.0 * settings.constants.tick, usual))
        calls = begun - self._begun_at_answer
        if calls < STALL_CALLS or usual <= 0.0 or self._quiet < max(settings.stall, STALL_LATENCIES * usual):
            self.stall_age = 0.0
            return 0
        self.stall_age = self._quiet
        return calls
