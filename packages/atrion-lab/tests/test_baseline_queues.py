"""Policies that measure the queue do what their publications say, on calls served by hand."""

from __future__ import annotations

import itertools
import math
from random import Random

import pytest

from atrion_lab.policies import Facts
from atrion_lab.policies.codel import Codel, FacebookCodel
from atrion_lab.policies.dagor import Dagor
from atrion_lab.policies.pid import PidRejector
from policy_calls import DROPPED, SUCCESS, ask, queue, serve


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
