"""Settings of routes by id and pattern, their default tiers, and what never matched."""

from __future__ import annotations

import logging

import pytest

from atrion import SLO, Atrion, ConfigurationError, PhysicsConfig, PhysicsVector, Tier
from atrion.testing import VirtualClock


def base_of(engine: Atrion, route: str) -> float:
    """R_base of a route, as an idle one shows it."""
    return engine.decide(route).resistance / 1.2


def ohms(base: float) -> PhysicsConfig:
    return PhysicsConfig(base_resistance=base)


def test_a_pattern_configures_the_routes_that_it_matches(engine: Atrion) -> None:
    engine.configure("GET /reports/*", config=ohms(15.0))
    assert base_of(engine, "GET /reports/{id}") == pytest.approx(15.0)
    assert base_of(engine, "GET /reports/") == pytest.approx(15.0)
    assert base_of(engine, "GET /reports") == base_of(engine, "POST /reports/{id}") == pytest.approx(10.0)


def test_the_most_specific_wins_setting_by_setting_in_any_order(engine: Atrion) -> None:
    engine.configure("GET /reports/daily", config=ohms(18.0))
    engine.configure("GET /reports/*", config=ohms(15.0), tier="low")
    engine.configure("*", config=ohms(12.0), tier="high", pool="db")
    assert base_of(engine, "GET /reports/daily") == pytest.approx(18.0)
    assert base_of(engine, "GET /reports/weekly") == pytest.approx(15.0)
    assert base_of(engine, "search") == pytest.approx(12.0)
    assert (
        32.0 <= engine.decide("GET /reports/daily").voltage < 42.0
    )  # of the pattern, as it has no tier of its own
    assert {state.pool for state in engine.snapshot().values()} == {"db"}


def test_what_is_special_in_other_patterns_is_not_here(engine: Atrion) -> None:
    engine.configure("GET /items/{id}.[a]?", config=ohms(15.0))
    engine.configure("GET /a.b/*/c", config=ohms(16.0))
    assert base_of(engine, "GET /items/{id}.[a]?") == pytest.approx(15.0)
    assert base_of(engine, "GET /items/7.ax") == pytest.approx(10.0)
    assert base_of(engine, "GET /a.b/x/y/c") == pytest.approx(16.0)
    assert base_of(engine, "GET /axb/x/c") == pytest.approx(10.0)


def test_routes_that_are_there_follow_and_the_others_keep_what_they_learnt(engine: Atrion) -> None:
    for route in ("GET /a", "GET /b", "POST /a"):
        engine.restore(route, PhysicsVector(0.0, 0.0, 40.0, 0.0))
    engine.configure("GET /*", config=ohms(15.0))
    assert [state.scar_tissue for state in engine.snapshot().values()] == [0.0, 0.0, 40.0]
    engine.restore("GET /a", PhysicsVector(0.0, 0.0, 40.0, 0.0))
    engine.configure("GET /*", tier="critical", enforce=False)  # neither starts a route anew
    assert engine.snapshot()["GET /a"].scar_tissue == 40.0


def test_an_unusable_value_changes_nothing(engine: Atrion) -> None:
    with pytest.raises(ConfigurationError, match="gamma"):
        engine.configure("GET /*", gamma=2.0, tier="low")
    assert engine.decide("GET /a").voltage >= 44.0
    assert engine.unused() == ()
    with pytest.raises(ConfigurationError, match=r"tier must be one of .*, got 'crit'"):
        engine.configure("r", tier="crit")  # type: ignore[arg-type]  # wrong on purpose


# --- tiers ---------------------------------------------------------------------------------------------------


def test_a_route_has_a_tier_of_its_own_until_a_call_names_another(engine: Atrion) -> None:
    engine.configure("checkout", tier="critical")
    assert engine.decide("checkout").voltage >= 92.0
    assert engine.decide("checkout", key="alice").voltage >= 92.0
    assert engine.decide("checkout", Tier.LOW).voltage < 42.0
    assert 44.0 <= engine.decide("other").voltage < 54.0


def test_decorated_calls_and_flows_have_the_tier_of_their_route(engine: Atrion) -> None:
    @engine.protect("r")
    def call() -> None: ...

    @engine.protect("r", key=lambda: "alice")
    def keyed() -> None: ...

    engine.configure("r", tier="critical")  # after the function was decorated
    engine.restore("r", PhysicsVector(0.0, 0.0, 60.0, 0.0))
    for _ in range(4):
        call()
        keyed()
        with engine.flow("r"):
            pass
    assert engine.snapshot()["r"].shed == 0


# --- what never matched --------------------------------------------------------------------------------------


def test_what_never_matched_is_reported(engine: Atrion) -> None:
    engine.configure("serach", slo=SLO(latency=1.0))
    engine.configure("search", slo=SLO(latency=1.0))
    engine.configure("GET /report/*", tier="low")
    engine.configure("GET /*", tier="low")
    assert engine.unused() == ("serach", "search", "GET /*", "GET /report/*")
    engine.decide("search")
    engine.decide("GET /reports/{id}")
    assert engine.unused() == ("serach", "GET /report/*")


def test_what_is_configured_for_a_route_that_is_there_has_matched(engine: Atrion) -> None:
    engine.decide("GET /a")
    engine.configure("GET /a", tier="low")
    engine.configure("GET /*", tier="low")
    assert engine.unused() == ()


def test_what_never_matched_is_logged_once_after_five_minutes(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    engine = Atrion(clock=clock)
    engine.configure("serach", tier="low")
    with caplog.at_level(logging.WARNING, "atrion"):
        engine.decide("a")
        clock.advance(299.0)
        engine.decide("b")
        assert not caplog.records
        clock.advance(2.0)
        engine.decide("c")
        clock.advance(500.0)
        engine.decide("d")
    (record,) = caplog.records
    assert "serach" in record.getMessage()
    assert record.__dict__["unused"] == ["serach"]
