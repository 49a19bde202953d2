from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atrion.control.saturation import INTEGRAL_TIME, Saturation

W, K = 92.0, 2.0
EXCESS = st.floats(-1.0, 1e6)


@given(EXCESS, EXCESS, st.floats(0.0, W))
def test_more_in_flight_is_never_less_resistance(one: float, other: float, level: float) -> None:
    saturation = Saturation()
    saturation.integral = level
    low, high = sorted((one, other))
    assert 0.0 <= saturation.ohms(low, W, K) <= saturation.ohms(high, W, K) <= level + W


@given(st.lists(st.tuples(EXCESS, st.floats(0.0, 1e6)), max_size=50))
def test_the_level_stays_between_nothing_and_the_weight(history: list[tuple[float, float]]) -> None:
    saturation = Saturation()
    for overload, dt in history:
        saturation.integrate(overload, W, K, dt, 0.05)
        assert 0.0 <= saturation.integral <= W


def test_below_the_limit_an_idle_route_is_free() -> None:
    assert Saturation().ohms(-0.3, W, K) == 0.0


def test_the_level_takes_over_what_the_quick_part_answers_and_gives_it_back() -> None:
    saturation = Saturation()
    before = saturation.ohms(0.6, W, K)
    for _ in range(int(INTEGRAL_TIME / 0.1)):
        saturation.integrate(0.6, W, K, 0.1, 0.05)
    assert saturation.integral == pytest.approx((1.0 - 1.0 / INTEGRAL_TIME / 10.0) * before, rel=0.1)
    for _ in range(100):
        saturation.integrate(-0.6, W, K, 0.1, 0.05)
    assert saturation.integral == 0.0


def test_small_swings_around_the_limit_change_little_and_large_ones_much() -> None:
    saturation = Saturation()
    saturation.integral = 40.0
    near = [saturation.ohms(x, W, K) for x in (-0.1, 0.0, 0.1)]
    assert max(near) - min(near) < 3.0
    assert saturation.ohms(0.8, W, K) - 40.0 > 50.0
    assert saturation.ohms(-0.5, W, K) < 5.0  # an idle worker: anybody may have it


def test_a_weight_of_zero_never_saturates() -> None:
    saturation = Saturation()
    saturation.integrate(5.0, 0.0, K, 1.0, 0.05)
    assert saturation.ohms(5.0, 0.0, K) == 0.0


def test_where_calls_are_slow_the_level_takes_its_time() -> None:
    quick, slow = Saturation(), Saturation()
    for _ in range(10):
        quick.integrate(0.6, W, K, 0.1, 0.05)
        slow.integrate(0.6, W, K, 0.1, 5.0)
    assert 0.0 < slow.integral < 0.2 * quick.integral
