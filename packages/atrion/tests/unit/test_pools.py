"""Which routes are taken to share a bottleneck, and why."""

from __future__ import annotations

import asyncio

import pytest

from atrion import SLO, Atrion, ConfigurationError
from atrion.integrations.asgi import AtrionMiddleware
from atrion.testing import VirtualClock


def test_routes_share_a_pool_until_there_is_evidence() -> None:
    atrion = Atrion()
    for route in ("a", "b"):
        with atrion.flow(route):
            pass
    seen = atrion.snapshot()
    assert {state.pool for state in seen.values()} == {"shared"}
    assert {state.pool_reason for state in seen.values()} == {"no evidence yet"}


def test_a_named_pool_is_told_as_configured() -> None:
    atrion = Atrion()
    atrion.configure("a", pool="database")
    with atrion.flow("a"):
        pass
    state = atrion.snapshot()["a"]
    assert (state.pool, state.pool_reason) == ("database", "configured")


def test_a_call_within_another_shares_no_pool_with_it() -> None:
    atrion = Atrion()
    with atrion.flow("outer"), atrion.flow("inner"):
        pass
    seen = atrion.snapshot()
    assert seen["outer"].pool == "shared"
    assert seen["inner"].pool == "inner"
    assert "within" in seen["inner"].pool_reason


def test_calls_side_by_side_are_not_within_one_another() -> None:
    atrion = Atrion()

    async def call(route: str) -> None:
        async with atrion.flow(route):
            await asyncio.sleep(0)

    async def both() -> None:
        await asyncio.gather(call("a"), call("b"))

    asyncio.run(both())
    assert {state.pool for state in atrion.snapshot().values()} == {"shared"}


def test_a_task_of_an_outer_call_is_within_it() -> None:
    atrion = Atrion()

    async def inner() -> None:
        async with atrion.flow("inner"):
            await asyncio.sleep(0)

    async def outer() -> None:
        async with atrion.flow("outer"):
            await asyncio.gather(inner(), inner())

    asyncio.run(outer())
    assert atrion.snapshot()["inner"].pool == "inner"


def test_calls_in_flight_go_with_their_route() -> None:
    atrion = Atrion()
    with atrion.flow("a"):
        atrion.configure("a", pool="database")
        assert atrion.snapshot()["a"].in_flight == 1
    assert atrion.snapshot()["a"].in_flight == 0


def test_the_middleware_puts_its_routes_into_a_pool() -> None:
    atrion = Atrion()

    async def app(scope: object, receive: object, send: object) -> None:
        """Answer nothing."""

    async def ask() -> None:
        guarded = AtrionMiddleware(app, atrion, pool="database")
        await guarded({"type": "http", "method": "GET", "path": "/a", "headers": []}, None, None)  # type: ignore[arg-type]  # never used

    asyncio.run(ask())
    assert {state.pool for state in atrion.snapshot().values()} == {"database"}


def test_a_default_pool_is_kept_by_reset_and_configure_and_leaves_named_ones_alone() -> None:
    atrion = Atrion()
    atrion.configure("b", pool="queue")
    atrion.configure("c", slo=SLO(latency=1.0))
    for route in ("a", "b", "c"):
        atrion.default_pool(route, "database")
    atrion.reset()
    atrion.configure("a", slo=SLO(latency=2.0))
    assert {name: state.pool for name, state in atrion.snapshot().items()} == {
        "a": "database",
        "b": "queue",
        "c": "database",
    }


def test_routes_that_come_and_go_leave_no_claims_behind() -> None:
    clock = VirtualClock()
    atrion = Atrion(clock=clock, max_routes=4)
    pools = set()
    for number in range(200):
        route = f"r{number}"
        with atrion.flow(route):
            clock.advance(0.2)
        with atrion.flow(route):
            clock.advance(0.2)
        atrion.reset(route)
        pools.add(atrion.routes[route].pool)
    (pool,) = pools
    assert pool.members == 4
    assert pool.window.in_flight == 0
    assert pool.claims <= 16.0


@pytest.mark.parametrize("pool", ["", 3, "x" * 257])
def test_a_pool_that_is_no_name_is_refused(pool: object) -> None:
    with pytest.raises(ConfigurationError, match="pool"):
        AtrionMiddleware(lambda *_: None, Atrion(), pool=pool)  # type: ignore[arg-type]  # the point
