"""Breakers and throttles do what their publications say, and libraries what they do."""

from __future__ import annotations

import gc
import sys
from random import Random

import pytest

from atrion.errors import MissingExtraError
from atrion_lab.policies import LIBRARIES, Facts
from atrion_lab.policies.breaker import BinaryBreaker
from atrion_lab.policies.libraries import AioAdaptive, Interlock, PyBreaker
from atrion_lab.policies.throttle import ClientThrottle
from policy_calls import FAILURE, IGNORED, SUCCESS, ask, crowd, serve


def test_the_breaker_opens_at_half_of_a_hundred_and_not_before() -> None:
    breaker = BinaryBreaker()
    outcomes = [FAILURE] * 50 + [SUCCESS] * 49
    assert all(serve(breaker, 0.1 * i, outcome=outcome) for i, outcome in enumerate(outcomes))
    assert breaker.state == "closed"
    serve(breaker, 10.0)
    assert breaker.state == "open"
    assert ask(breaker, 69.9) is None


def test_the_breaker_stays_closed_below_its_threshold() -> None:
    breaker = BinaryBreaker()
    for i in range(1000):
        serve(breaker, 0.1 * i, outcome=FAILURE if i % 100 < 49 else SUCCESS)
    assert breaker.state == "closed"


def test_ten_probes_close_the_breaker_or_open_it_again() -> None:
    breaker = BinaryBreaker()
    crowd(breaker, 0.0, 100, 0.05, FAILURE)
    probes = [ask(breaker, 61.0) for _ in range(20)]
    assert sum(probe is not None for probe in probes) == 10
    for probe in filter(None, probes):
        breaker.finish(probe, FAILURE, 61.1)
    assert breaker.state == "open"
    assert ask(breaker, 121.0) is None
    assert crowd(breaker, 121.2, 20, 0.05) == 10
    assert breaker.state == "closed"


def test_the_breaker_forgets_calls_of_an_earlier_state() -> None:
    breaker = BinaryBreaker()
    stale = [call for call in (ask(breaker, 0.0) for _ in range(30)) if call is not None]
    crowd(breaker, 0.0, 100, 0.05, FAILURE)
    crowd(breaker, 61.0, 10, 0.05)
    for call in stale:
        breaker.finish(call, FAILURE, 61.5)
    crowd(breaker, 62.0, 100, 0.05)
    assert breaker.state == "closed"


def test_a_clients_fault_gives_its_probe_back() -> None:
    breaker = BinaryBreaker()
    crowd(breaker, 0.0, 100, 0.05, FAILURE)
    assert crowd(breaker, 61.0, 10, 0.05, IGNORED) == 10
    assert crowd(breaker, 62.0, 10, 0.05) == 10
    assert breaker.state == "closed"


def test_the_throttle_rejects_by_googles_formula() -> None:
    throttle = ClientThrottle(Random(1))
    for i in range(50):
        serve(throttle, 0.1 * i)
    assert throttle.rejection(5.0) == 0.0
    failing = [ask(throttle, 5.0 + 0.001 * i) for i in range(1000)]
    admitted = sum(call is not None for call in failing)
    assert throttle.rejection(6.0) == pytest.approx((1050 - 2 * 50) / 1051)
    assert 100 < admitted < 500


def test_the_throttle_forgets_after_two_minutes() -> None:
    throttle = ClientThrottle(Random(1))
    for i in range(500):
        serve(throttle, 0.01 * i, outcome=FAILURE)
    assert throttle.rejection(100.0) > 0.9
    assert throttle.rejection(130.0) == 0.0


def test_the_throttle_counts_late_answers_as_refused() -> None:
    throttle = ClientThrottle(Random(1))
    for i in range(100):
        serve(throttle, 0.1 * i, latency=0.6)
    assert throttle.rejection(10.0) > 0.9


def test_pybreaker_opens_after_five_failures_for_sixty_virtual_seconds() -> None:
    policy = PyBreaker()
    overlapping = [ask(policy, 0.0) for _ in range(10)]
    for call in filter(None, overlapping[:5]):
        policy.finish(call, FAILURE, 0.1)
    assert policy.breaker.current_state == "open"
    assert ask(policy, 60.0) is None
    assert serve(policy, 60.2)
    assert policy.breaker.current_state == "closed"


def test_pybreaker_opens_again_when_its_trial_fails() -> None:
    policy = PyBreaker()
    crowd(policy, 0.0, 5, 0.1, FAILURE)
    assert serve(policy, 70.0, outcome=FAILURE)
    assert ask(policy, 129.0) is None
    assert serve(policy, 131.0)


def test_pybreaker_guards_that_are_never_left_are_closed_quietly() -> None:
    policy = PyBreaker()
    calls = [ask(policy, 0.0) for _ in range(20)]
    del policy
    gc.collect()
    del calls
    gc.collect()


def test_interlock_opens_at_half_of_the_calls_for_sixty_virtual_seconds() -> None:
    policy = Interlock()
    assert crowd(policy, 0.0, 5, 0.1) == 5
    assert crowd(policy, 1.0, 4, 0.1, FAILURE) == 4
    assert policy.breaker.state.value == "closed"
    serve(policy, 2.0, 0.6)  # too late for its client
    assert policy.breaker.state.value == "open"
    assert ask(policy, 62.0) is None
    assert all(serve(policy, 63.0 + i) for i in range(10))
    assert policy.breaker.state.value == "closed"


def test_interlock_keeps_overlapping_calls_apart() -> None:
    policy = Interlock()
    first, second = ask(policy, 0.0), ask(policy, 0.1)
    assert first is not None
    assert second is not None
    policy.finish(first, SUCCESS, 0.2)
    policy.finish(second, FAILURE, 0.3)
    assert policy.breaker.snapshot().failure_rate == 0.5


def test_aioadaptive_grows_without_a_queue_and_shrinks_with_one() -> None:
    policy = AioAdaptive()
    for i in range(40):
        crowd(policy, float(i), 100, 0.05)
    grown = policy.limit
    assert grown > 10
    for i in range(40):
        crowd(policy, 100.0 + i, 100, 0.4)
    assert policy.limit < grown


MODULES = {"pybreaker": "pybreaker", "interlock-cb": "interlock", "aioadaptive": "aioadaptive.limiter"}


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_missing_library_names_its_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, MODULES[name], None)
    with pytest.raises(MissingExtraError, match=r"atrion\[peers\]"):
        LIBRARIES[name](Random(1), Facts())
