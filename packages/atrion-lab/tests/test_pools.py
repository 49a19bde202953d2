"""Which routes of a simulated service are found to share a bottleneck."""

from __future__ import annotations

from atrion_lab.policies.atrion import AtrionPolicy
from atrion_lab.policies.catalog import Controller
from atrion_lab.scenario import simulate
from atrion_lab.scenarios import described


def played(name: str, seed: int = 1) -> AtrionPolicy:
    """The engine after a packaged scenario."""
    kept: list[AtrionPolicy] = []

    def make(**options: object) -> AtrionPolicy:
        kept.append(AtrionPolicy(**options))  # type: ignore[arg-type]  # a forwarder
        return kept[-1]

    simulate(described(name).scenario, Controller("atrion", "", make, spans=True), seed)
    return kept[0]


def test_routes_of_one_database_are_found_to_share_it() -> None:
    seen = played("seven-routes-3x").engine.snapshot()
    assert {state.pool for state in seen.values()} == {"shared"}


def test_routes_of_a_database_that_is_well_leave_those_of_one_that_is_not() -> None:
    seen = played("two-databases-4x").engine.snapshot()
    assert seen["a"].pool == seen["b"].pool == "shared"
    assert "shared" not in {seen["c"].pool, seen["d"].pool}


def test_routes_of_fast_workers_stay_together_in_a_crowd() -> None:
    seen = played("crowd-on-three-routes").engine.snapshot()
    assert {state.pool for state in seen.values()} == {"shared"}
    assert {state.pool_reason for state in seen.values()} == {"its calls wait when the pool is full"}
