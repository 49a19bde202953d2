"""Statistics of one tick's calls, without locks.

Calls only add to running totals, and a tick remembers the totals of the last one, so that no call is lost: under the
GIL, ``+=`` on a float or int attribute is not interrupted by another thread.
"""

from __future__ import annotations

from typing import Final, final

from atrion._native import mypyc_attr

__all__ = ["Window"]

SUCCESS: Final = 0
FAILURE: Final = 1
IGNORED: Final = 2
DROPPED: Final = 3


@mypyc_attr(acyclic=True)
@final
class Window:
    """Calls of a route since the last tick, and those still in flight. Latencies in seconds.

    Calls that have been answered and still send are ``streaming``, and no longer ``in_flight``.
    """

    __slots__ = (
        "_answers",
        "_drops",
        "_failures",
        "_latency",
        "_successes",
        "drops_total",
        "failures_total",
        "ignored_total",
        "in_flight",
        "latency_total",
        "streaming",
        "successes_total",
        "window_answers",
        "window_drops",
        "window_failures",
        "window_latency",
        "window_successes",
    )

    def __init__(self) -> None:
        self.in_flight: int = 0
        self.streaming: int = 0
        self.successes_total: int = 0
        self.failures_total: int = 0
        self.ignored_total: int = 0
        self.drops_total: int = 0
        self.latency_total: float = 0.0
        self._successes: int = 0
        self._failures: int = 0
        self._answers: int = 0
        self._drops: int = 0
        self._latency: float = 0.0
        self.window_successes: int = 0
        self.window_failures: int = 0
        self.window_answers: int = 0
        self.window_drops: int = 0
        self.window_latency: float = 0.0

    def begin(self) -> None:
        """Count a call as begun."""
        self.in_flight += 1

    def end(self, outcome: int, latency: float) -> None:
        """Count a call as ended after ``latency`` seconds."""
        if self.in_flight > 0:
            self.in_flight -= 1
        self.count(outcome, latency)

    def count(self, outcome: int, latency: float) -> None:
        """Count the end of a call, without changing the calls in flight."""
        if outcome == SUCCESS:
            self.successes_total += 1
            self.latency_total += latency
        elif outcome == FAILURE:
            self.failures_total += 1
        elif outcome == DROPPED:
            self.drops_total += 1
        else:
            self.ignored_total += 1

    def fail(self) -> None:
        """Turn a success into a failure: a stream has failed after its answer began."""
        self.failures_total += 1
        self.successes_total -= 1

    def _answers_total(self) -> int:
        """Calls that were answered, whatever the outcome."""
        return self.successes_total + self.failures_total + self.ignored_total

    def is_empty(self) -> bool:
        """Whether no call is in flight, and none has ended since the window began."""
        return (
            self.in_flight == 0
            and self._answers_total() == self._answers
            and self.drops_total == self._drops
            and self.failures_total == self._failures
        )

    def roll(self) -> None:
        """Close the window: its statistics can be read, and the next one starts."""
        # Below 0 if successes of an earlier window became failures: later successes make up for it.
        self.window_successes = max(self.successes_total - self._successes, 0)
        self.window_failures = self.failures_total - self._failures
        self.window_answers = self._answers_total() - self._answers
        self.window_drops = self.drops_total - self._drops
        self.window_latency = max(self.latency_total - self._latency, 0.0)
        self._successes += self.window_successes
        self._failures += self.window_failures
        self._answers += self.window_answers
        self._drops += self.window_drops
        self._latency = self.latency_total
