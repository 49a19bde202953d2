from __future__ import annotations

import pytest

from atrion import Outcome, Telemetry
from atrion.sensing import Capacity, Window


def test_a_window_counts_exactly_and_only_its_own() -> None:
    window = Window()
    for outcome in Outcome:
        for _ in range(int(outcome) + 1):
            window.begin(10.0)
            window.end(10.0, 10.5, int(outcome), True)
    window.roll()
    assert (window.window_successes, window.window_failures, window.window_drops) == (1, 2, 4)
    assert window.window_lights == 1
    assert window.window_latency == pytest.approx(0.5)
    assert window.window_light_latency == pytest.approx(0.5)
    assert window.window_drop_age == pytest.approx(2.0)
    assert window.in_flight == 0
    window.begin(11.0)
    window.end(11.0, 11.25, 0, False)
    window.roll()
    assert (window.window_successes, window.window_failures, window.window_drops) == (1, 0, 0)
    assert window.window_lights == 0
    assert window.window_latency == pytest.approx(0.25)
    window.roll()
    assert (window.window_successes, window.window_latency) == (0, 0.0)


def test_a_call_that_ends_before_it_began_took_no_time() -> None:
    window = Window()
    window.begin(10.0)
    window.end(10.0, 4.0, 0, False)
    window.end(10.0, 4.0, 0, False)
    window.roll()
    assert window.window_latency == 0.0
    assert window.in_flight == 0


def test_what_hangs_ages() -> None:
    window = Window()
    assert window.hang(100.0) == 0.0
    window.begin(100.0)
    assert window.hang(105.0) == 5.0
    window.begin(105.0)
    assert window.hang(105.0) == 5.0  # nothing has ended since
    window.end(105.0, 106.0, 0, True)
    assert window.hang(106.0) == 6.0  # the one left is six seconds old
    assert window.hang(50.0) == 0.0
    window.end(100.0, 107.0, 0, True)
    assert window.hang(200.0) == 0.0
    window.begin(300.0)
    assert window.hang(301.0) == 1.0


def test_capacity_is_learnt_from_throughput_and_the_floor() -> None:
    capacity = Capacity()
    assert capacity.limit > capacity.calls > 1.0
    for _ in range(300):
        capacity.learn(1000, 0.05, 500, 0.05, 0.1, True, 1.0)
    assert capacity.service_time == pytest.approx(0.05)
    assert capacity.calls == pytest.approx(500.0)  # what is in use
    assert capacity.limit > 1000.0  # no queue was seen, so there may be twice of it
    assert capacity.light_below() == pytest.approx(250.0)
    assert capacity.excess(int(capacity.limit) * 2) > 0.9
    for _ in range(100):
        capacity.learn(800, 0.5, 0, 0.0, 0.1, False, 1.0)
    assert capacity.calls == pytest.approx(400.0, rel=0.01)  # with a queue: Little's law
    assert 400.0 < capacity.limit < 500.0


def test_a_queue_takes_the_headroom_at_once_and_calm_gives_it_back_slowly() -> None:
    capacity = Capacity()
    for _ in range(100):
        capacity.learn(100, 0.05, 50, 0.05, 0.1, True, 1.0)
    roomy = capacity.limit
    for _ in range(10):
        capacity.learn(100, 0.5, 0, 0.0, 0.1, False, 1.0)
    tight = capacity.limit
    for _ in range(10):
        capacity.learn(100, 0.05, 50, 0.05, 0.1, True, 1.0)
    assert tight < 0.8 * roomy
    assert capacity.limit < 0.9 * roomy


def test_the_floor_rises_in_calm_only_and_never_above_the_ceiling() -> None:
    capacity = Capacity()
    for _ in range(50):
        capacity.learn(20, 0.05, 20, 0.05, 0.1, True, 1.0)
    for _ in range(50):
        capacity.learn(20, 0.2, 20, 0.2, 0.1, False, 1.0)
    pressed = capacity.service_time
    for _ in range(300):
        capacity.learn(20, 0.2, 20, 0.2, 0.1, True, 1.0)
    assert pressed < 0.16
    assert pressed < capacity.service_time <= 0.2
    for _ in range(50):
        capacity.learn(20, 0.02, 20, 0.02, 0.1, False, 1.0)
    assert capacity.service_time < 0.05  # down at once
    other = Capacity()
    other.learn(5, 9.0, 5, 9.0, 0.1, True, 1.0)
    assert other.service_time == 1.0


def test_what_teaches_nothing_changes_nothing() -> None:
    capacity = Capacity()
    first = capacity.calls
    capacity.learn(0, 0.1, 0, 0.0, 0.1, True, 1.0)
    capacity.learn(5, 0.1, 5, 0.1, 0.0, True, 1.0)
    assert (capacity.calls, capacity.service_time) == (first, 0.0)
    capacity.learn(5, 0.0, 0, 0.0, 0.1, True, 1.0)
    assert (capacity.calls, capacity.service_time) == (first, 0.0)
    capacity.learn(5, 0.3, 0, 0.0, 0.1, True, 1.0)  # no light call yet: the mean must do
    assert capacity.service_time == 0.3


def test_telemetry_shows_itself() -> None:
    assert repr(Telemetry(latency=0.5)) == "Telemetry(latency=0.5, error_rate=None, saturation=None)"
