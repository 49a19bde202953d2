from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import pytest

from atrion import (
    SLO,
    AdaptiveBreak,
    Atrion,
    AtrionError,
    ConfigurationError,
    InMemoryProvider,
    PhysicsConfig,
    Tier,
)
from atrion.errors import MissingExtraError
from atrion.physics import unit_hash, weight
from atrion.providers import provider_from

BAD: list[tuple[Any, str, Any]] = [
    *[
        (PhysicsConfig, name, -1.0)
        for name in (
            "base_resistance",
            "decay_rate",
            "scar_factor",
            "scar_cap",
            "damping",
            "momentum_cap",
            "critical_pressure",
            "break_multiplier",
            "bootstrap_ticks",
            "steepness",
            "gain",
            "tick",
            "staleness_rate",
            "staleness_cap",
        )
    ],
    *[(PhysicsConfig, name, math.nan) for name in ("base_resistance", "scar_cap", "momentum_cap", "tick")],
    (PhysicsConfig, "base_resistance", 0.0),
    (PhysicsConfig, "decay_rate", math.inf),
    (PhysicsConfig, "gain", "50"),
    (PhysicsConfig, "gain", True),
    (PhysicsConfig, "critical_pressure", 1.8),
    (PhysicsConfig, "break_multiplier", 1.0),
    (PhysicsConfig, "bootstrap_ticks", 0),
    (PhysicsConfig, "directed", 1),
    (PhysicsConfig, "adaptive", "yes"),
    (SLO, "latency", 0.0),
    (SLO, "error_rate", 1.5),
    (SLO, "latency_criticality", 11.0),
    (SLO, "error_criticality", -0.1),
    (SLO, "saturation_criticality", None),
    (AdaptiveBreak, "window", 0),
    (AdaptiveBreak, "sensitivity", -1.0),
    (AdaptiveBreak, "floor", 0.0),
    (AdaptiveBreak, "ceiling", 29.0),
    (AdaptiveBreak, "warmup_ticks", -1),
    (AdaptiveBreak, "recovery_multiplier", 0.0),
]


@pytest.mark.parametrize("kind, field, value", BAD)
def test_a_bad_value_is_refused_by_name(kind: Any, field: str, value: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        kind(**{field: value})
    assert caught.value.field == f"{kind.__name__}.{field}"
    message = str(caught.value)
    assert message.startswith(f"{kind.__name__}.{field} must be ")
    assert message.endswith(f", got {value!r}")
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, AtrionError)


@pytest.mark.parametrize(
    "options, field",
    [
        ({"gamma": -0.1}, "gamma"),
        ({"gamma": 1.1}, "gamma"),
        ({"gamma": 10**400}, "gamma"),
        ({"max_routes": 0}, "max_routes"),
        ({"interval": 0.0}, "interval"),
        ({"interval": math.inf}, "interval"),
        ({"node": ""}, "node"),
        ({"node": "n" * 257}, "node"),
        ({"config": "fast"}, "config"),
        ({"slo": 3}, "slo"),
        ({"provider": "nosuch://host"}, "provider"),
        ({"provider": 42}, "provider"),
        ({"provider": "redis://[bad"}, "provider"),
    ],
)
def test_a_bad_engine_is_refused_by_name(options: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Atrion(**options)
    assert caught.value.field == field
    assert str(caught.value).startswith((f"{field} must be ", f"{field} = "))


@pytest.mark.parametrize("route_id", ["", "r" * 257, 7])
def test_a_bad_route_id_is_refused(engine: Atrion, route_id: Any) -> None:
    for ask in (engine.decide, engine.configure, engine.flow, engine.protect, engine.reset):
        with pytest.raises(ConfigurationError) as caught:
            ask(route_id)
        assert caught.value.field == "route_id"
    assert engine.snapshot() == {}


def test_bad_arguments_of_calls(engine: Atrion) -> None:
    with pytest.raises(
        ConfigurationError, match=r"tier must be one of critical, high, normal, low, bulk, got 'vip'"
    ):
        engine.decide("r", "vip")
    with pytest.raises(ConfigurationError, match="tier"):
        engine.protect("r", tier="vip")
    with pytest.raises(ConfigurationError, match="voltage"):
        engine.route("r", None, math.nan)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="beta"):
        engine.select(["r"], beta=-1.0)
    with pytest.raises(ConfigurationError, match="routes"):
        engine.select([])
    with pytest.raises(ConfigurationError, match="gamma"):
        engine.configure("r", gamma=2.0)
    with pytest.raises(ConfigurationError, match="max_routes"):
        InMemoryProvider(0)


def test_an_unknown_url_names_the_known_ones_and_hides_the_password() -> None:
    with pytest.raises(ConfigurationError, match="memory") as caught:
        provider_from("nosuch://joe:secret@host/0")
    assert "secret" not in str(caught.value)
    assert "secret" not in str(caught.value.value)
    assert "joe:***@host" in str(caught.value)


def test_providers_by_url_and_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(provider_from(None), InMemoryProvider)
    assert isinstance(provider_from("memory://"), InMemoryProvider)
    given = InMemoryProvider()
    assert provider_from(given) is given

    class Factory:
        name = "fake"

        @staticmethod
        def load() -> Any:
            return Factory

        @staticmethod
        def from_url(url: str) -> InMemoryProvider:
            assert url == "fake://x"
            return given

    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [Factory])
    assert provider_from("fake://x") is given


def test_the_reference_preset() -> None:
    config = PhysicsConfig.reference(scar_factor=7.0)
    assert (config.base_resistance, config.decay_rate, config.scar_factor) == (10.0, 0.1, 7.0)
    assert (config.damping, config.critical_pressure, config.break_multiplier) == (0.02, 0.7, 10.0)
    assert (config.bootstrap_ticks, config.steepness, config.directed) == (10, 1.0, False)
    assert config.scar_cap == math.inf
    with pytest.raises(ConfigurationError, match="the fields are"):
        PhysicsConfig.reference(sigma=3.0)


def test_configuration_is_frozen() -> None:
    for thing in (PhysicsConfig(), SLO(), AdaptiveBreak()):
        with pytest.raises(AttributeError):
            setattr(thing, fields(thing)[0].name, 1)


def test_weights_come_in_ohms() -> None:
    assert SLO(latency_criticality=0.0).weights(50.0)[0] == 0.0
    assert SLO(error_criticality=9.0).weights(50.0)[1] == pytest.approx(50.0 * math.log(10.0))
    assert weight(9.0) == pytest.approx(math.log(10.0))


def test_tiers() -> None:
    assert Tier.parse("Critical") is Tier.CRITICAL
    assert Tier.parse(Tier.LOW) is Tier.LOW
    assert sorted(Tier) == [Tier.BULK, Tier.LOW, Tier.NORMAL, Tier.HIGH, Tier.CRITICAL]
    for bad in ("", "vip", 3, None):
        with pytest.raises(ConfigurationError):
            Tier.parse(bad)


def test_hashed_places_are_the_same_in_every_process_and_spread() -> None:
    assert unit_hash("alice") == 0.35744682396762073
    assert unit_hash("alice", 0.25) == pytest.approx((unit_hash("alice") + 0.25) % 1.0)
    assert unit_hash("\ud800") != unit_hash("\ud801")
    places = [unit_hash(f"user-{i}") for i in range(10_000)]
    for decile in range(10):
        share = sum(decile <= place * 10.0 < decile + 1 for place in places) / len(places)
        assert 0.08 < share < 0.12


def test_a_missing_extra_names_the_command() -> None:
    assert 'pip install "atrion[lab]"' in str(MissingExtraError("plots", "lab"))
