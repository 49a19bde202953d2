"""failsafe-go's limiter and throttler do what their source says, on calls served by hand."""

from __future__ import annotations

from random import Random

import pytest

from atrion_lab.policies import Call
from atrion_lab.policies.failsafe import AdaptiveLimit, FailsafeLimiter, FailsafeThrottler
from atrion_lab.policies.priority import Threshold, Usage
from policy_calls import DROPPED, FAILURE, SUCCESS, ask, serve


def windows(
    limit: AdaptiveLimit, start: float, latencies: list[float], in_flight: int, full: bool = True
) -> None:
    """A window a second, of 60 calls of one latency each."""
    for second, latency in enumerate(latencies):
        for _ in range(60):
            limit.add(latency, in_flight)
        limit.move(start + 1.1 * second, full)


# --- the limit ---------------------------------------------------------------------------------------------


def test_the_limit_grows_by_one_a_window_while_latency_keeps_its_average() -> None:
    limit = AdaptiveLimit()
    windows(limit, 1.0, [0.05] * 8, 20)
    assert limit.limit == 28.0


def test_the_limit_moves_once_a_window_and_not_with_few_samples() -> None:
    limit = AdaptiveLimit()
    for _ in range(49):
        limit.add(0.05, 20)
    limit.move(10.0, True)
    assert limit.limit == 20.0
    limit.add(0.05, 20)
    limit.move(10.0, True)
    assert limit.limit == 21.0
    windows(limit, 10.9, [0.05], 20)
    assert limit.limit == 21.0


def test_a_window_lasts_two_of_the_fastest_latencies() -> None:
    limit = AdaptiveLimit()
    windows(limit, 100.0, [3.0], 20)
    windows(limit, 105.9, [3.0], 20)
    assert limit.limit == 21.0
    limit.move(106.1, True)
    assert limit.limit == 22.0


def test_the_limit_shrinks_when_latency_leaves_its_baseline() -> None:
    limit = AdaptiveLimit(100.0)
    windows(limit, 1.0, [0.05] * 12, 100)
    before = limit.limit
    windows(limit, 20.0, [0.3] * 8, 100)
    assert limit.limit < before


def test_one_slow_window_is_no_trend() -> None:
    limit = AdaptiveLimit()
    windows(limit, 1.0, [0.05] * 6 + [0.4] + [0.05] * 3, 40)
    assert limit.limit == 30.0


def test_the_limit_shrinks_while_full_when_concurrency_buys_latency_and_no_throughput() -> None:
    saturated, calm = AdaptiveLimit(), AdaptiveLimit()
    for second in range(30):
        in_flight = 200 + second  # at 320 a second latency follows concurrency
        windows(saturated, 1.0 + 2.0 * second, [in_flight / 320.0], in_flight)
        windows(calm, 1.0 + 2.0 * second, [in_flight / 320.0], in_flight, full=False)
    assert saturated.limit < 20.0
    assert calm.limit == 20.0 + 30


def test_the_limit_stays_within_five_times_what_is_in_flight_and_two_hundred() -> None:
    limit = AdaptiveLimit()
    windows(limit, 1.0, [0.05] * 20, 2, full=False)
    assert limit.limit == 10.0
    windows(limit, 100.0, [0.05] * 300, 150, full=False)
    assert limit.limit == 200.0


# --- levels ------------------------------------------------------------------------------------------------


def test_the_threshold_is_the_quantile_of_the_last_levels_admitted() -> None:
    threshold = Threshold(window=200)
    for level in [499] * 100 + list(range(200)):
        threshold.note(level)
    threshold.calibrate(1.0, 0.25)
    assert threshold.level == 49
    threshold.calibrate(2.0, 0.0)
    assert threshold.level == 0
    assert not threshold.due(2.9)
    assert threshold.due(3.0)


def test_who_used_most_has_the_lowest_level_of_the_tier_until_it_is_forgotten() -> None:
    usage = Usage()
    for key, seconds in (("light", 0.1), ("usual", 1.0), ("heavy", 5.0), ("heaviest", 9.0)):
        usage.record(key, seconds, 0.0)
    assert usage.level("heavy", 2) == 299
    usage.calibrate(1.0)
    levels = [usage.level(key, 2) for key in ("stranger", "light", "usual", "heavy", "heaviest")]
    assert levels == [299, 299, 200 + 74, 200 + 49, 200 + 24]
    usage.calibrate(100.0)
    assert usage.level("heaviest", 2) == 299


# --- the limiter -------------------------------------------------------------------------------------------


def test_the_limiter_queues_three_times_its_limit_and_no_more() -> None:
    limiter = FailsafeLimiter(Random(1))
    calls = [ask(limiter, 0.0) for _ in range(200)]
    assert sum(call is not None for call in calls) == 20 + 60
    assert (limiter.running, limiter.queued) == (20, 60)


def test_permits_go_to_who_waits_longest_and_latency_counts_from_there() -> None:
    limiter = FailsafeLimiter(Random(1), initial=1)
    first, second, third = (ask(limiter, 0.0) for _ in range(3))
    assert first is not None
    assert second is not None
    assert third is not None
    limiter.finish(first, SUCCESS, 0.1)
    assert second.token == (0.1, 1)
    assert third.token is None
    assert (limiter.running, limiter.queued) == (1, 1)


def test_who_waits_for_a_permit_leaves_at_the_deadline() -> None:
    limiter = FailsafeLimiter(Random(1), initial=1)
    calls = [call for call in (ask(limiter, 0.0) for _ in range(4)) if call is not None]
    limiter.finish(calls[0], FAILURE, 0.6)
    assert limiter.queued == 0
    assert not limiter.start(calls[1], 0.6)
    limiter.finish(calls[1], DROPPED, 0.6)
    assert limiter.running == 0


def test_a_filling_queue_rejects_from_the_lowest_level_and_a_free_permit_nobody() -> None:
    limiter = FailsafeLimiter(Random(1))
    crowd = [Call("api", i % 5, None, 0.0, 60.0, 0.05) for i in range(70)]
    assert all(limiter.arrive(call, 0.0) for call in crowd)
    assert limiter.queued == 50  # halfway from 40 to 60
    admitted = {tier: ask(limiter, 1.0, tier, patience=60.0) is not None for tier in range(5)}
    assert 200 <= limiter.threshold < 300  # the middle of five tiers
    assert (admitted[0], admitted[1], admitted[3], admitted[4]) == (False, False, True, True)
    for call in crowd:
        limiter.finish(call, SUCCESS, 1.1)
    assert ask(limiter, 1.2, 0) is not None


# --- the throttler -----------------------------------------------------------------------------------------


def test_the_throttler_rejects_by_its_formula_from_a_tenth_of_failures_on() -> None:
    throttler = FailsafeThrottler(Random(1))
    for i in range(100):
        serve(throttler, 0.001 * i, outcome=FAILURE if i % 10 == 0 else SUCCESS)
    assert throttler.rejection(0.9) == 0.0
    for i in range(100):
        serve(throttler, 0.1 + 0.001 * i, outcome=FAILURE if i % 2 == 0 else SUCCESS)
    assert throttler.rejection(0.9) == pytest.approx((200 - 140 / 0.9) / 201)
    for i in range(3000):
        serve(throttler, 0.3 + 0.0001 * i, outcome=FAILURE)
    assert throttler.rejection(0.9) == 0.9


def test_the_throttler_rejects_the_lowest_levels_but_a_tenth_of_them() -> None:
    throttler = FailsafeThrottler(Random(1))
    for i in range(1000):
        call = ask(throttler, 0.0005 * i, i % 5)
        assert call is not None
        throttler.finish(call, FAILURE if i % 2 else SUCCESS, call.arrived + 0.1)
    shares = {
        tier: sum(ask(throttler, 1.1, tier) is not None for _ in range(1000)) / 1000 for tier in range(5)
    }
    assert 200 <= throttler.threshold < 300
    assert shares[0] == pytest.approx(0.1, abs=0.03)
    assert shares[1] == pytest.approx(0.1, abs=0.03)
    assert shares[3] == shares[4] == 1.0


def test_the_throttler_forgets_after_a_minute() -> None:
    throttler = FailsafeThrottler(Random(1))
    for i in range(100):
        serve(throttler, 0.001 * i, outcome=FAILURE)
    assert throttler.rejection(50.0) == 0.9
    assert throttler.rejection(64.0) == 0.0
