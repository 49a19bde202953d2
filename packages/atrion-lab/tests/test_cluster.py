from __future__ import annotations

import random
from dataclasses import replace

import pytest

from atrion_lab.cluster import Cluster
from atrion_lab.metrics import Run
from atrion_lab.policies.catalog import controller
from atrion_lab.scenario import Scenario, simulate
from atrion_lab.scenarios import scenario


def played(name: str, **changes: object) -> Run:
    chosen = replace(scenario(name), seconds=20.0)
    assert chosen.cluster is not None
    return simulate(replace(chosen, cluster=replace(chosen.cluster, **changes)), controller("atrion"), 1)


def peak(run: Run, pod: int, start: float, end: float) -> float:
    return max(ohms for at, ohms in run.trace("scar", "db", str(pod)) if start <= at < end)


def test_idle_pods_hear_of_what_the_active_one_sees() -> None:
    run = played("cluster-outage", pods=6)
    assert peak(run, 3, 5.5, 9.9) < 1.0
    assert peak(run, 3, 10.5, 12.0) > 10.0


def test_a_deaf_cluster_hears_nothing() -> None:
    chosen = scenario("cluster-outage")
    small = replace(chosen, cluster=Cluster(pods=6, active=1))
    run = simulate(small, controller("atrion-alone"), 1)
    assert peak(run, 3, 10.5, 12.0) == 0.0


def test_a_cut_off_pod_goes_on_alone_and_hears_again_afterwards() -> None:
    run = played("cluster-outage", pods=6, apart=(8.0, 15.0, 1.0))
    assert peak(run, 3, 10.5, 14.5) < 1.0
    assert peak(run, 3, 17.0, 20.0) > 10.0


def test_lost_messages_delay_but_do_not_deafen() -> None:
    run = played("cluster-outage", pods=6, loss=0.2, delay=0.02)
    assert peak(run, 3, 10.5, 14.0) > 5.0


def test_a_seed_decides_a_cluster_too_and_python_s_own_dice_are_left_alone() -> None:
    state = random.getstate()
    first, again = (played("cluster-lossy", pods=3) for _ in range(2))
    assert first.samples == again.samples
    assert random.getstate() == state


def test_pods_are_restarted_without_losing_what_they_admitted() -> None:
    run = played("rolling-restart", pods=3, restart=2.0)
    chosen: Scenario = scenario("rolling-restart")
    admitted = run.count("admitted", 0, chosen.seconds)
    assert len(run.latencies) == pytest.approx(admitted, abs=200)
