"""Counts of one route's decisions and calls, for metrics. They exist only once somebody counts. Compiled."""

from __future__ import annotations

from typing import Final, final

from atrion._native import mypyc_attr
from atrion.control.decision import Reason
from atrion.physics.voltage import level_at
from atrion.sensing.window import Window

__all__ = ["BOUNDS", "SHED_REASONS", "TIERS", "Counters", "ended_calls"]

BOUNDS: Final[list[float]] = [
    0.001,
    0.005,
    0.01,
    0.025,
    0.05,
    0.075,
    0.1,
    0.25,
    0.5,
    0.75,
    1.0,
    2.5,
    5.0,
    7.5,
    10.0,
]
"""Upper bounds of the buckets of durations, in seconds: OpenTelemetry's advice for HTTP, and a millisecond."""
SHED_REASONS: Final[list[Reason]] = [
    Reason.SATURATED,
    Reason.PROCESS_SATURATED,
    Reason.FAILING,
    Reason.LATE,
    Reason.STALLED,
    Reason.CLUSTER,
    Reason.DEADLINE,
    Reason.RESISTANCE,
]
"""Reasons for which requests are shed, in the order of their counts."""
TIERS: Final = 5
"""Tiers, from bulk (0) to critical (4)."""
_REASONS: Final = 8
_RESISTANCE: Final = Reason.RESISTANCE


def ended_calls(window: Window) -> list[int]:
    """The calls of a window that have ended, by outcome: success, failure, ignored, dropped."""
    return [window.successes_total, window.failures_total, window.ignored_total, window.drops_total]


@mypyc_attr(acyclic=True)
@final
class Counters:
    """Counts that only grow, from now on; ``window`` has counted the route's calls so far.

    Attributes:
        calls_before: Calls of the window that ended before, by outcome.
        admitted: Requests that flow, by tier.
        probes: Requests that pass as probes, by tier.
        shed: Requests refused, by tier and reason: the count of a tier and reason is at ``8 · tier + reason``, with
            reasons in the order of :data:`SHED_REASONS`. None until the first.
        would_shed: The same for requests admitted only because of shadow mode.
        buckets: Ended calls by duration: those up to each of :data:`BOUNDS`, and the longer ones last. They are not
            cumulative.
        seconds: Sum of these durations.
        transitions: Changes of mode, by the index of the mode that began.
        broken_streams: Calls that failed after their answer had begun.
    """

    __slots__ = (
        "admitted",
        "broken_streams",
        "buckets",
        "calls_before",
        "probes",
        "seconds",
        "shed",
        "transitions",
        "would_shed",
    )

    def __init__(self, window: Window) -> None:
        self.calls_before: list[int] = ended_calls(window)
        self.admitted: list[int] = [0] * TIERS
        self.probes: list[int] = [0] * TIERS
        self.shed: list[int] | None = None  # most routes never shed
        self.would_shed: list[int] | None = None
        self.buckets: list[int] = [0] * 16
        self.seconds: float = 0.0
        self.transitions: list[int] = [0, 0, 0]
        self.broken_streams: int = 0

    # Under the GIL, no other thread runs between the reading and the writing of an element.

    def count_admitted(self, volts: float, probe: bool) -> None:
        """Count a request of ``volts`` that flows, or passes as a probe."""
        if probe:
            self.probes[level_at(volts)] += 1
        else:
            self.admitted[level_at(volts)] += 1

    def count_shed(self, volts: float, reason: Reason | None, enforced: bool) -> None:
        """Count a request of ``volts`` that is shed, or would be if this were enforced."""
        counts = self.shed if enforced else self.would_shed
        if counts is None:
            counts = [0] * (TIERS * _REASONS)
            if enforced:
                self.shed = counts
            else:
                self.would_shed = counts
        wanted = _RESISTANCE if reason is None else reason
        index = 0
        while index < _REASONS - 1 and SHED_REASONS[index] is not wanted:
            index += 1
        counts[_REASONS * level_at(volts) + index] += 1

    def count_ended(self, seconds: float) -> None:
        """Count a call that took so many seconds."""
        index = 0
        while index < 15 and seconds > BOUNDS[index]:
            index += 1
        self.buckets[index] += 1
        self.seconds += seconds

    def tiers(self, level: int) -> tuple[int, int, int]:
        """The requests of a tier that were admitted, shed, and admitted only because of shadow mode."""
        start = _REASONS * level
        shed = 0 if self.shed is None else sum(self.shed[start : start + _REASONS])
        would_shed = 0 if self.would_shed is None else sum(self.would_shed[start : start + _REASONS])
        return self.admitted[level] + self.probes[level] + would_shed, shed, would_shed
