"""The laws, as pure functions of floats (sources: RFC-0001, RFC-0002, RFC-0004 and RFC-0007).

Units are SI: seconds, ohms, volts. No function here reads a clock, keeps state or raises.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

__all__ = [
    "MAX_RESISTANCE",
    "NOISE",
    "drive",
    "momentum",
    "norm",
    "normalize",
    "positive_norm",
    "resistance",
    "route_probabilities",
    "scar",
    "seconds_until_scar",
    "staleness",
    "weight",
]

MAX_RESISTANCE: Final = 1e6
"""Upper bound of any resistance, in ohms."""
NOISE: Final = 1e-9
"""Magnitudes below this count as zero."""
MIN_DT: Final = 1e-6
"""Least time step, in seconds, also if the clock stands still or runs backwards."""


def normalize(raw: float, baseline: float, steepness: float) -> float:
    """Normalised pressure ``tanh(k·(x − baseline)/baseline)`` in [−1, 1] (RFC-0001).

    ``raw`` and ``baseline`` share a unit; ``steepness`` k has none. A baseline ≤ 0 or a NaN gives 0;
    ``raw`` = +∞ gives 1.
    """
    if raw != raw or baseline != baseline or steepness != steepness or baseline <= 0.0:
        return 0.0
    if raw == math.inf:
        return 1.0
    relative = (raw - baseline) / baseline
    if relative - relative != 0.0:  # the baseline is too small to divide by
        return 0.0
    exponent = steepness * relative
    return math.tanh(exponent) if exponent == exponent else 0.0


def norm(latency: float, error: float, saturation: float) -> float:
    """Euclidean length of a pressure vector."""
    return math.sqrt(latency * latency + error * error + saturation * saturation)


def positive_norm(latency: float, error: float, saturation: float) -> float:
    """Length of the positive parts ``‖P⁺‖``: negative pressure is not trauma."""
    return norm(max(latency, 0.0), max(error, 0.0), max(saturation, 0.0))


def drive(weights: tuple[float, float, float], pressure: tuple[float, float, float]) -> float:
    """The driving term ``P·W``, in the unit of the weights (ohms)."""
    return weights[0] * pressure[0] + weights[1] * pressure[1] + weights[2] * pressure[2]


def momentum(current: tuple[float, float, float], previous: tuple[float, float, float], dt: float) -> float:
    """``‖M‖ = ‖P(t) − P(t−Δt)‖ / Δt``, per second, ≥ 0 (RFC-0001)."""
    change = norm(current[0] - previous[0], current[1] - previous[1], current[2] - previous[2])
    return change / (dt if dt >= MIN_DT else MIN_DT) if change >= NOISE else 0.0


def scar(previous: float, trauma: bool, decay_rate: float, scar_factor: float, dt: float) -> float:
    """``S·e^(−λΔt) + σ·1[trauma]`` in ohms; λ per second, σ in ohms, Δt in seconds (RFC-0001)."""
    left = previous * math.exp(-decay_rate * dt)
    if trauma:
        left += scar_factor
    return left


def staleness(age: float, rate: float, cap: float) -> float:
    """``U = κ·age`` in ohms, bounded by ``cap``; age in seconds, κ in ohms per second."""
    stale = max(age, 0.0) * rate
    return min(stale, cap) if stale == stale else 0.0


def resistance(base: float, driving: float, kinetic: float, scar_tissue: float, stale: float) -> float:
    """``R = max(R_base, R_base + P·W + μ‖M‖ + S + U)`` in ohms, in [R_base, 10⁶], never NaN (RFC-0001)."""
    total = base + driving + kinetic + scar_tissue + stale
    if total != total:
        return MAX_RESISTANCE
    return min(max(base, total), max(base, MAX_RESISTANCE))


def weight(criticality: float, gain: float = 1.0) -> float:
    """``gain · log(1 + c)``: the weight of a component whose criticality is c in [0, 10] (RFC-0002)."""
    return gain * math.log(1.0 + criticality)


def seconds_until_scar(now: float, target: float, decay_rate: float) -> float:
    """Seconds until scar tissue of ``now`` ohms has decayed to ``target`` ohms; ∞ if it never does."""
    if now <= target:
        return 0.0
    if target <= 0.0 or decay_rate <= 0.0:
        return math.inf
    return math.log(now / target) / decay_rate


def route_probabilities(resistances: Sequence[float], beta: float) -> list[float]:
    """Softmax ``e^(−βR_j) / Σ e^(−βR_k)`` over routes (RFC-0002); β per ohm; sums to 1, finite for any R.

    The least resistance is subtracted first; NaN counts as the highest resistance.
    """
    bounded = [MAX_RESISTANCE if r != r else min(max(r, 0.0), MAX_RESISTANCE) for r in resistances]
    if not bounded:
        return []
    least = min(bounded)
    shares = [math.exp(-beta * (r - least)) for r in bounded]
    total = math.fsum(shares)
    return [share / total for share in shares]
