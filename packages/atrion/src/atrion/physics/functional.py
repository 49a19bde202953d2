"""The style of v1: a function from a route's state and telemetry to its next state."""

from __future__ import annotations

from typing import Any

from atrion.physics.adaptive import threshold_of
from atrion.physics.config import SLO, PhysicsConfig
from atrion.physics.laws import normalize
from atrion.physics.state import Constants, PhysicsState

__all__ = ["update_physics"]


def update_physics(
    state: PhysicsState | None,
    telemetry: Any,
    dt: float,
    config: PhysicsConfig | None = None,
    slo: SLO | None = None,
) -> PhysicsState:
    """The state of a route after ``dt`` seconds; the given one is not changed.

    :meth:`atrion.Atrion.update_physics` does the same and keeps the state and the time of each route;
    ``atrion migrate v1`` rewrites programs to it.

    Args:
        state: The state before, or None for a route that begins.
        telemetry: An :class:`atrion.Telemetry`, or anything with its attributes ``latency`` (seconds), ``error_rate``
            and ``saturation`` (shares); what is None, NaN or negative is neutral.
        dt: Seconds since the state before, ≥ 0.
        config: Constants of the laws.
        slo: What is promised: the latency and error rate at which pressure turns positive, and the weights.
    """
    config = config or PhysicsConfig()
    slo = slo or SLO()
    constants = Constants(config, slo.weights(config.gain))
    following = PhysicsState(constants, threshold_of(config)) if state is None else state.copy(constants)
    k = constants.steepness
    following.advance(
        _pressure(telemetry.latency, slo.latency, k),
        _pressure(telemetry.error_rate, slo.error_rate, k),
        _pressure(telemetry.saturation, 1.0, k),
        dt,
    )
    return following


def _pressure(value: Any, baseline: float | None, steepness: float) -> float:
    if value is None or baseline is None or not value >= 0.0:
        return 0.0
    return normalize(float(value), baseline, steepness)
