"""The real engine as a policy of the lab."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

from atrion.engine import Atrion, RouteSnapshot
from atrion.errors import FlowRejected
from atrion.physics.config import SLO, PhysicsConfig
from atrion.physics.voltage import Tier
from atrion.sensing.telemetry import Outcome
from atrion_lab.needs import Nested
from atrion_lab.policies.port import Call

__all__ = ["TIERS", "AtrionPolicy", "Clock"]

TIERS = tuple(Tier)
EVERYBODY = "everybody"


@final
class Clock:
    """The simulation's time as an engine's clocks, ``skew`` seconds ahead: as told, or as ``source`` says."""

    __slots__ = ("_skew", "_source", "now")

    def __init__(self, skew: float, source: Callable[[], float] | None) -> None:
        self._skew = skew
        self._source = source
        self.now: float = 0.0

    def monotonic(self) -> float:
        """Seconds of the engine's monotonic clock."""
        return 1000.0 + self._skew + (self.now if self._source is None else self._source())

    def wall(self) -> float:
        """Seconds since 1970 of the engine's wall clock."""
        return 1.7e9 - 1000.0 + self.monotonic()


@final
class AtrionPolicy:
    """Drives an :class:`~atrion.Atrion` on the simulation's time.

    Args:
        name: Its name in tables.
        config: Constants of the laws; the shipped ones by default.
        slo: What its routes promise.
        skew: Seconds this process' clocks are ahead.
        source: The simulation's time, for an engine that also pulses; without it, time is what calls say.
        costs: Whether it is told what calls cost.
        same: Everybody has the same place in a tier's band, so that a tier is shed as a whole.
        pools: Bottleneck of each route that shares one.
        options: Handed on to the engine: provider, node, gamma.
    """

    __slots__ = ("_clock", "_config", "_costs", "_same", "_weights", "engine", "name")

    def __init__(
        self,
        name: str = "atrion",
        *,
        config: PhysicsConfig | None = None,
        slo: SLO | None = None,
        skew: float = 0.0,
        source: Callable[[], float] | None = None,
        same: bool = False,
        costs: bool = True,
        pools: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        self.name: str = name
        self._same = same
        self._costs = costs
        self._clock = Clock(skew, source)
        self._config = config or PhysicsConfig()
        slo = slo or SLO()
        self._weights = slo.weights(self._config.gain)[:2]
        self.engine: Atrion = Atrion(config=self._config, slo=slo, clock=self._clock, **options)
        for route, pool in (pools or {}).items():
            self.engine.configure(route, pool=pool)

    def arrive(self, call: Call, now: float) -> bool:
        """Ask the engine."""
        self._clock.now = now
        key = EVERYBODY if self._same else call.key
        cost = call.cost if self._costs and call.cost > 0.0 else None
        flow = self.engine.flow(call.route, TIERS[call.tier], key=key, cost=cost)
        if type(call.request) is Nested:
            flow.nest_in(call.request.outer.token)
        decision = flow.decide()
        if decision.allowed:
            call.token = flow
            return True
        call.retry_after = decision.retry_after
        return False

    def start(self, call: Call, now: float) -> bool:
        """Work on it: the engine has no say in the queue."""
        return True

    def finish(self, call: Call, outcome: Outcome, now: float) -> None:
        """Report to the engine."""
        self._clock.now = now
        call.token.finish(outcome)

    def quality(self, call: Call, steps: int) -> float:
        """How good the answer to an admitted call may be, in (0, 1]."""
        quality: float = call.token.degrade(steps)
        return quality

    def choose(self, routes: tuple[str, ...], now: float) -> str:
        """The engine's choice among routes; the first one where all are broken."""
        self._clock.now = now
        try:
            return self.engine.select(routes)
        except FlowRejected:
            return routes[0]

    def sample(self, now: float) -> Mapping[str, Mapping[str, float]]:
        """Resistance and its parts in ohms, and the mode, of each route."""
        self._clock.now = now
        return {route: self._parts(state) for route, state in self.engine.snapshot().items()}

    def _parts(self, state: RouteSnapshot) -> dict[str, float]:
        """What resistance is made of; saturation, which a snapshot does not know apart, is what remains."""
        config = self._config
        latency, error = (
            weight * (max(pressure, 0.0) if config.directed else pressure)
            for weight, pressure in zip(
                self._weights, (state.pressure_latency, state.pressure_error), strict=True
            )
        )
        momentum = min(config.damping * state.momentum, config.momentum_cap)
        rest = state.resistance - config.base_resistance - latency - error - momentum - state.blended_scar
        return {
            "R": state.resistance,
            "latency": latency,
            "error": error,
            "saturation": max(rest, 0.0),
            "momentum": momentum,
            "scar": state.blended_scar,
            "in_flight": float(state.in_flight),
            "capacity": state.capacity,
            "service_time": state.service_time,
            "mode": float(state.mode),
        }
