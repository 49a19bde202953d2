from __future__ import annotations

from itertools import islice, takewhile
from random import Random

import pytest

from atrion_lab.arrivals import Arrivals, Bursty, Closed, Poisson, Profile, diurnal
from atrion_lab.services import Bimodal, Exponential, HeavyTailed, LogNormal, ServiceTime


def count(arrivals: Arrivals, start: float, end: float, seed: int = 1) -> int:
    times = takewhile(lambda at: at < end, arrivals.times(Random(seed)))
    return sum(at >= start for at in times)


@pytest.mark.parametrize(
    "arrivals", [Poisson(50.0), Bursty((20.0, 80.0), 0.5), Profile(((0.0, 5.0), (2.0, 90.0)))]
)
def test_arrivals_ascend_and_depend_on_the_seed_alone(arrivals: Arrivals) -> None:
    first = list(islice(arrivals.times(Random(3)), 500))
    assert first == sorted(first)
    assert first == list(islice(arrivals.times(Random(3)), 500))
    assert first != list(islice(arrivals.times(Random(4)), 500))


def test_rates_are_what_they_say() -> None:
    assert count(Poisson(100.0), 0, 100) == pytest.approx(10_000, rel=0.04)
    assert count(Bursty((50.0, 150.0), 0.5), 0, 200) == pytest.approx(20_000, rel=0.1)


def test_a_step_and_a_ramp_follow_their_points() -> None:
    step = Profile(((0.0, 100.0), (50.0, 400.0), (100.0, 0.0)))
    assert count(step, 0, 50) == pytest.approx(5000, rel=0.05)
    assert count(step, 50, 100) == pytest.approx(20_000, rel=0.05)
    assert count(step, 100, 1e9) == 0
    ramp = Profile(((0.0, 0.0), (100.0, 200.0)), linear=True)
    assert ramp.rate(25.0) == pytest.approx(50.0)
    assert count(ramp, 0, 100) == pytest.approx(10_000, rel=0.05)


def test_a_day_has_a_night_and_a_noon() -> None:
    day = diurnal(100.0, 0.8, 24.0, 48.0)
    assert day.rate(0.0) == pytest.approx(20.0)
    assert day.rate(12.0) == pytest.approx(180.0)
    assert day.rate(24.0) == pytest.approx(20.0)


def test_a_closed_crowd_asks_once_each() -> None:
    assert len(list(Closed(40, 1.0).times(Random(1)))) == 40


@pytest.mark.parametrize(
    "law", [Exponential(0.2), LogNormal(0.2, 0.8), Bimodal(0.2), HeavyTailed(0.2, 2.5), HeavyTailed(0.2, 1.5)]
)
def test_service_times_have_the_mean_they_claim(law: ServiceTime) -> None:
    draw = law.sampler(Random(5))
    values = [draw() for _ in range(200_000)]
    assert min(values) > 0.0
    assert sum(values) / len(values) == pytest.approx(law.mean, rel=0.05)
