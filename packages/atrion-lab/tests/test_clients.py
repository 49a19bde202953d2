from __future__ import annotations

from atrion_lab.arrivals import Closed, Poisson
from atrion_lab.clients import Traffic
from atrion_lab.metrics import Run
from atrion_lab.policies.catalog import Controller
from atrion_lab.policies.port import BasePolicy, Call, Policy
from atrion_lab.scenario import Scenario, simulate
from atrion_lab.services import LogNormal, Phase, Server


class Refuses(BasePolicy):
    """Refuses everything, and says when to come back."""

    def arrive(self, call: Call, now: float) -> bool:
        call.retry_after = 2.0
        return False


def play(traffic: Traffic, policy: type[Policy] = BasePolicy, server: Server | None = None) -> Run:
    server = server or Server(workers=50, law=LogNormal(0.02, 0.3))
    scenario = Scenario(
        name="clients",
        about="",
        seconds=20.0,
        servers={"api": server},
        traffic=(traffic,),
        window=(0.0, 15.0),
    )
    return simulate(scenario, Controller("policy", "", lambda rng, facts: policy()), 1)


def ratio(run: Run) -> float:
    return run.count("attempts", 0, 18) / run.count("offered", 0, 18)


def test_a_failure_is_tried_again_as_often_as_allowed() -> None:
    dead = Server(workers=50, law=LogNormal(0.02, 0.3), phases=(Phase(fail=1.0),))
    assert ratio(play(Traffic(arrivals=Poisson(100.0)), server=dead)) == 1.0
    assert 2.9 < ratio(play(Traffic(arrivals=Poisson(100.0), retries=2), server=dead)) <= 3.0


def test_a_budget_bounds_the_retries() -> None:
    dead = Server(workers=50, law=LogNormal(0.02, 0.3), phases=(Phase(fail=1.0),))
    assert ratio(play(Traffic(arrivals=Poisson(100.0), retries=2, budget=0.1), server=dead)) < 1.12


def test_a_late_answer_is_no_answer() -> None:
    slow = Server(workers=50, law=LogNormal(2.0, 0.1))
    run = play(Traffic(arrivals=Poisson(10.0), deadline=0.5), server=slow)
    assert run.count("good", 0, 20) == 0
    assert run.count("late", 0, 20) > 100


def test_a_client_that_has_left_counts_once_though_every_attempt_is_answered() -> None:
    slow = Server(workers=500, law=LogNormal(1.0, 0.1))
    run = play(Traffic(arrivals=Poisson(20.0), deadline=0.5, retries=1), server=slow)
    ended = sum(run.count(kind, 0, 20) for kind in ("good", "late", "failed"))
    assert run.count("late", 0, 20) == ended <= run.count("offered", 0, 20)


def test_who_honours_retry_after_waits_for_it() -> None:
    eager = play(Traffic(arrivals=Poisson(50.0), retries=3), Refuses)
    patient = play(Traffic(arrivals=Poisson(50.0), retries=3, honour=True), Refuses)
    assert patient.count("attempts", 0, 2) < 0.5 * eager.count("attempts", 0, 2)


def test_a_closed_crowd_never_has_more_than_one_request_each() -> None:
    run = play(
        Traffic(arrivals=Closed(10, 0.001), deadline=10.0), server=Server(workers=1, law=LogNormal(0.1, 0.1))
    )
    assert 100 < run.count("offered", 0, 15) <= 165  # what one worker can answer, and one each


def test_a_tarpit_slows_down_who_asks_again_at_once() -> None:
    free = play(Traffic(arrivals=Closed(10, 0.01)), Refuses)
    held = play(Traffic(arrivals=Closed(10, 0.01), tarpit=True), Refuses)
    assert held.count("offered", 0, 20) < 0.02 * free.count("offered", 0, 20)


def test_every_key_is_accounted_for_by_the_minute() -> None:
    run = play(Traffic(arrivals=Poisson(50.0), keys=5, fair=True))
    assert len(run.keys) == 5
    assert sum(offered for minutes in run.keys.values() for offered, _ in minutes) >= run.count("good", 0, 19)
