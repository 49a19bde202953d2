"""Each baseline does what its publication says, on calls served by hand."""

from __future__ import annotations

import gc
import itertools
import math
import sys
from random import Random

import pytest

from atrion.errors import ConfigurationError, MissingExtraError
from atrion.lab.policies import BASELINES, LIBRARIES, BasePolicy, Call, Facts, Policy
from atrion.lab.policies.baselines import ABOUT
from atrion.lab.policies.bbr import BbrShedder
from atrion.lab.policies.breaker import BinaryBreaker
from atrion.lab.policies.catalog import controller
from atrion.lab.policies.codel import Codel, FacebookCodel
from atrion.lab.policies.dagor import Dagor
from atrion.lab.policies.facts import Rolling, failed, level
from atrion.lab.policies.libraries import AioAdaptive, Interlock, PyBreaker
from atrion.lab.policies.limits import Aimd, Gradient2, Limiter, Vegas
from atrion.lab.policies.pid import PidRejector
from atrion.lab.policies.throttle import ClientThrottle
from atrion.lab.scenario import simulate
from atrion.lab.scenarios import scenario
from atrion.sensing import Outcome

SUCCESS, FAILURE, IGNORED, DROPPED = Outcome.SUCCESS, Outcome.FAILURE, Outcome.IGNORED, Outcome.DROPPED


def ask(
    policy: Policy, now: float, tier: int = 2, key: str | None = None, patience: float = 0.5
) -> Call | None:
    """A call that arrives, or None when it is shed."""
    call = Call("api", tier, key, now, now + patience, 0.05)
    return call if policy.arrive(call, now) else None


def serve(policy: Policy, now: float, latency: float = 0.05, outcome: Outcome = SUCCESS) -> bool:
    """A call that arrives, finds an idle worker and ends after ``latency``; says whether it was admitted."""
    call = ask(policy, now)
    if call is None:
        return False
    call.started = now
    policy.finish(call, outcome, now + latency)
    return True


def crowd(policy: Policy, now: float, count: int, latency: float, outcome: Outcome = SUCCESS) -> int:
    """``count`` calls at once, all ending after ``latency``; returns how many were admitted."""
    calls = [call for call in (ask(policy, now) for _ in range(count)) if call is not None]
    for call in calls:
        call.started = now
        policy.finish(call, outcome, now + latency)
    return len(calls)


# --- what they share ---------------------------------------------------------------------------------------


def test_a_late_answer_has_failed_and_a_clients_fault_has_not() -> None:
    call = Call("api", 2, None, 1.0, 1.5, 0.05)
    assert not failed(call, SUCCESS, 1.4)
    assert failed(call, SUCCESS, 1.6)
    assert failed(call, FAILURE, 1.1)
    assert failed(call, DROPPED, 1.1)
    assert not failed(call, IGNORED, 1.1)


def test_rolling_counts_forget_what_is_older_than_their_window() -> None:
    rolling = Rolling(10.0, 10)
    for second in range(30):
        rolling.add(float(second), 2.0)
    assert (rolling.count, rolling.total) == (10, 20.0)
    assert list(rolling.closed(29.5)) == [(1, 2.0)] * 9
    rolling.roll(100.0)
    assert (rolling.count, rolling.total) == (0, 0.0)


def test_levels_follow_the_tier_and_then_the_key_for_an_hour() -> None:
    dice = Random(1)
    calls = [Call("api", tier, "user-1", 0.0, 1.0, 0.05) for tier in range(5)]
    places = [level(call, 10.0, dice) for call in calls]
    assert [place // 128 for place in places] == [4, 3, 2, 1, 0]
    assert len({place % 128 for place in places}) == 1
    assert level(calls[2], 3500.0, dice) == places[2]
    assert level(calls[2], 3700.0, dice) != places[2]


@pytest.mark.parametrize("wrong", [{"deadline": 0.0}, {"deadline": math.nan}, {"workers": 0}])
def test_absurd_facts_are_refused_in_words(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=f"Facts.{next(iter(wrong))}"):
        Facts(**wrong)  # type: ignore[arg-type]  # absurd on purpose


# --- breakers and throttles --------------------------------------------------------------------------------


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


# --- concurrency limits ------------------------------------------------------------------------------------


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


# --- BBR ---------------------------------------------------------------------------------------------------


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


# --- queues ------------------------------------------------------------------------------------------------


def queue(policy: Policy, now: float, wait: float) -> bool:
    """A worker takes a call that has waited; whether it is served."""
    call = ask(policy, now - wait)
    assert call is not None
    served = policy.start(call, now)
    if served:
        call.started = now
    policy.finish(call, SUCCESS if served else DROPPED, now)
    return served


def test_codel_drops_after_an_interval_above_target_and_then_ever_faster() -> None:
    codel = Codel()
    drops = [0.001 * i for i in range(1000) if not queue(codel, 0.001 * i, 0.05)]
    assert drops[0] == pytest.approx(0.1)
    gaps = [b - a for a, b in itertools.pairwise(drops)]
    assert gaps[0] == pytest.approx(0.1, abs=0.002)
    assert gaps[3] == pytest.approx(0.1 / math.sqrt(4), abs=0.002)
    assert all(later - earlier < 0.002 for earlier, later in itertools.pairwise(gaps))


def test_codel_leaves_short_waits_alone_and_forgives_at_once() -> None:
    codel = Codel()
    assert all(queue(codel, 0.01 * i, 0.004) for i in range(1000))
    for i in range(30):
        queue(codel, 20.0 + 0.01 * i, 0.05)
    assert queue(codel, 20.3, 0.001)
    assert queue(codel, 20.31, 0.05)


def test_codel_knows_from_an_unqueued_call_that_the_queue_was_empty() -> None:
    codel = Codel()
    assert queue(codel, 1.0, 0.05)
    serve(codel, 1.05, 0.01)
    assert queue(codel, 1.2, 0.05)


def test_facebooks_variant_is_patient_until_the_queue_has_stood() -> None:
    codel = FacebookCodel()
    serve(codel, 1.0, 0.01)
    assert queue(codel, 1.1, 0.05)
    assert not queue(codel, 1.3, 0.05)
    assert queue(codel, 1.3, 0.004)
    serve(codel, 2.0, 0.01)
    assert queue(codel, 2.09, 0.07)


def flooded(policy: PidRejector, seconds: float, share: float) -> dict[int, float]:
    """Two tiers ask at ``share`` of what 16 workers serve each; admitted shares by tier of the last quarter."""
    now, waiting, counts = 0.0, [], {1: [0, 0], 4: [0, 0]}
    while now < seconds:
        for tier in (1, 4):
            for n in range(round(16 * share)):
                call = ask(policy, now, tier, f"user-{int(now * 1000)}-{n}")
                if now > 0.75 * seconds:
                    counts[tier][0] += 1
                    counts[tier][1] += call is not None
                if call is not None:
                    waiting.append(call)
        now += 0.05
        working = 0
        while waiting and working < 16:
            call = waiting.pop(0)
            served = policy.start(call, now)
            call.started = now
            working += served
            policy.finish(call, SUCCESS if served else DROPPED, now)
    return {tier: admitted / asked for tier, (asked, admitted) in counts.items()}


def test_pid_rejects_the_least_important_where_the_queue_stands() -> None:
    policy = PidRejector(Random(1), Facts(workers=16))
    shares = flooded(policy, 60.0, 1.0)
    assert 0.3 < policy.rejection < 0.7
    assert shares[4] > 0.9
    assert shares[1] < 0.3


def test_pid_leaves_a_service_alone_that_keeps_up() -> None:
    policy = PidRejector(Random(1), Facts(workers=16))
    assert flooded(policy, 30.0, 0.25) == {1: 1.0, 4: 1.0}
    assert policy.rejection == 0.0


def window(
    dagor: Dagor, start: float, wait: float, tiers: tuple[int, ...] = (0, 1, 2, 3, 4)
) -> dict[int, float]:
    """A window of 500 requests whose admitted ones queue for ``wait``; admitted shares by tier."""
    counts = {tier: [0, 0] for tier in tiers}
    for i in range(500):
        tier = tiers[i % len(tiers)]
        call = ask(dagor, start + i * 0.001, tier, f"user-{i}")
        counts[tier][0] += 1
        if call is not None:
            counts[tier][1] += 1
            dagor.start(call, call.arrived + wait)
            call.started = call.arrived + wait
            dagor.finish(call, SUCCESS, call.started + 0.05)
    return {tier: admitted / asked for tier, (asked, admitted) in counts.items()}


def test_dagor_sheds_five_percent_a_window_from_the_bottom() -> None:
    dagor = Dagor(Random(1))
    window(dagor, 0.0, 0.05)
    shares = window(dagor, 1.0, 0.05)
    assert sum(shares.values()) / 5 == pytest.approx(0.95, abs=0.02)
    assert shares[0] < 0.85
    assert [shares[tier] for tier in (1, 2, 3, 4)] == [1.0] * 4
    for second in range(2, 30):
        shares = window(dagor, float(second), 0.05)
    assert shares[4] > 0.9
    assert shares[0] == shares[1] == shares[2] == 0.0


def test_dagor_comes_back_by_a_hundredth_a_window() -> None:
    dagor = Dagor(Random(1))
    for second in range(30):
        window(dagor, float(second), 0.05)
    low = dagor.level
    for second in range(30, 40):
        shares = window(dagor, float(second), 0.001)
    assert dagor.level > low
    assert sum(shares.values()) / 5 == pytest.approx(0.95**30 + 0.08, abs=0.04)


def test_dagor_counts_calls_that_met_no_queue() -> None:
    dagor = Dagor(Random(1))
    for i in range(100):
        serve(dagor, 0.001 * i)
    queue(dagor, 0.5, 0.3)
    serve(dagor, 1.5)
    assert dagor.level == 5 * 128 - 1


# --- real libraries ----------------------------------------------------------------------------------------


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


# --- together ----------------------------------------------------------------------------------------------


def test_every_baseline_is_described() -> None:
    assert list(ABOUT) == list(BASELINES)


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_bears_its_name_and_plays_the_same_twice(name: str) -> None:
    assert BASELINES[name](Random(1), Facts()).name == name
    played = scenario("steady-2x")
    first, again = (simulate(played, controller(name), 1) for _ in range(2))
    for kind in ("attempts", "rejected"):
        assert first.count(kind, 0.0, 30.0) == again.count(kind, 0.0, 30.0)
    assert first.goodput(0.0, 30.0) == again.goodput(0.0, 30.0)


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_no_baseline_sheds_a_quiet_service(name: str) -> None:
    run = simulate(scenario("steady-0.5x"), controller(name), 1)
    noisy = {"vegas", "vegas-windowed", "aioadaptive", "bbr-keen", "codel", "codel-facebook", "bbr"}
    # Those that compare single latencies with a minimum take the spread of exponential services for a queue.
    rejected = run.count("rejected", 5.0, 28.0) / run.count("attempts", 5.0, 28.0)
    assert rejected < (0.7 if name in noisy else 0.001)


@pytest.mark.parametrize("name", ["gradient2", "vegas-windowed", "codel-facebook", "pid"])
def test_the_good_ones_hold_goodput_at_four_times_the_capacity(name: str) -> None:
    played = scenario("steady-4x")
    run = simulate(played, controller(name), 1)
    assert run.goodput(*played.window) > 0.95


def test_the_neutral_policy_admits_everything() -> None:
    policy = BasePolicy()
    assert crowd(policy, 0.0, 1000, 9.0, FAILURE) == 1000
