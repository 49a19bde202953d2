"""One long piece of work on a route of short calls is a lease with a profile of its own: it is no call of the route."""

from __future__ import annotations

from atrion import Atrion
from atrion.testing import VirtualClock
from packages.atrion.tests.unit.calling import serve

HALF_HOURS = 3
"""Long pieces of work at once: enough unanswered calls to be taken for a stall."""


def test_long_leases_on_a_route_of_short_calls_are_no_pressure_and_no_latency(
    engine: Atrion, clock: VirtualClock
) -> None:
    serve(engine, clock, "reports", 0.05, 50)
    before = engine.snapshot()["reports"]
    leases = [engine.lease("reports", profile="heavy") for _ in range(HALF_HOURS)]
    for lease in leases:
        lease.__enter__()
    for _ in range(30):
        clock.advance(60.0)
        for lease in leases:
            lease.heartbeat()
        assert not any(lease.expired for lease in leases)
        assert engine.snapshot()["reports"].reason is None
    for lease in leases:
        lease.__exit__(None, None, None)
    clock.advance(0.2)
    after = engine.snapshot()["reports"]
    assert (after.reason, after.scar_tissue, after.pressure_error) == (None, 0.0, before.pressure_error)
    assert after.service_time == before.service_time > 0.0
    assert after.in_flight == 0


def test_the_profile_of_a_lease_says_when_it_expires(engine: Atrion, clock: VirtualClock) -> None:
    with (
        engine.lease("reports", profile="light") as short,
        engine.lease("reports", profile="heavy") as long,
        engine.lease("reports") as usual,
    ):
        seen = {}
        for _ in range(130):
            clock.advance(1.0)
            engine.leases()
            for name, lease in {"light": short, "standard": usual, "heavy": long}.items():
                if lease.expired:
                    seen.setdefault(name, round(clock.now - 1000.0))
    assert 10 <= seen["light"] <= 12
    assert 30 <= seen["standard"] <= 32
    assert 120 <= seen["heavy"] <= 122
