"""What a route has learned, and how each tick updates it: pressure, physics, and the cluster's opinion. Compiled."""

from __future__ import annotations

import math
from typing import Final, final

from atrion._native import mypyc_attr
from atrion.control.decision import Reason
from atrion.control.pressure import Pressure
from atrion.control.settings import Settings
from atrion.physics.laws import MAX_RESISTANCE, positive_norm
from atrion.physics.state import PhysicsState
from atrion.sensing.samples import Samples
from atrion.sensing.telemetry import Telemetry
from atrion.sensing.window import Window
from atrion.state.blending import EVIDENCE_SECONDS, JUMP, LIVE_EVIDENCE, blend
from atrion.state.port import PhysicsVector

__all__ = ["RouteModel"]

RESISTANCE: Final = Reason.RESISTANCE
SATURATED: Final = Reason.SATURATED

MAX_SAMPLE_AGE: Final = 1.0
"""Most seconds that one sample stands for: scars count time and not calls, also where calls are rare."""


@mypyc_attr(acyclic=True)
@final
class RouteModel:
    """Pressure, physics state and cluster opinion of one route. Times in seconds, scars in ohms.

    Attributes:
        state: Momentum, scar tissue, resistance and mode.
        pressure: The three normalised pressures.
        scarred_by: The reason that left the scar tissue.
        last_sample: When a call or sample was last seen.
        observations: Calls and samples seen lately, decayed: the weight of this node's opinion.
        cluster_scar: Scar tissue that the other nodes report.
        cluster_evidence: Observations behind it.
    """

    __slots__ = (
        "_samples",
        "cluster_evidence",
        "cluster_scar",
        "last_sample",
        "observations",
        "pressure",
        "scarred_by",
        "state",
    )

    def __init__(self, settings: Settings, now: float) -> None:
        self.observations: float = 0.0
        self.cluster_scar: float = 0.0
        self.cluster_evidence: float = 0.0
        self._samples: Samples | None = None  # most routes measure their own calls
        self.reset(settings, now)

    def reset(self, settings: Settings, now: float) -> None:
        """Forget what was learned here; the cluster's opinion stays."""
        self.state: PhysicsState = PhysicsState(settings.constants, settings.threshold())
        self.pressure: Pressure = Pressure()
        self.scarred_by: Reason = RESISTANCE
        self.last_sample: float = now
        if self._samples is not None:
            self._samples.forget()

    # --- ticks ---------------------------------------------------------------------------------------------

    def add_sample(self, telemetry: Telemetry) -> None:
        """Keep a caller's own sample until the next tick."""
        if self._samples is None:
            self._samples = Samples()
        self._samples.add(telemetry)

    def has_samples(self) -> bool:
        """Whether callers gave samples since the last tick."""
        return self._samples is not None and self._samples.count() > 0

    def rejected_samples(self) -> int:
        """Values of samples that were dropped."""
        return 0 if self._samples is None else self._samples.rejected

    def read_samples(self, settings: Settings, dt: float, shed: int) -> int:
        """Take the pressure from the callers' samples; returns how many there were."""
        samples = self._samples
        return 0 if samples is None else self.pressure.read_samples(samples, settings, dt, shed)

    def step(self, window: Window, settings: Settings, now: float, dt: float, samples: int) -> bool:
        """Advance the law by ``dt`` seconds with the pressure just read from so many ``samples``.

        Returns whether the scar tissue rose so much that other nodes should know at once.
        """
        constants = settings.constants
        kept = math.exp(-dt / EVIDENCE_SECONDS)
        self.observations = self.observations * kept + samples
        self.cluster_evidence *= kept
        self.cluster_scar *= math.exp(-constants.decay_rate * dt)
        trauma = 0.0
        if samples > 0:
            trauma = 1.0
            if constants.tick > 0.0:
                trauma = max(min(now - self.last_sample, MAX_SAMPLE_AGE) / constants.tick, 1.0)
            self.last_sample = now
        state = self.state
        pressure = self.pressure
        scar = state.scar_tissue
        state.advance(pressure.latency, pressure.error, pressure.saturation, dt, trauma, pressure.stall_age)
        if (
            trauma > 0.0
            and positive_norm(pressure.latency, pressure.error, pressure.saturation) > constants.critical
        ):
            self.scarred_by = pressure.worst(constants)[0]
        if constants.directed and pressure.error <= 0.0 and pressure.latency <= 0.0:
            state.heal(window.window_successes)
        return state.scar_tissue - scar > JUMP

    def wound(self, ohms: float) -> None:
        """Add ``ohms`` of scar tissue for work that used more than it was admitted for."""
        self.state.wound(ohms)
        self.scarred_by = SATURATED

    # --- the cluster ---------------------------------------------------------------------------------------

    def blended_scar(self, settings: Settings) -> float:
        """``γ·S_cluster + (1 − γ)·S_local`` in ohms; the local scar alone without live peers (RFC-0007 §5)."""
        own = self.state.scar_tissue
        if not settings.shared or self.cluster_evidence < LIVE_EVIDENCE:
            return own
        return blend(own, self.cluster_scar, settings.gamma)

    def tick_resistance(self, settings: Settings) -> float:
        """Resistance in ohms before live saturation is added: the law's, with the cluster's scar blended in."""
        pull = self.blended_scar(settings) - self.state.scar_tissue
        ohms = min(max(self.state.resistance + pull, settings.constants.base), MAX_RESISTANCE)
        return max(ohms, settings.floor)

    def set_cluster_scar(self, scar: float, evidence: float, settings: Settings) -> None:
        """Take the other nodes' opinion: their scar tissue, capped like this node's own, and their evidence."""
        self.cluster_scar = min(scar, settings.constants.scar_cap)
        self.cluster_evidence = evidence

    def vector(self, at: float) -> PhysicsVector:
        """This node's own vector, as of ``at``."""
        state = self.state
        return PhysicsVector(state.resistance, state.momentum, state.scar_tissue, at)

    def restore(self, vector: PhysicsVector, age: float, decay_rate: float) -> bool:
        """Start with a persisted scar, ``age`` seconds old; False if implausible, as stores are untrusted."""
        if not (vector.is_sane() and age >= 0.0):
            return False
        self.state.warm(vector.scar_tissue * math.exp(-decay_rate * age))
        self.scarred_by = RESISTANCE
        return True
