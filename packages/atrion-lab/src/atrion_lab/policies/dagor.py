"""DAGOR: WeChat's overload control by priority and queueing time."""

from __future__ import annotations

from random import Random
from typing import final

from atrion.sensing.telemetry import Outcome
from atrion_lab.policies.common import LEVELS, level, waited
from atrion_lab.policies.port import BasePolicy, Call

__all__ = ["Dagor"]

TIERS = 5


@final
class Dagor(BasePolicy):
    """Sheds all below an admission level, moved once a second or every 2,000 requests.

    Overload is a mean queueing time above 20 ms in that window. Then the level falls until 5% fewer than were
    admitted would have been; else it rises until 1% of all that came would have been admitted on top. Levels are the
    business priority (the tier) and within it 128 user priorities (the key's hash, rotated hourly). Source: Zhou et
    al., "Overload Control for Scaling WeChat Microservices", SoCC 2018, sections 4.1 to 4.2 and algorithm 1,
    arXiv:1806.04075 (20 ms, 1 s, 2,000 requests, α 5%, β 1%). Its collaborative part, where callers learn the level
    of whom they call, needs messages between services and is left out.

    Args:
        rng: Gives requests without a key their user priority.
        threshold: Seconds of mean queueing that are overload.
        window: Seconds of a window.
        requests: Requests that end a window early.
        alpha: α, share shed on top in overload.
        beta: β, share admitted on top otherwise.
    """

    name: str = "dagor"

    def __init__(
        self,
        rng: Random,
        threshold: float = 0.02,
        window: float = 1.0,
        requests: int = 2000,
        alpha: float = 0.05,
        beta: float = 0.01,
    ) -> None:
        self._rng = rng
        self._threshold = threshold
        self._window = window
        self._requests = requests
        self._alpha = alpha
        self._beta = beta
        self._begun = 0.0
        self._histogram = [0] * (TIERS * LEVELS)
        self._came = 0
        self._admitted = 0
        self._waits = 0.0
        self._started = 0
        self.level: int = TIERS * LEVELS - 1

    def arrive(self, call: Call, now: float) -> bool:
        """Admit down to the level."""
        if now - self._begun >= self._window or self._came >= self._requests:
            self._move(now)
        place = level(call, now, self._rng)
        self._histogram[place] += 1
        self._came += 1
        admitted = place <= self.level
        self._admitted += admitted
        return admitted

    def start(self, call: Call, now: float) -> bool:
        """Measure queueing."""
        call.token = True
        self._waits += now - call.arrived
        self._started += 1
        return True

    def finish(self, call: Call, outcome: Outcome, now: float) -> None:
        """Calls that found an idle worker passed no queue, and are counted when they end."""
        if call.token is None and call.started >= 0.0:
            self._waits += waited(call)
            self._started += 1

    def _move(self, now: float) -> None:
        if self._came > 0:
            overloaded = self._started > 0 and self._waits / self._started > self._threshold
            if overloaded:
                expected = (1.0 - self._alpha) * self._admitted
            else:
                expected = self._admitted + self._beta * self._came
            self.level = self._level_of(expected)
        self._begun = now
        self._histogram = [0] * (TIERS * LEVELS)
        self._came = self._admitted = self._started = 0
        self._waits = 0.0

    def _level_of(self, expected: float) -> int:
        """The lowest priority at which no more than ``expected`` of the window's requests would have passed."""
        passed = 0
        for place, count in enumerate(self._histogram):
            passed += count
            if passed > expected:
                return max(place - 1, 0)
        return TIERS * LEVELS - 1
