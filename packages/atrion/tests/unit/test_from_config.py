"""Engines from TOML, mappings and the environment, checked like code, with the place of the key in the message."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import pytest

from atrion import Atrion, ConfigurationError, PhysicsConfig, PhysicsVector
from atrion.testing import VirtualClock

TOML = """
[tool.atrion]
gamma = 0.5
max_routes = 2
node = "shop-1"

[tool.atrion.slo]
latency = 0.5

[tool.atrion.config]
base_resistance = 12.0
adaptive = { window = 50 }

[tool.atrion.routes."GET /reports/*"]
tier = "low"
slo.latency = 10.0

[tool.atrion.routes.search]
tier = "high"
enforce = false
pool = "db"
config = { base_resistance = 15.0 }
"""


@pytest.fixture(autouse=True)
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ATRION_GAMMA", "ATRION_NODE", "ATRION_ENFORCE", "ATRION_DISABLED"):
        monkeypatch.delenv(name, raising=False)


def written(folder: Path, text: str, name: str = "pyproject.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_file_configures_the_engine_and_its_routes(tmp_path: Path) -> None:
    engine = Atrion.from_config(written(tmp_path, TOML), clock=VirtualClock())
    assert engine.node == "shop-1"
    assert engine.decide("other").resistance == pytest.approx(14.4)
    assert 32.0 <= engine.decide("GET /reports/{id}").voltage < 42.0
    assert "other" not in engine.decide("search").route
    assert len(engine.snapshot()) == 2
    seen = engine.snapshot()["search"]
    assert (seen.pool, seen.enforced, seen.resistance) == ("db", False, pytest.approx(18.0))
    assert engine.unused() == ()


def test_a_file_of_its_own_needs_no_table_around(tmp_path: Path) -> None:
    path = written(tmp_path, 'node = "a"\n[routes."x"]\ntier = "critical"', "atrion.toml")
    for source in (path, str(path)):
        engine = Atrion.from_config(source)
        assert engine.node == "a"
        assert engine.decide("x").voltage >= 92.0


def test_a_mapping_is_the_same() -> None:
    engine = Atrion.from_config({"config": {"base_resistance": 15.0}, "routes": {"x": {"tier": "critical"}}})
    assert engine.decide("x").voltage >= 92.0
    assert engine.decide("x").resistance == pytest.approx(18.0)


def test_the_environment_comes_on_top(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATRION_NODE", "from-env")
    monkeypatch.setenv("ATRION_MAX_ROUTES", "1")
    monkeypatch.setenv("ATRION_CONFIG_BASE_RESISTANCE", "18")
    monkeypatch.setenv("ATRION_CONFIG_DIRECTED", "off")
    monkeypatch.setenv("ATRION_SLO_LATENCY", "none")
    monkeypatch.setenv("ATRION_PROVIDER", "memory:")
    engine = Atrion.from_config({"node": "a", "config": {"base_resistance": 15.0, "decay_rate": 0.5}})
    assert engine.node == "from-env"
    for route in ("a", "b"):
        assert engine.decide(route).resistance == pytest.approx(21.6)
    assert list(engine.snapshot()) == ["b"]
    assert Atrion.from_config().node == "from-env"


def test_what_code_gives_counts_most() -> None:
    engine = Atrion.from_config(
        {"node": "a", "gamma": 0.5}, node="b", config=PhysicsConfig(base_resistance=15.0)
    )
    assert engine.node == "b"
    assert engine.decide("x").resistance == pytest.approx(18.0)


@pytest.mark.parametrize(
    "text, message",
    [
        ("gamma = 2", "[tool.atrion] gamma must be a number in [0, 1], got 2"),
        ("node = 7", "[tool.atrion] node must be 1 to 256 characters, got 7"),
        ("max_routes = 0", "[tool.atrion] max_routes must be a finite number of at least 1, got 0"),
        ('provider = "redos://x"', "[tool.atrion] provider = 'redos://x': "),
        (
            "slo.latency = -1.0",
            "[tool.atrion.slo] latency must be a finite number above 0, got -1.0",
        ),
        ("slo = 1", "[tool.atrion] slo must be a table, got 1"),
        (
            "config.adaptive.window = 0",
            "[tool.atrion.config.adaptive] window must be a finite number of at least 1",
        ),
        ("gama = 0.3", "[tool.atrion] gama = 0.3: there is no such key; did you mean gamma?"),
        ("clock = 1", "[tool.atrion] clock = 1: there is no such key; the keys are provider"),
        (
            'routes.search.tier = "crit"',
            "[tool.atrion.routes.search] tier must be one of critical",
        ),
        (
            'routes."GET /a/*".slo.error_rate = 50',
            '[tool.atrion.routes."GET /a/*".slo] error_rate must be a number in (0, 1], got 50',
        ),
        (
            'routes."GET /a".pool = ""',
            "[tool.atrion.routes.\"GET /a\"] pool must be 1 to 256 characters, got ''",
        ),
        ("routes.a = 1", "[tool.atrion.routes] a must be a table, got 1"),
        ("routes = 1", "[tool.atrion] routes must be a table, got 1"),
        ("enforce = 1", "[tool.atrion] enforce must be True or False, got 1"),
    ],
)
def test_what_is_unusable_is_refused_at_its_place(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as error:
        Atrion.from_config(written(tmp_path, f"[tool.atrion]\n{text}"))
    assert str(error.value).startswith(f"pyproject.toml {message}")


def test_of_a_mapping_the_place_is_the_path_to_the_key() -> None:
    with pytest.raises(
        ConfigurationError, match=r'routes."GET /a".slo.latency must be a finite number above 0, got 0'
    ):
        Atrion.from_config({"routes": {"GET /a": {"slo": {"latency": 0}}}})


@pytest.mark.parametrize(
    "name, text", [("ATRION_GAMMA", "2"), ("ATRION_GAMMA", "much"), ("ATRION_CONFIG_DIRECTED", "perhaps")]
)
def test_of_the_environment_the_place_is_the_variable(
    name: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(ConfigurationError, match=f"^{name} must be .*, got '?{text}'?$"):
        Atrion.from_config({"gamma": 0.3})


def test_a_misspelt_variable_is_told_and_others_are_nobodys(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ATRION_GAMA", "0.3")
    monkeypatch.setenv("ATRION_PORT_6379_TCP", "tcp://10.0.0.1:6379")
    with caplog.at_level(logging.WARNING, "atrion"):
        Atrion.from_config()
    assert caplog.messages == ["ATRION_GAMA in the environment is not read; did you mean ATRION_GAMMA?"]


@pytest.mark.parametrize(
    "name, text, words",
    [
        ("missing.toml", None, "No such file"),
        ("broken.toml", "gamma = \nnode = 1", "line 1"),
        ("pyproject.toml", "[project]", r"add a table \[tool.atrion\]"),
    ],
)
def test_a_file_that_cannot_be_used(name: str, text: Any, words: str, tmp_path: Path) -> None:
    if text is not None:
        written(tmp_path, text, name)
    with pytest.raises(ConfigurationError, match=words):
        Atrion.from_config(tmp_path / name)


def test_a_subclass_makes_its_own() -> None:
    class Mine(Atrion):
        pass

    engine = Mine.from_config({})
    assert type(engine) is Mine
    engine.restore("r", PhysicsVector(0.0, 0.0, 1.0, 0.0))


def test_a_licence_key_is_not_taken_from_a_file_nor_shown() -> None:
    for key in ("license", "licence", "license_key"):
        with pytest.raises(ConfigurationError, match="ATRION_LICENSE_KEY") as caught:
            Atrion.from_config({key: "atrion_pro_secret"})
        assert "secret'" not in str(caught.value)
        assert "atrion_pro" not in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        {"atrion": {"license": "atrion_pro_c2VjcmV0.c2VjcmV0.c2VjcmV0"}},
        {"provider": ["atrion_ent_c2VjcmV0"]},
        {"node": "atrion_start_c2VjcmV0.c2VjcmV0" * 100},
    ],
)
def test_a_licence_key_in_the_wrong_place_is_not_shown(data: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Atrion.from_config(data)
    shown = f"{caught.value} {caught.value!r} {caught.value.as_dict()} {caught.value.args}"
    assert "c2VjcmV0" not in shown
    assert "_…" in shown
    assert pickle.loads(pickle.dumps(caught.value)) == caught.value


def test_a_misspelt_name_of_the_licence_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ATRION_LICENCE_KEY", "atrion_pro_secret")
    Atrion.from_config()
    assert "did you mean ATRION_LICENSE_KEY?" in caplog.text
    assert "secret" not in caplog.text
