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


class Teacher:
    """Shows a capacity one window after the other."""

    def __init__(self) -> None:
        self.capacity = Capacity()

    def show(
        self,
        calls: int,
        latency: float,
        lights: int = 0,
        light: float = 0.0,
        *,
        in_flight: int = 0,
        calm: bool = False,
    ) -> None:
        """A tick of a tenth of a second: ``calls`` ended, of which ``lights`` had found a free worker."""
        window = Window()
        window.window_successes, window.window_latency = calls, calls * latency
        window.window_lights, window.window_light_latency = lights, lights * light
        window.in_flight = in_flight
        self.capacity.learn(window, 0.1, calm, 1.0)


def test_capacity_is_learnt_from_throughput_and_the_floor() -> None:
    teacher = Teacher()
    capacity = teacher.capacity
    assert capacity.limit > capacity.calls > 1.0
    for _ in range(300):
        teacher.show(1000, 0.05, 500, 0.05, calm=True)
    assert capacity.service_time == pytest.approx(0.05)
    assert capacity.calls == pytest.approx(500.0)  # what is in use
    assert capacity.limit > 1000.0  # no queue was seen, so there may be twice of it
    assert capacity.light_below() == pytest.approx(250.0)
    assert capacity.excess(int(capacity.limit) * 2) > 0.9
    for _ in range(100):
        teacher.show(800, 0.5)
    assert capacity.calls == pytest.approx(400.0, rel=0.01)  # with a queue: Little's law
    assert 400.0 < capacity.limit < 500.0


def test_a_queue_takes_the_headroom_at_once_and_calm_gives_it_back_slowly() -> None:
    teacher = Teacher()
    for _ in range(100):
        teacher.show(100, 0.05, 50, 0.05, calm=True)
    roomy = teacher.capacity.limit
    for _ in range(10):
        teacher.show(100, 0.5)
    tight = teacher.capacity.limit
    for _ in range(10):
        teacher.show(100, 0.05, 50, 0.05, calm=True)
    assert tight < 0.8 * roomy
    assert teacher.capacity.limit < 0.9 * roomy


def test_the_floor_rises_in_calm_only_and_never_above_the_ceiling() -> None:
    teacher = Teacher()
    for _ in range(50):
        teacher.show(20, 0.05, 20, 0.05, calm=True)
    for _ in range(50):
        teacher.show(20, 0.2, 20, 0.2)
    pressed = teacher.capacity.service_time
    for _ in range(300):
        teacher.show(20, 0.2, 20, 0.2, calm=True)
    assert pressed < 0.16
    assert pressed < teacher.capacity.service_time <= 0.2
    for _ in range(50):
        teacher.show(20, 0.02, 20, 0.02)
    assert teacher.capacity.service_time < 0.05  # down at once
    other = Teacher()
    other.show(5, 9.0, 5, 9.0, calm=True)
    assert other.capacity.service_time == 1.0


def test_a_route_that_began_in_an_overload_drains_until_it_has_seen_light_calls() -> None:
    teacher = Teacher()
    capacity = teacher.capacity
    teacher.show(10, 0.2, 2, 0.01, in_flight=60)  # two lucky calls, and a queue
    assert capacity.limit < 3.0
    assert capacity.excess(4) > 1.0  # whatever the tier
    teacher.show(10, 0.1, in_flight=2)
    assert capacity.limit < 3.0
    for _ in range(7):
        teacher.show(10, 0.06, 5, 0.05, in_flight=2)
    assert capacity.limit > 3.0
    assert capacity.service_time == pytest.approx(0.05, rel=0.15)


def test_a_calm_route_learns_from_all_that_meet_fewer_calls_than_usual() -> None:
    teacher = Teacher()
    teacher.show(2, 0.01, 2, 0.01, in_flight=10, calm=True)  # two lucky calls
    for _ in range(30):
        teacher.show(20, 0.05, in_flight=10, calm=True)
    assert teacher.capacity.light_below() == pytest.approx(10.0, rel=0.15)  # not by what the two were
    for _ in range(30):
        teacher.show(20, 0.05, 4, 0.05, in_flight=10, calm=True)
    assert teacher.capacity.service_time == pytest.approx(0.05, rel=0.1)


def test_draining_ends_even_where_nothing_is_learnt() -> None:
    teacher = Teacher()
    for _ in range(15):
        teacher.show(10, 0.5, in_flight=100)
    assert teacher.capacity.limit > 10.0


def test_calls_of_no_time_may_wait_for_what_a_scheduler_takes() -> None:
    teacher = Teacher()
    for _ in range(100):
        teacher.show(100, 0.0001, 50, 0.0001, calm=True)
    for _ in range(50):
        teacher.show(100, 0.005)  # a busy machine, which is no queue of this route's
    assert teacher.capacity.limit == pytest.approx(1000.0 * 0.02, rel=0.01)


def test_what_teaches_nothing_changes_nothing() -> None:
    teacher = Teacher()
    capacity = teacher.capacity
    first = capacity.calls
    teacher.show(0, 0.1)
    capacity.learn(Window(), 0.0, True, 1.0)
    assert (capacity.calls, capacity.service_time) == (first, 0.0)
    teacher.show(5, 0.0, calm=True)
    assert (capacity.calls, capacity.service_time) == (first, 0.0)
    teacher.show(5, 0.3, calm=True)  # no light call yet: the mean must do
    assert capacity.service_time == 0.3


def test_telemetry_shows_itself() -> None:
    assert repr(Telemetry(latency=0.5)) == "Telemetry(latency=0.5, error_rate=None, saturation=None)"
