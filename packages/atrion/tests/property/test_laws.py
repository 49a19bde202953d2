"""What must hold of the laws for any numbers at all."""

from __future__ import annotations

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from atrion import Atrion, Mode, PhysicsConfig, PhysicsVector, Telemetry, Tier
from atrion.physics import (
    MAX_RESISTANCE,
    SLO,
    AdaptiveThreshold,
    Constants,
    PhysicsState,
    momentum,
    norm,
    normalize,
    positive_norm,
    resistance,
    route_probabilities,
    scar,
    seconds_until_scar,
    staleness,
    unit_hash,
    voltage,
)
from atrion.testing import VirtualClock

anything = st.floats(allow_nan=True, allow_infinity=True)
pressure = st.floats(-1.0, 1.0)
triple = st.tuples(pressure, pressure, pressure)
ohms = st.floats(0.0, 1e6)
PRESETS = (PhysicsConfig(), PhysicsConfig.reference())


def constants(config: PhysicsConfig) -> Constants:
    return Constants(config, SLO().weights(config.gain))


@given(st.floats(0.001, 1e5), anything, anything, anything, anything)
def test_resistance_is_finite_and_never_below_the_base(
    base: float, driving: float, kinetic: float, tissue: float, stale: float
) -> None:
    got = resistance(base, driving, kinetic, tissue, stale)
    assert base <= got <= MAX_RESISTANCE


@given(anything, anything, anything)
def test_pressure_is_bounded(raw: float, baseline: float, steepness: float) -> None:
    assert -1.0 <= normalize(raw, baseline, steepness) <= 1.0


@given(st.floats(1e-6, 1e6), st.floats(1e-3, 100.0))
def test_infinite_is_the_worst_and_the_baseline_is_neutral(baseline: float, steepness: float) -> None:
    assert normalize(math.inf, baseline, steepness) == 1.0
    assert normalize(baseline, baseline, steepness) == 0.0
    assert normalize(math.nan, baseline, steepness) == 0.0
    assert normalize(1.0, -baseline, steepness) == 0.0


@given(st.floats(0.0, 1e6), st.floats(0.0, 1e6), st.floats(1e-3, 1e3), st.floats(1e-3, 100.0))
def test_pressure_is_monotone(a: float, b: float, baseline: float, steepness: float) -> None:
    low, high = sorted((a, b))
    assert normalize(low, baseline, steepness) <= normalize(high, baseline, steepness)


@given(triple, anything)
def test_momentum_of_equal_pressures_is_zero(vector: tuple[float, float, float], dt: float) -> None:
    assert momentum(vector, vector, dt) == 0.0


@given(triple, triple, st.floats(allow_nan=False))
def test_momentum_is_finite_and_not_negative(
    a: tuple[float, float, float], b: tuple[float, float, float], dt: float
) -> None:
    assert 0.0 <= momentum(a, b, dt) < math.inf


@given(st.floats(1e-3, 1e6), st.floats(1e-3, 10.0), st.floats(0.0, 100.0), st.floats(1e-3, 60.0))
def test_scar_decays_without_trauma(tissue: float, rate: float, factor: float, dt: float) -> None:
    assert 0.0 <= scar(tissue, False, rate, factor, dt) < tissue
    assert scar(tissue, True, rate, factor, dt) >= factor


@given(st.floats(0.1, 1e6), st.floats(0.1, 1e6), st.floats(1e-3, 10.0))
def test_the_way_back_is_the_decay_law(tissue: float, target: float, rate: float) -> None:
    wait = seconds_until_scar(tissue, target, rate)
    assert scar(tissue, False, rate, 0.0, wait) <= target * (1.0 + 1e-6)


def test_what_never_decays_is_never_there() -> None:
    assert seconds_until_scar(5.0, 0.0, 1.0) == math.inf
    assert seconds_until_scar(5.0, 1.0, 0.0) == math.inf
    assert seconds_until_scar(1.0, 5.0, 1.0) == 0.0


@given(triple)
def test_relief_is_no_trauma(vector: tuple[float, float, float]) -> None:
    assert positive_norm(*vector) <= norm(*vector)
    assert positive_norm(*(-abs(p) for p in vector)) == 0.0


@given(st.floats(-1e6, 1e6), st.floats(0.0, 100.0), st.floats(0.0, 100.0))
def test_staleness_is_bounded(age: float, rate: float, cap: float) -> None:
    assert 0.0 <= staleness(age, rate, cap) <= cap


@given(st.lists(anything, max_size=30), st.floats(0.0, 1e300))
def test_softmax_is_finite_and_sums_to_one(resistances: list[float], beta: float) -> None:
    shares = route_probabilities(resistances, beta)
    assert len(shares) == len(resistances)
    assert all(0.0 <= share <= 1.0 for share in shares)
    if shares:
        assert math.isclose(math.fsum(shares), 1.0, rel_tol=1e-9)


@given(st.lists(ohms, min_size=2, max_size=10), st.floats(0.0, 10.0))
def test_softmax_prefers_less_resistance(resistances: list[float], beta: float) -> None:
    pairs = sorted(zip(resistances, route_probabilities(resistances, beta), strict=True))
    assert all(a[1] >= b[1] or a[0] == b[0] for a, b in itertools.pairwise(pairs))


LEGAL = {
    (Mode.BOOTSTRAP, Mode.BOOTSTRAP),
    (Mode.BOOTSTRAP, Mode.OPERATIONAL),
    (Mode.OPERATIONAL, Mode.OPERATIONAL),
    (Mode.OPERATIONAL, Mode.CIRCUIT_BREAKER),
    (Mode.CIRCUIT_BREAKER, Mode.CIRCUIT_BREAKER),
    (Mode.CIRCUIT_BREAKER, Mode.OPERATIONAL),
}


@given(
    st.sampled_from(PRESETS),
    st.booleans(),
    st.lists(
        st.tuples(
            anything, anything, anything, st.floats(0.0, 1e6), st.floats(0.0, 100.0), st.floats(0.0, 1e9)
        ),
        max_size=40,
    ),
)
def test_any_history_keeps_bounds_and_legal_modes(
    config: PhysicsConfig, adaptive: bool, steps: list[tuple[float, float, float, float, float, float]]
) -> None:
    k = constants(config)
    state = PhysicsState(k, AdaptiveThreshold(k.break_point, warmup_ticks=3) if adaptive else None)
    before = state.mode
    for latency, error, saturation, dt, trauma, stale in steps:
        state.advance(latency, error, saturation, dt, trauma, stale)
        assert (before, state.mode) in LEGAL
        before = state.mode
        assert k.base <= state.resistance <= MAX_RESISTANCE
        assert 0.0 <= state.scar_tissue < math.inf
        assert state.momentum >= 0.0


@given(st.sampled_from(PRESETS), st.lists(triple, min_size=15, max_size=40))
def test_bootstrap_lasts_its_ticks(config: PhysicsConfig, steps: list[tuple[float, float, float]]) -> None:
    state = PhysicsState(constants(config))
    for count, vector in enumerate(steps, 1):
        if count < config.bootstrap_ticks:
            assert state.resistance == 1.2 * config.base_resistance
            assert state.mode is Mode.BOOTSTRAP
        state.advance(*vector, 0.1)
    assert state.mode is not Mode.BOOTSTRAP


@given(st.sampled_from(PRESETS), st.lists(triple, min_size=12, max_size=20), st.lists(triple, min_size=1))
def test_silence_is_no_trauma(
    config: PhysicsConfig, first: list[tuple[float, float, float]], later: list[tuple[float, float, float]]
) -> None:
    state = PhysicsState(constants(config))
    for vector in first:
        state.advance(*vector, 0.1)
    for vector in later:
        before = state.scar_tissue
        state.advance(*vector, 0.1, 0.0)
        assert state.scar_tissue <= before


@given(st.floats(0.0, 150.0), st.floats(0.0, 100.0), st.floats(0.0, 100.0))
def test_flow_is_monotone_in_voltage_and_in_resistance(tissue: float, a: float, b: float) -> None:
    def flows(volts: float, scarred: float) -> bool:
        engine = Atrion(clock=VirtualClock())
        engine.restore("r", PhysicsVector(0.0, 0.0, scarred, 0.0))
        return bool(engine.route("r", Telemetry(), volts))

    low, high = sorted((a, b))
    assert flows(low, tissue) <= flows(high, tissue)
    assert flows(low, tissue + 10.0) <= flows(low, tissue)


sample = st.one_of(st.none(), anything)
share = sample.filter(lambda value: value is None or not value > 1.0)  # more is refused in words


@given(st.lists(st.tuples(sample, share, sample, st.floats(-4000.0, 4000.0)), max_size=40))
def test_no_telemetry_breaks_an_engine(
    steps: list[tuple[float | None, float | None, float | None, float]],
) -> None:
    clock = VirtualClock(10_000.0)
    engine = Atrion(clock=clock)
    for latency, error_rate, saturation, seconds in steps:
        clock.advance(seconds)
        seen = engine.update_physics("r", Telemetry(latency, error_rate, saturation))
        assert 10.0 <= seen.resistance < 2.0 * MAX_RESISTANCE
        assert all(
            -1.0 <= p <= 1.0 for p in (seen.pressure_latency, seen.pressure_error, seen.pressure_saturation)
        )
        decision = engine.decide("r")
        assert decision.allowed == (decision.retry_after == 0.0)
        assert decision.allowed or 0.05 <= decision.retry_after <= 60.0


@given(st.lists(anything, max_size=100))
def test_the_adaptive_point_stays_within_its_bounds(observed: list[float]) -> None:
    threshold = AdaptiveThreshold(100.0, warmup_ticks=1)
    for value in observed:
        threshold.observe(value if abs(value) < 1e6 else math.nan)
    assert 30.0 <= threshold.break_point() <= 500.0
    assert threshold.recovery_point() >= 15.0


@given(st.text(), st.floats(0.0, 1.0, exclude_max=True))
def test_a_place_is_in_the_band_and_stable(key: str, phase: float) -> None:
    unit = unit_hash(key, phase)
    assert 0.0 <= unit < 1.0
    assert unit == unit_hash(key, phase)
    for tier in Tier:
        assert voltage(tier, 0.0) <= voltage(tier, unit) <= voltage(tier, 1.0)  # the last place may round up


def test_laws_survive_a_step_that_is_no_number() -> None:
    assert momentum((0.0, 0.0, 0.0), (0.0, 0.0, 1.0), math.nan) >= 0.0
    assert staleness(math.inf, 0.0, 50.0) == 0.0
