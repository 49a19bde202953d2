"""Leases: long work is admitted and counted like calls, and does not make its route look slow."""

from __future__ import annotations

from typing import Any

import pytest

from atrion import SLO, Atrion, AtrionError, ConfigurationError, FlowRejected, Reason, Tier
from atrion.propagation import RequestContext, use
from atrion.testing import VirtualClock, force_shed
from packages.atrion.tests.unit.calling import serve

JOB = "genome/sequence"


def test_a_lease_is_in_flight_until_it_ends(engine: Atrion) -> None:
    with engine.lease(JOB) as lease:
        seen = engine.snapshot()[JOB]
        assert (seen.in_flight, seen.leases, seen.admitted) == (1, 1, 1)
        assert lease.active
    seen = engine.snapshot()[JOB]
    assert (seen.in_flight, seen.leases) == (0, 0)
    assert not lease.active


def test_a_lease_is_admitted_like_a_call(engine: Atrion) -> None:
    with force_shed("normal", JOB, engine=engine):
        with pytest.raises(FlowRejected), engine.lease(JOB):
            pytest.fail("it was shed")
        with engine.lease(JOB, "critical"):
            pass
    seen = engine.snapshot()[JOB]
    assert (seen.shed, seen.in_flight) == (1, 0)


def test_a_lease_has_the_tier_of_the_request_that_it_is_made_for(engine: Atrion) -> None:
    with use(RequestContext(tier=Tier.HIGH)), engine.lease(JOB), engine.lease(JOB, "low"):
        assert [lease.tier for lease in engine.leases()] == [Tier.HIGH, Tier.LOW]


def test_exceptions_and_interrupts_end_a_lease(engine: Atrion) -> None:
    for error in (ValueError, KeyboardInterrupt, GeneratorExit):
        with pytest.raises(error), engine.lease(JOB):
            raise error
    assert engine.snapshot()[JOB].in_flight == 0


def test_failures_of_leases_count_as_failures(engine: Atrion, clock: VirtualClock) -> None:
    for _ in range(30):
        clock.advance(1.0)
        lease = engine.lease(JOB, "critical")
        try:
            with lease:
                raise OSError
        except (OSError, FlowRejected):
            pass
    assert engine.snapshot()[JOB].reason is Reason.FAILING


def test_a_lease_begins_only_once(engine: Atrion) -> None:
    lease = engine.lease(JOB)
    with lease, pytest.raises(AtrionError, match="only once"), lease:
        pass


def test_long_leases_do_not_make_the_service_look_slow(engine: Atrion, clock: VirtualClock) -> None:
    engine.configure("*", pool="database")
    leases = [engine.lease(JOB) for _ in range(4)]
    for lease in leases:
        lease.__enter__()
    for _ in range(40):
        serve(engine, clock, "orders", 0.05, 20)
        for lease in leases:
            lease.heartbeat()
    before = engine.snapshot()["orders"]
    for lease in leases:
        lease.__exit__(None, None, None)
    serve(engine, clock, "orders", 0.05, 20)
    after = engine.snapshot()
    assert before.capacity <= after["orders"].capacity * 1.01
    assert after["orders"].service_time == pytest.approx(0.05)
    assert after[JOB].service_time == 0.0
    assert (after["orders"].shed, after[JOB].reason) == (0, None)


def test_leases_take_the_place_of_calls_up_to_half_of_the_capacity(engine: Atrion) -> None:
    held = [engine.lease(JOB) for _ in range(500)]
    for lease in held:
        lease.__enter__()
    # Leases that wait for something else are no reason to refuse the calls of a new route.
    with engine.flow("orders"), engine.flow(JOB):
        assert engine.snapshot()[JOB].in_flight == 501
    for lease in held:
        lease.__exit__(None, None, None)
    assert engine.snapshot()[JOB].in_flight == 0


def test_a_route_with_leases_is_not_evicted(clock: VirtualClock) -> None:
    engine = Atrion(clock=clock, max_routes=2)
    with engine.lease(JOB):
        for number in range(10):
            engine.decide(f"other/{number}")
        assert JOB in engine.snapshot()


@pytest.mark.parametrize(
    "options, text",
    [
        ({"budget": {"seconds": 0.0}}, r"budget\['seconds'\]"),
        ({"budget": {"memory": float("nan")}}, r"budget\['memory'\]"),
        ({"budget": {3: 1.0}}, "resources by name"),
        ({"budget": [1]}, "mapping"),
        ({"budget": {str(n): 1.0 for n in range(17)}}, "at most 16"),
        ({"profile": "huge"}, "profile"),
        ({"soft": 0.0}, "soft"),
        ({"soft": 1.1}, "soft"),
        ({"tier": "urgent"}, "tier"),
    ],
)
def test_unusable_options_are_refused(engine: Atrion, options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        engine.lease(JOB, **options)


def test_the_slo_of_a_route_does_not_judge_its_leases(engine: Atrion, clock: VirtualClock) -> None:
    engine.configure(JOB, slo=SLO(latency=1.0))
    for _ in range(20):
        with engine.lease(JOB, profile="heavy"):
            clock.advance(100.0)
    assert engine.snapshot()[JOB].reason is None
