from __future__ import annotations

import heapq
import math
import random

import pytest

from atrion import Outcome, Telemetry
from atrion.sensing import Capacity, Window
from atrion.sensing.contrast import Contrast
from atrion.sensing.evidence import Lateness, Share, lower_bound
from atrion.sensing.queue import Queue
from atrion.sensing.trend import Trend


def test_a_window_counts_exactly_and_only_its_own() -> None:
    window = Window()
    for outcome in Outcome:
        for _ in range(int(outcome) + 1):
            window.begin()
            window.end(int(outcome), 0.5)
    window.roll()
    assert (window.window_successes, window.window_failures, window.window_drops) == (1, 2, 4)
    assert window.window_answers == 6  # a fault of the client's is an answer too
    assert window.window_latency == pytest.approx(0.5)
    assert window.in_flight == 0
    window.begin()
    window.end(0, 0.25)
    window.roll()
    assert (window.window_successes, window.window_failures, window.window_drops) == (1, 0, 0)
    assert window.window_latency == pytest.approx(0.25)
    window.roll()
    assert (window.window_successes, window.window_latency) == (0, 0.0)


def test_what_ends_twice_is_in_flight_once() -> None:
    window = Window()
    window.begin()
    window.end(0, 0.1)
    window.end(0, 0.1)
    assert window.in_flight == 0


class Service:
    """A first-in-first-out service of ``workers`` before which a capacity alone decides, on virtual time."""

    def __init__(self, workers: int, mean: float, seed: int = 1) -> None:
        self.capacity = Capacity()
        self.contrast: Contrast | None = None
        self.window = Window()
        self.random = random.Random(seed)
        self.free = [0.0] * workers
        self.mean = mean
        self.now = 1000.0
        self.running: list[tuple[float, float, int]] = []
        self.asked = self.shed = 0
        self._tick = self.now
        self._shed = 0

    def _until(self, when: float) -> None:
        while True:
            end = self.running[0][0] if self.running else when
            due = min(end, self._tick + 0.1)
            if due >= when:
                break
            self.now = due
            if due == end and self.running:
                _, began, met = heapq.heappop(self.running)
                self.contrast = self.contrast or self.capacity.claim()
                self.capacity.end(self.window.in_flight, due, due - began, 0, met, 2, self.contrast)
                self.window.end(0, due - began)
            else:
                self._tick = due
                self.window.roll()
                self.capacity.learn(self.window, self.window.in_flight, 0.1, due, self._shed, 0.0)
                self._shed = 0
        self.now = when

    def run(self, seconds: float, rate: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self._until(self.now + self.random.expovariate(rate))
            self.asked += 1
            if self.window.in_flight >= self.capacity.limit:
                self.shed += 1
                self._shed += 1
                continue
            start = max(heapq.heappop(self.free), self.now)
            done = start + self.random.lognormvariate(-0.125, 0.5) * self.mean
            heapq.heappush(self.free, done)
            met = self.capacity.begin(self.window.in_flight, self.now)
            self.window.begin()
            heapq.heappush(self.running, (done, self.now, met))


@pytest.mark.parametrize("workers, mean", [(4, 0.05), (16, 0.05), (16, 2.0), (64, 0.2)])
def test_an_overload_teaches_what_the_workers_carry(workers: int, mean: float) -> None:
    service = Service(workers, mean)
    service.run(400.0 * mean, 2.0 * workers / mean)
    seen = []
    for _ in range(40):
        service.run(5.0 * mean, 2.0 * workers / mean)
        seen.append(service.capacity.calls)
    assert sum(seen) / len(seen) == pytest.approx(workers, rel=0.35)


@pytest.mark.parametrize(
    "workers, load, slower", [(16, 0.8, 3.0), (64, 0.5, 3.0), (256, 0.3, 3.0), (256, 0.8, 2.0)]
)
def test_a_service_that_becomes_slower_and_still_suffices_is_hardly_refused_anybody(
    workers: int, load: float, slower: float
) -> None:
    rate = load * workers / (0.05 * slower)
    asked = shed = 0
    for seed in range(1, 5):
        service = Service(workers, 0.05, seed)
        service.run(max(2.0 * slower, 4000.0 / rate), rate)
        assert service.shed == 0
        service.mean *= slower
        service.asked = 0
        service.run(5.0 * slower, rate)
        asked += service.asked
        shed += service.shed
    assert shed <= 0.03 * asked


def test_a_crowd_that_comes_after_a_calm_overloads_few_workers_for_a_moment_only() -> None:
    goodput = []
    for seed in range(1, 5):
        service = Service(4, 0.1, seed)
        service.run(60.0, 20.0)
        service.run(5.0, 80.0)
        good = 0
        for _ in range(100):
            service.run(0.1, 80.0)
            good += len(service.running) < 24  # what is admitted now is answered within 0.6 s
        goodput.append(good / 100)
    assert min(goodput) >= 0.9


@pytest.mark.parametrize(
    "workers, calm, crowd", [(64, 0.17, 1.6), (64, 0.17, 5.0), (32, 0.17, 1.6), (128, 0.1, 1.6)]
)
def test_departures_that_grew_with_the_demand_are_no_sign_of_free_workers(
    workers: int, calm: float, crowd: float
) -> None:
    for seed in range(1, 5):
        service = Service(workers, 0.05, seed)
        service.run(10.0, calm * workers / 0.05)
        service.run(0.5, crowd * workers / 0.05)
        for _ in range(30):
            service.run(0.1, crowd * workers / 0.05)
            assert service.window.in_flight < 2.0 * workers


def test_loaded_calls_that_are_certainly_faster_than_unloaded_ones_measure_no_queue() -> None:
    queue = Queue(16.0, 0.0)
    contrast = queue.claim()
    for _ in range(12):
        queue.departures.pass_time(20.0, 0.05, 1.0)
        queue.add(contrast, 0.1, 20.0, 4.0, 2, 1.0)
        queue.add(contrast, 0.1, 20.0, 20.0, 2, 1.0)
    queue.measure(16.0, 24.0)
    assert queue.known
    for _ in range(48):
        queue.departures.pass_time(20.0, 0.05, 1.0)
        queue.add(contrast, 0.01, 20.0, 20.0, 2, 1.0)
    queue.measure(16.0, 48.0)
    assert queue.calls < 0.0
    assert not queue.measured()


def test_calls_that_only_wait_for_each_other_have_a_trend_and_those_with_workers_none() -> None:
    waiting, free = Trend(), Trend()
    dice = random.Random(5)
    for _ in range(200):
        met = dice.randint(1, 12)
        waiting.add(math.log(met), math.log(0.05 * met), 50.0)
        free.add(math.log(met), math.log(dice.lognormvariate(0.0, 0.5)), 50.0)
    assert waiting.growth == pytest.approx(1.0)
    assert abs(free.growth) < 0.3


def test_a_pause_of_the_service_is_no_queue_that_stays() -> None:
    service = Service(16, 0.05)
    service.run(20.0, 192.0)
    service.free = [service.now + 0.5] * 16
    service.run(0.5, 192.0)
    assert service.shed == 0


def test_a_long_overload_lets_no_capacity_run_away() -> None:
    service = Service(16, 0.05)
    seen = []
    for _ in range(100):
        service.run(1.0, 640.0)
        seen.append(service.capacity.calls)
    assert max(seen[4:]) < 32.0


@pytest.mark.parametrize("workers, mean, load", [(16, 0.05, 0.6), (128, 0.2, 0.8), (16, 5.0, 0.3)])
def test_what_can_be_served_is_never_too_much(workers: int, mean: float, load: float) -> None:
    service = Service(workers, mean)
    service.run(400.0 * mean, load * workers / mean)
    assert service.shed == 0


def test_a_service_that_becomes_slower_and_still_suffices_refuses_next_to_nobody() -> None:
    service = Service(16, 0.05)
    service.run(20.0, 0.2 * 320.0)
    assert service.shed == 0
    service.mean = 0.2
    service.run(60.0, 0.2 * 320.0)
    assert service.shed <= 0.02 * service.asked


def test_a_queue_that_is_there_at_once_is_let_in_and_one_that_stays_is_not() -> None:
    service = Service(16, 0.05)
    service.run(20.0, 160.0)
    service.run(0.1, 640.0)
    assert service.shed == 0
    service.run(10.0, 640.0)
    assert service.shed > 0.3 * 6400


def test_an_idle_gap_is_no_low_throughput() -> None:
    service = Service(16, 0.05)
    service.run(20.0, 250.0)
    before = service.capacity.calls
    service.now += 500.0
    service.run(1.0, 250.0)
    assert service.capacity.calls >= 0.9 * before
    assert service.shed == 0


def test_what_teaches_nothing_changes_nothing() -> None:
    capacity = Capacity()
    first = capacity.calls
    window = Window()
    window.roll()
    capacity.learn(window, window.in_flight, 0.1, 1.0, 0, 0.0)
    capacity.learn(window, window.in_flight, 0.0, 1.0, 0, 0.0)
    assert (capacity.calls, capacity.service_time) == (first, 0.0)


def contrast_of(low: float, high: float, shift: float = 0.0) -> Contrast:
    """What calls that took ``low`` and ``high`` seconds say, of which the latter are expected to wait ``shift``."""
    contrast = Contrast()
    feed(contrast, low, high, shift)
    return contrast


def feed(contrast: Contrast, low: float, high: float, shift: float = 0.0) -> None:
    for _ in range(8):
        for _ in range(10):
            contrast.add_unloaded(low, 4, 2, 1.0, 40.0)
            contrast.add_loaded(high, 20, 2, 1.0, 40.0, shift)
        contrast.measure(1.0)


def test_high_calls_that_all_fail_spoil_no_later_measure() -> None:
    contrast = contrast_of(0.05, 0.05)
    for _ in range(500):
        contrast.loaded.add(0.0, 20, 1.0, 40.0)
        contrast.measure(1.0)
    assert math.isfinite(contrast.wait)
    feed(contrast, 0.05, 0.08)
    assert contrast.wait == pytest.approx(0.03, rel=0.2)


@pytest.mark.parametrize("before", [1e-6, 1e-3, 1.0, 1e3])
@pytest.mark.parametrize("after", [1e-6, 1e-3, 1.0, 1e3])
@pytest.mark.parametrize("shift", [0.0, 1e-3, 30.0, 1e5])
def test_a_service_may_change_by_any_factor(before: float, after: float, shift: float) -> None:
    contrast = contrast_of(before, 2.0 * before, shift)
    feed(contrast, after, 2.0 * after, shift)
    assert math.isfinite(contrast.wait)
    assert contrast.error > 0.0
    for _ in range(6):
        feed(contrast, after, 1.5 * after)
    assert contrast.wait == pytest.approx(0.5 * after, rel=0.2)


def test_few_calls_are_little_evidence() -> None:
    assert lower_bound(1.0, 1.0) == pytest.approx(0.5)
    assert lower_bound(1.0, 1000.0) > 0.99
    assert lower_bound(0.0, 10.0) == 0.0
    assert lower_bound(0.5, 0.0) == 0.0


def test_what_happens_in_one_moment_is_no_state_of_affairs() -> None:
    share = Share(12.0)
    share.add(0, 50)
    share.add(200, 200)
    assert share.bound() < 0.55
    share.add(200, 200)
    assert share.bound() > 0.6


def test_calls_in_flight_are_late_once_the_promise_has_passed() -> None:
    lateness = Lateness()
    assert lateness.read(0, 5, 0, 10.0, 1.0) == 0.0
    assert lateness.read(0, 5, 0, 10.9, 1.0) == 0.0
    assert lateness.read(0, 5, 0, 11.1, 1.0) == pytest.approx(lower_bound(1.0, 5.0))
    assert lateness.read(5, 5, 5, 11.2, 1.0) == 0.0


def test_telemetry_shows_itself() -> None:
    assert repr(Telemetry(latency=0.5)) == "Telemetry(latency=0.5, error_rate=None, saturation=None)"
