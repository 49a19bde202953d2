"""A rate and a queue that are set by hand, to the call."""

from __future__ import annotations

from random import Random

import pytest

from atrion_lab.policies import BASELINES, Facts
from atrion_lab.policies.static import BoundedQueue, TokenBucket
from policy_calls import DROPPED, FAILURE, SUCCESS, ask, serve


def admitted(bucket: TokenBucket, start: float, seconds: float, each: float = 0.001) -> int:
    """Of a call every ``each`` seconds, for a while."""
    return sum(serve(bucket, start + each * i) for i in range(round(seconds / each)))


def test_the_bucket_admits_its_burst_and_then_its_rate_to_the_call() -> None:
    bucket = TokenBucket(rate=100.0, burst=20.0)
    assert admitted(bucket, 0.0, 0.1) == 20 + 9  # the tenth token of the rate is there at 0.1 s
    assert admitted(bucket, 0.1, 10.0) == 1000


def test_the_bucket_saves_up_no_more_than_its_burst() -> None:
    bucket = TokenBucket(rate=100.0, burst=20.0)
    assert sum(serve(bucket, 0.0) for _ in range(50)) == 20
    assert sum(serve(bucket, 0.05) for _ in range(50)) == 5
    assert sum(serve(bucket, 1000.0) for _ in range(50)) == 20


def test_the_bucket_keeps_its_rate_whatever_becomes_of_the_calls() -> None:
    calm, sick = TokenBucket(100.0, 20.0), TokenBucket(100.0, 20.0)
    outcomes = [(serve(calm, 0.001 * i), serve(sick, 0.001 * i, 9.0, FAILURE)) for i in range(2000)]
    assert all(one == other for one, other in outcomes)


def test_the_queue_holds_what_is_served_and_what_it_has_places_for() -> None:
    policy = BoundedQueue(workers=4, length=3)
    calls = [ask(policy, 0.0) for _ in range(20)]
    assert [call is not None for call in calls] == [True] * 7 + [False] * 13
    for call, outcome in zip(filter(None, calls), (SUCCESS, FAILURE, DROPPED), strict=False):
        policy.finish(call, outcome, 0.1)
    assert sum(ask(policy, 0.1) is not None for _ in range(20)) == 3


@pytest.mark.parametrize(
    "facts, burst, places",
    [
        (Facts(deadline=0.5, workers=16, service=0.05), 16, 16 + 80),
        (Facts(deadline=2.0, workers=4, service=0.1), 4, 4 + 40),
        (Facts(deadline=0.1, workers=1, service=1.0), 1, 1),
    ],
)
def test_an_operator_sets_them_by_what_is_known_of_the_service(facts: Facts, burst: int, places: int) -> None:
    bucket, bounded = (BASELINES[name](Random(1), facts) for name in ("token-bucket", "bounded-queue"))
    assert sum(ask(bucket, 0.0) is not None for _ in range(200)) == burst
    second = 1000.0
    asked = round(4.0 * facts.capacity * 50.0)
    rate = sum(ask(bucket, second + i * 50.0 / asked) is not None for i in range(asked))
    assert rate == pytest.approx(burst + 50.0 * facts.capacity, abs=1.0)
    assert sum(ask(bounded, 0.0) is not None for _ in range(200)) == places
