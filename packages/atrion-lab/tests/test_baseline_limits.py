"""Concurrency limits do what their publications say, on calls served by hand."""

from __future__ import annotations

from random import Random

import pytest

from atrion_lab.policies.bbr import BbrShedder
from atrion_lab.policies.limits import Aimd, Gradient2, Limiter, Vegas
from policy_calls import DROPPED, FAILURE, SUCCESS, ask, crowd, serve


def filled(limiter: Limiter, now: float, latency: float) -> None:
    """As many calls as the limit admits, at once."""
    crowd(limiter, now, 10_000, latency)


def test_a_limiter_admits_up_to_its_limit_and_frees_what_ends() -> None:
    limiter = Aimd()
    calls = [ask(limiter, 0.0) for _ in range(25)]
    assert sum(call is not None for call in calls) == 20
    for call in filter(None, calls):
        limiter.finish(call, FAILURE, 0.1)
    assert limiter.in_flight == 0
    assert limiter.limit == 20


def test_aimd_grows_while_in_flight_is_high_and_rests_while_it_is_low() -> None:
    limiter = Aimd()
    filled(limiter, 0.0, 0.05)
    assert limiter.limit == 20 + 11  # half the limit rises with it, so the first calls are app-limited
    for i in range(100):
        serve(limiter, 1.0 + i)
    assert limiter.limit == 31


@pytest.mark.parametrize("latency, patience", [(0.6, 0.5), (5.1, 60.0)])
def test_aimd_backs_off_by_a_tenth_on_a_timeout(latency: float, patience: float) -> None:
    limiter = Aimd(initial=100)
    call = ask(limiter, 0.0, patience=patience)
    assert call is not None
    limiter.finish(call, SUCCESS, latency)
    assert limiter.limit == 90


def test_aimd_stays_within_its_bounds() -> None:
    limiter = Aimd()
    for i in range(50):
        filled(limiter, float(i), 0.05)
    assert limiter.limit == 200
    for i in range(50):
        filled(limiter, 100.0 + i, 0.6)
    assert limiter.limit == 20


def test_vegas_grows_without_a_queue_and_shrinks_with_one() -> None:
    limiter = Vegas(Random(1), initial=100)
    serve(limiter, 0.0, 0.05)
    filled(limiter, 1.0, 0.051)
    grown = limiter.limit
    assert grown > 200
    filled(limiter, 2.0, 0.2)
    assert limiter.limit < grown - 50


def test_vegas_rests_while_in_flight_is_low_but_not_on_a_drop() -> None:
    limiter = Vegas(Random(1))
    serve(limiter, 0.0, 0.05)
    serve(limiter, 1.0, 0.06)
    assert limiter.limit == 20
    serve(limiter, 2.0, 0.06, DROPPED)
    assert limiter.limit == 19


def test_vegas_measures_its_floor_anew() -> None:
    limiter = Vegas(Random(1), initial=20)
    serve(limiter, 0.0, 0.001)
    for i in range(700):  # 30 · 20 samples at most until the next measurement
        serve(limiter, 1.0 + i, 0.1)
    for _ in range(20):
        filled(limiter, 1000.0, 0.1)
    assert limiter.limit > 20


def test_gradient2_moves_once_a_second_and_allows_a_queue_of_four() -> None:
    limiter = Gradient2()
    filled(limiter, 0.1, 0.05)
    filled(limiter, 0.2, 0.05)
    assert limiter.limit == pytest.approx(20.0)
    for i in range(30):
        filled(limiter, 1.2 + 1.1 * i, 0.05)
    assert limiter.limit == pytest.approx(20.0 + 30 * 0.2 * 4, abs=1.7)


def test_gradient2_shrinks_when_latency_leaves_its_average() -> None:
    limiter = Gradient2(initial=150)
    for i in range(20):
        filled(limiter, 1.1 * i, 0.05)
    before = limiter.limit
    for i in range(10):
        filled(limiter, 30.0 + 1.1 * i, 0.3)
    assert limiter.limit < 0.8 * before


def test_gradient2_hears_nothing_in_thin_windows() -> None:
    limiter = Gradient2(initial=20)
    for i in range(100):
        serve(limiter, 1.1 * i, 0.05)
    assert limiter.limit == 20.0


def busy(shedder: BbrShedder, seconds: float, start: float = 0.0, batch: int = 16) -> float:
    """Keep ``batch`` calls of 50 ms in flight; returns the time it ends."""
    now = start
    while now < start + seconds:
        calls = [call for call in (ask(shedder, now) for _ in range(batch)) if call is not None]
        now += 0.05
        for call in calls:
            shedder.finish(call, SUCCESS, now)
    return now


def test_bbr_admits_everything_until_the_machine_is_busy() -> None:
    shedder = BbrShedder(16)
    now = busy(shedder, 10.0)
    assert shedder.utilisation(now) < 0.8
    assert sum(ask(shedder, now) is not None for _ in range(100)) == 100


def test_bbr_then_holds_throughput_times_latency_in_flight() -> None:
    shedder = BbrShedder(16, tick=0.025)
    for step in range(800):  # a call every 25 ms, so that the smoothing sees all of it
        busy(shedder, 0.01, 0.05 * step)
        shedder.utilisation(0.05 * step + 0.03)
    now = 40.0
    held = [call for call in (ask(shedder, now) for _ in range(16)) if call is not None]
    now += 2.0
    assert shedder.utilisation(now) >= 0.8
    allowed = shedder.most_in_flight(now)
    assert 10 <= allowed <= 33
    more = sum(ask(shedder, now) is not None for _ in range(100))
    assert len(held) + more == allowed + 1


def test_bbr_takes_sixteen_seconds_of_full_load_to_notice() -> None:
    shedder = BbrShedder(1)
    ask(shedder, 0.0)
    assert shedder.utilisation(15.4) < 0.8 <= shedder.utilisation(16.1)
