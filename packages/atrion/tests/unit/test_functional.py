"""The functional style of v1: a state goes in, the next one comes out."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atrion import SLO, AdaptiveBreak, Mode, PhysicsConfig, Telemetry
from atrion.physics import PhysicsState, update_physics

numbers = st.none() | st.floats(allow_nan=True)


def described(state: PhysicsState) -> tuple[object, ...]:
    return (
        state.mode,
        state.ticks,
        state.latency,
        state.error,
        state.saturation,
        state.momentum,
        state.scar_tissue,
        state.resistance,
        state.break_point(),
    )


@given(st.lists(st.tuples(numbers, st.floats(0.0, 1.0), numbers), min_size=1, max_size=30))
def test_the_state_that_is_given_never_changes_and_the_result_is_finite(
    samples: list[tuple[float | None, float, float | None]],
) -> None:
    config = PhysicsConfig(adaptive=AdaptiveBreak(warmup_ticks=2))
    state: PhysicsState | None = None
    for latency, error_rate, saturation in samples:
        telemetry = Telemetry(latency, error_rate, saturation)
        before = None if state is None else described(state)
        following = update_physics(state, telemetry, 0.1, config, SLO(latency=0.2))
        again = update_physics(state, telemetry, 0.1, config, SLO(latency=0.2))
        assert described(following) == described(again)
        if state is not None:
            assert described(state) == before
        assert math.isfinite(following.resistance)
        state = following


def test_failing_answers_open_the_breaker_and_good_ones_close_it() -> None:
    state = None
    for _ in range(30):
        state = update_physics(state, Telemetry(error_rate=1.0), 0.1)
    assert state is not None
    assert state.mode is Mode.CIRCUIT_BREAKER
    for _ in range(100):
        state = update_physics(state, Telemetry(error_rate=0.0), 0.1)
    assert state.mode is Mode.OPERATIONAL


@pytest.mark.parametrize("latency", [None, math.nan, -1.0])
def test_what_says_nothing_is_neutral(latency: float | None) -> None:
    assert update_physics(None, Telemetry(latency=latency), 0.1, slo=SLO(latency=0.2)).latency == 0.0
