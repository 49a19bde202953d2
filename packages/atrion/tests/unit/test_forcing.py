"""What ``atrion.testing`` gives to the tests of users: routes that shed on demand, and fixtures."""

from __future__ import annotations

import asyncio

import pytest

from atrion import Atrion, ConfigurationError, FlowRejected, Mode, PhysicsVector
from atrion.testing import VirtualClock, force_open, force_shed

pytest_plugins = ["pytester"]


def shed(engine: Atrion, route: str, tier: str | None = None) -> int:
    """How many of thirty calls are shed."""
    count = 0
    for _ in range(30):
        try:
            with engine.flow(route, tier):  # type: ignore[arg-type]  # text of a test
                pass
        except FlowRejected:
            count += 1
    return count


def test_an_open_route_sheds_everything_and_others_nothing(engine: Atrion, clock: VirtualClock) -> None:
    @engine.protect("x", tier="critical", fallback=lambda: "cached")
    def call() -> str:
        return "fresh"

    assert call() == "fresh"
    with force_open("x"):
        for _ in range(50):  # not even a probe passes
            clock.advance(10.0)
            assert call() == "cached"
        decision = engine.decide("x", "critical")
        assert (decision.allowed, decision.mode) == (False, Mode.CIRCUIT_BREAKER)
        assert decision.retry_after > 0.0
        assert engine.snapshot()["x"].mode is Mode.CIRCUIT_BREAKER
        assert shed(engine, "y", "bulk") == 0
        assert {engine.select(["x", "y"]) for _ in range(30)} == {"y"}
    assert call() == "fresh"
    assert engine.snapshot()["x"].mode is not Mode.CIRCUIT_BREAKER


def test_a_tier_and_what_is_below_are_shed(engine: Atrion) -> None:
    with force_shed("normal"):
        for tier in ("bulk", "low", "normal"):
            assert shed(engine, "x", tier) == 30
        for tier in ("high", "critical"):
            assert shed(engine, "x", tier) == 0
        assert shed(engine, "a route that is new") == 30
    with force_shed("critical", "GET /*"):
        assert shed(engine, "GET /a", "critical") == 30
        assert shed(engine, "POST /a", "bulk") == 0
    assert shed(engine, "x", "bulk") == 0


def test_what_was_learnt_stays(engine: Atrion) -> None:
    engine.restore("x", PhysicsVector(0.0, 0.0, 40.0, 0.0))
    before = engine.snapshot()["x"]
    with force_open(), force_shed("low", "x"):
        assert not engine.decide("x", "low").allowed
    after = engine.snapshot()["x"]
    assert (after.scar_tissue, after.resistance) == (before.scar_tissue, before.resistance)
    assert engine.unused() == ()


def test_one_engine_or_every_one_that_there_is(engine: Atrion) -> None:
    other = Atrion()
    with force_open("x", engine):
        assert shed(engine, "x") == 30
        assert shed(other, "x") == 0
    with force_open("x"):
        assert shed(other, "x") == 30


def test_async_code_is_shed_too(engine: Atrion) -> None:
    @engine.protect("x")
    async def call() -> str:
        return "fresh"

    async def main() -> None:
        with pytest.raises(FlowRejected):
            await call()

    with force_shed("critical"):
        asyncio.run(main())


def test_unusable_ids_and_tiers_are_refused(engine: Atrion) -> None:
    with pytest.raises(ConfigurationError, match=r"tier must be one of .*, got 'crit'"), force_shed("crit"):  # type: ignore[arg-type]
        pass
    with pytest.raises(ConfigurationError, match="route_id"), force_open(""):
        pass


def test_the_fixtures_give_an_engine_and_its_clock(pytester: pytest.Pytester) -> None:
    pytester.makeconftest('pytest_plugins = ["atrion.testing.fixtures"]')
    pytester.makepyfile(
        """
        from atrion.testing import force_open

        def test_engine(atrion_engine, atrion_clock):
            atrion_clock.advance(60.0)
            with force_open("x"):
                assert not atrion_engine.decide("x").allowed

        def test_another(atrion_engine):
            assert atrion_engine.snapshot() == {}
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)
