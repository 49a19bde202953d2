"""An ablation: the real engine, with saturation computed once a tick instead of at every decision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from atrion.engine import Atrion
from atrion.sensing.telemetry import Outcome, Telemetry
from atrion_lab.policies.atrion import TIERS, Clock
from atrion_lab.policies.port import Call

__all__ = ["SampledPolicy"]

TICK = 0.1
"""Seconds between two samples, as in the engine."""
CALLS = 16.0
"""Calls in flight that count as full: the workers of the lab's usual server, which this ablation is told."""


class _Tally:
    """One route's calls since the last sample."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.sampled = 0.0
        self.successes = 0
        self.failures = 0
        self.latency = 0.0

    def take(self, now: float) -> Telemetry:
        """The sample, and a new one begins."""
        ended = self.successes + self.failures
        sample = Telemetry(
            latency=self.latency / self.successes if self.successes else None,
            error_rate=self.failures / ended if ended else None,
            saturation=self.in_flight / CALLS,
        )
        self.sampled = now
        self.successes = self.failures = 0
        self.latency = 0.0
        return sample


@final
class SampledPolicy:
    """Brings its own telemetry by ``update_physics`` and asks by ``decide``; options go to the engine.

    ``pools`` mean nothing to it: no call is in flight in its engine.
    """

    def __init__(
        self,
        name: str = "atrion-sampled",
        skew: float = 0.0,
        source: Any = None,
        pools: object = None,
        **options: Any,
    ) -> None:
        self.name = name
        self._clock = Clock(skew, source)
        self.engine: Atrion = Atrion(clock=self._clock, **options)
        self._tallies: dict[str, _Tally] = {}

    def arrive(self, call: Call, now: float) -> bool:
        """Sample when a tick has passed, then ask."""
        self._clock.now = now
        tally = self._tallies.setdefault(call.route, _Tally())
        if now - tally.sampled >= TICK:
            self.engine.update_physics(call.route, tally.take(now))
        decision = self.engine.decide(call.route, TIERS[call.tier], key=call.key)
        call.retry_after = decision.retry_after
        tally.in_flight += decision.allowed
        return decision.allowed

    def start(self, call: Call, now: float) -> bool:
        """Work on it."""
        return True

    def finish(self, call: Call, outcome: Outcome, now: float) -> None:
        """Count it for the next sample."""
        tally = self._tallies[call.route]
        tally.in_flight -= 1
        if outcome is Outcome.SUCCESS:
            tally.successes += 1
            tally.latency += now - call.arrived
        elif outcome is Outcome.FAILURE:
            tally.failures += 1

    def sample(self, now: float) -> Mapping[str, Mapping[str, float]]:
        """Resistance in ohms, and the mode, of each route."""
        return {
            route: {"R": state.resistance, "scar": state.blended_scar, "mode": float(state.mode)}
            for route, state in self.engine.snapshot().items()
        }
