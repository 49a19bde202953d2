"""What is left of a provider's rate limits, and the resistance that this causes. Pure: callers pass the time.

A limit resists only if, at the present demand, it runs out before it is whole again. From then on it is kept for what
matters: a tier flows while more remains than the tiers above it are expected to need until then. What they need beyond
what comes back in the meantime is measured, so it does not matter whether a limit is a bucket that fills continuously
(OpenAI, Anthropic) or starts anew each minute (Azure), nor how much of it other processes use.
"""

from __future__ import annotations

import math
import threading
from typing import Final, NamedTuple

from atrion.integrations._llm_headers import MOST_LIMITS, REQUESTS, Report
from atrion.integrations._outgoing import Hold
from atrion.integrations._retry_after import LONGEST_HOLD
from atrion.physics.voltage import BAND_WIDTH, band, level_at

__all__ = ["Cost", "Mark", "Quotas"]

LEVELS: Final = 5
SHED_LEVELS: Final = 4
"""Levels below critical: a provider refuses critical calls itself, or does not."""
PERIOD: Final = 60.0
"""Seconds in which a limit is whole again, where nobody says: most are per minute."""
MEMORY: Final = 15.0
"""Seconds over which demand and what comes back are averaged: a burst is no rate."""
BETWEEN: Final = 1.0
"""Seconds between the reports of which what comes back is measured: providers round what remains."""
RENEWED: Final = 0.25
"""Share of a limit that comes back at once only where a new period begins."""
FULL: Final = 0.98
"""Share above which a limit says nothing of what comes back: there is no place for it."""
STEP: Final = 0.025
"""Share of a limit that is kept for each tier above, for what forecasts miss."""
LARGEST_STEP: Final = 0.06
DOUBT: Final = 2.0
"""Standard errors of the demand below which it is taken to be: refusing needs evidence."""
AMPLE: Final = 2.0
"""Multiple of what higher tiers are expected to need that is kept for chance at most: nothing is kept for nobody."""
SOME: Final = 0.5
"""Share of the usual tokens of a request that enough requests need."""
NEWS: Final = 10.0
"""Seconds after the last answer for which it is believed that nothing is left."""
SPREAD: Final = 2.0
"""Standard deviations by which requests may come more often than expected."""
HALF: Final = 0.5
"""Share of a limit that is kept at most, whatever the forecast."""
ODD: Final = 3
"""Successes that each leave nothing of a limit, after which the limit is not believed."""


class Cost(NamedTuple):
    """What a request takes of the limits in tokens: those of the prompt, and those that the answer may have."""

    input: float
    output: float

    @property
    def total(self) -> float:
        """All tokens."""
        return self.input + self.output


class Kept(NamedTuple):
    """What is kept of a limit from each level: it is shed at ``low`` and below, and flows from ``high`` on."""

    low: list[float]
    high: list[float]

    def volts(self, left: float) -> float:
        """Volts up to which calls are shed where so much is left."""
        volts = 0.0
        for level, (low, high) in enumerate(zip(self.low, self.high, strict=True)):
            if left >= high:
                break
            if left > low:
                return band(level) + BAND_WIDTH * (high - left) / (high - low)
            volts = band(level) + BAND_WIDTH
        return volts

    def lacking(self, volts: float, left: float) -> float:
        """What has to come back before a call of ``volts`` flows."""
        return max(self.high[min(level_at(volts), SHED_LEVELS - 1)] - left, 0.0)


Amounts = tuple[float, float, float, float]
"""By what limits count: requests, tokens, input tokens, output tokens."""


class Mark(NamedTuple):
    """What had been spent when a request began, with it."""

    now: float
    spent: Amounts


class _Limit:
    """One limit."""

    def __init__(self, report: Report, mark: Mark) -> None:
        self.unit = report.unit
        self.size = report.limit or report.remaining
        self.ends = mark.now
        reset = report.reset
        # What comes back in a second, less what others take.
        if reset is None:
            self.inflow = 0.0
        elif reset < BETWEEN:
            self.inflow = self.size / PERIOD
        else:
            self.inflow = (self.size - report.remaining) / reset
        self.odd = 0
        self._reference = self._last = mark
        self._left_then = self.remaining = report.remaining
        self._take(report, mark)

    def learn(self, report: Report, mark: Mark, succeeded: bool) -> None:
        """Take what the answer to a request says, unless a later one has said more."""
        self.odd = self.odd + 1 if succeeded and report.remaining <= 0.0 else 0
        if mark.now < self._last.now:
            return
        self.size = report.limit or max(self.size, report.remaining)
        passed = mark.now - self._reference.now
        if passed >= BETWEEN:
            back = report.remaining - self._left_then
            if back > RENEWED * self.size:
                self.ends = mark.now
            elif report.remaining < FULL * self.size:
                spent = mark.spent[self.unit] - self._reference.spent[self.unit]
                rate = min(max((back + spent) / passed, 0.0), self.size)
                self.inflow += (1.0 - math.exp(-passed / MEMORY)) * (rate - self.inflow)
            self._reference, self._left_then = mark, report.remaining
        self._take(report, mark)

    def _take(self, report: Report, mark: Mark) -> None:
        if report.reset is not None:
            self.ends = mark.now + min(report.reset, LONGEST_HOLD)
        elif self.ends <= mark.now:
            self.ends = mark.now + PERIOD
        self.remaining = report.remaining
        self._last = mark

    def left(self, spent: Amounts, now: float) -> float:
        """What should be left now."""
        used = spent[self.unit] - self._last.spent[self.unit]
        return min(self.remaining - used + self.inflow * (now - self._last.now), self.size)

    def kept(self, demand: list[float], cost: float, left: float, now: float) -> Kept | None:
        """What has to be left for each level to flow; None while the limit lasts.

        ``demand`` is by level and second, ``cost`` that of a usual request.
        """
        horizon = self.ends - now
        total = sum(demand)
        proven = total - DOUBT * math.sqrt(0.5 * total * cost / MEMORY)
        if horizon <= 0.0 or self.odd > ODD or proven * horizon <= left + self.inflow * horizon:
            return None
        step = min(max(STEP * self.size, 2.0 * cost), LARGEST_STEP * self.size)
        kept = Kept([0.0] * SHED_LEVELS, [0.0] * SHED_LEVELS)
        above = 0.0
        # What does not fit would be refused by the provider. But only an answer tells that it fits again after all.
        fits = cost * (1.0 if self.unit == REQUESTS else SOME) if now - self._last.now < NEWS else 0.0
        least = max(min(step, AMPLE * demand[SHED_LEVELS] * horizon), fits)
        for level in range(SHED_LEVELS - 1, -1, -1):
            above += demand[level + 1]
            lacks = max((above - self.inflow) * horizon, 0.0)
            most = (HALF - STEP * level) * self.size - step
            low = min(max(lacks + SPREAD * math.sqrt(lacks * cost), least), most)
            kept.low[level] = low
            kept.high[level] = least = low + min(step, AMPLE * above * horizon)
        return kept


class Quotas(Hold):
    """The limits of one route, whose R_base is ``base`` ohms. Safe in threads."""

    def __init__(self, base: float, now: float) -> None:
        super().__init__()
        self._lock = threading.RLock()
        self._base = base
        self._limits: dict[str, _Limit] = {}
        self._spent: Amounts = (0.0, 0.0, 0.0, 0.0)
        self._asked = [[0.0] * 4 for _ in range(LEVELS)]
        self._last = now

    def ask(self, level: int, cost: Cost, now: float) -> None:
        """Count a request that wants to pass."""
        with self._lock:
            passed = now - self._last
            if passed > 0.0:
                faded = math.exp(-passed / MEMORY)
                self._asked = [[amount * faded for amount in amounts] for amounts in self._asked]
                self._last = now
            for unit, amount in enumerate(_amounts(cost)):
                self._asked[level][unit] += amount

    def spend(self, cost: Cost, now: float) -> Mark:
        """Count a request that passes."""
        with self._lock:
            self._add(cost, 1.0)
            return Mark(now, self._spent)

    def mark(self, now: float) -> Mark:
        """What has been spent until now."""
        return Mark(now, self._spent)

    def refund(self, cost: Cost) -> None:
        """The provider has refused a request that passed here, and does not count it."""
        with self._lock:
            self._add(cost, -1.0)

    def _add(self, cost: Cost, sign: float) -> None:
        one, tokens, prompt, answer = _amounts(cost)
        spent = self._spent
        self._spent = (
            spent[0] + sign * one,
            spent[1] + sign * tokens,
            spent[2] + sign * prompt,
            spent[3] + sign * answer,
        )

    def learn(self, told: dict[str, Report], mark: Mark, succeeded: bool, now: float) -> None:
        """Take what the answer to the request of ``mark`` says of the limits."""
        with self._lock:
            for name, report in told.items():
                limit = self._limits.get(name)
                if limit is not None:
                    limit.learn(report, mark, succeeded)
                elif len(self._limits) < MOST_LIMITS:
                    self._limits[name] = _Limit(report, mark)
            self.press(now)

    def press(self, now: float) -> None:
        """Set the resistance of this time, the highest that a limit or a hold causes."""
        with self._lock:
            super().press(now)
            for limit in self._limits.values():
                left = limit.left(self._spent, now)
                kept = self._kept(limit, left, now)
                if kept is not None:
                    self.process.ohms = max(self.process.ohms, kept.volts(left) - self._base)

    def left(self, volts: float, now: float) -> float:
        """Seconds until a call of ``volts`` may pass again, as far as is known."""
        with self._lock:
            longest = super().left(volts, now)
            for limit in self._limits.values():
                left = limit.left(self._spent, now)
                kept = self._kept(limit, left, now)
                if kept is not None and volts <= kept.volts(left):
                    until_whole = limit.ends - now
                    wait = kept.lacking(volts, left) / limit.inflow if limit.inflow > 0.0 else until_whole
                    longest = max(longest, min(wait, until_whole))
        return longest

    def _kept(self, limit: _Limit, left: float, now: float) -> Kept | None:
        each = math.exp(-max(now - self._last, 0.0) / MEMORY) / MEMORY
        asked = [amounts[limit.unit] for amounts in self._asked]
        requests = sum(amounts[0] for amounts in self._asked)
        usual = sum(asked) / requests if requests > 0.0 else 0.0
        return limit.kept([amount * each for amount in asked], usual, left, now)


def _amounts(cost: Cost) -> Amounts:
    return 1.0, cost.total, cost.input, cost.output
