"""The stability map: its arrays are the engine's laws, and its classes mean what they say."""

from __future__ import annotations

import argparse
import functools
import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from atrion.control.saturation import Saturation
from atrion.errors import ConfigurationError
from atrion.physics import BAND_WIDTH, SLO, PhysicsConfig, Tier, band
from atrion_lab.arrays import PhysicsArrays, Recording, SaturationArrays, difference_from_engine
from atrion_lab.commands import stability
from atrion_lab.plant import admitted_share
from atrion_lab.region import largest_box
from atrion_lab.stability import CLASSES, PRESETS, SWEPT, StabilityMap, stability_map

SETTINGS = [
    {"decay_rate": 0.02, "damping": 0.005, "scar_factor": 1.0},
    {"decay_rate": 0.8, "damping": 1.0, "scar_factor": 30.0},
    {"decay_rate": 5.0, "damping": 5.0, "scar_factor": 100.0},
]


@functools.cache
def small(preset: str) -> StabilityMap:
    return stability_map(preset, size=8)


@pytest.fixture(params=list(PRESETS))
def result(request: pytest.FixtureRequest) -> StabilityMap:
    return small(request.param)


def rough(seed: int, ticks: int = 600) -> np.ndarray:
    """Pressures that wander through all of their range and rest at times."""
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.normal(0.0, 0.3, (ticks, 3)), axis=0)
    walk[100:140] = -1.0
    walk[300:330] = 0.0
    return np.tanh(walk)


def recorded(config: PhysicsConfig, swept: dict[str, float], felt: np.ndarray) -> np.ndarray:
    """One element's rows."""
    arrays = PhysicsArrays(
        config, SLO().weights(config.gain), **{name: np.array([value]) for name, value in swept.items()}
    )
    recording = Recording(arrays, np.array([0]))
    for row in felt:
        arrays.advance(row[:, np.newaxis], 0.1)
        recording.take(row[:, np.newaxis])
    return recording.rows()[0]


@pytest.mark.parametrize("preset", list(PRESETS))
@pytest.mark.parametrize("swept", SETTINGS)
def test_arrays_follow_the_engine_tick_by_tick(preset: str, swept: dict[str, float]) -> None:
    config = PRESETS[preset]()
    for seed in range(3):
        rows = recorded(config, swept, rough(seed))
        assert rows[:, 4].max() > 0.5
        assert difference_from_engine(config, SLO().weights(config.gain), swept, rows, 0.1) < 1e-12


def test_saturation_follows_the_engine() -> None:
    arrays, engine = SaturationArrays(1, 90.0, 2.0), Saturation()
    wander = np.cumsum(np.random.default_rng(3).normal(0.0, 0.2, 500))
    for overload in wander.tolist():
        arrays.integrate(np.array([overload]), 0.1)
        engine.integrate(overload, 90.0, 2.0, 0.1, 0.05)
        assert arrays.integral[0] == pytest.approx(engine.integral, rel=1e-12)
        assert arrays.ohms(np.array([overload]))[0] == pytest.approx(
            engine.ohms(overload, 90.0, 2.0), rel=1e-12
        )


@pytest.mark.parametrize("name", list(SWEPT))
def test_a_different_constant_would_be_noticed(name: str) -> None:
    config = PhysicsConfig.reference()
    swept = {"decay_rate": 0.1, "damping": 0.02, "scar_factor": 5.0}
    rows = recorded(config, {**swept, name: 1.001 * swept[name]}, rough(1))
    assert difference_from_engine(config, SLO().weights(config.gain), swept, rows, 0.1) > 1e-6


def test_every_map_is_held_to_the_engine(result: StabilityMap) -> None:
    assert result.engine_difference < 1e-12


def test_classes_follow_from_the_indices(result: StabilityMap) -> None:
    names = np.array(CLASSES)[result.classes]
    assert (result.stuck[names == "deadlock"] > 0.5).all()
    assert (result.stuck[names != "deadlock"] <= 0.5).all()
    assert (result.reversals[names == "stable"] < 0.5).all()
    drifts = np.abs(result.growth) > np.log(1.25)
    assert drifts[names == "chaotic"].all()
    assert not drifts[names == "oscillating"].any()
    assert sum(result.shares().values()) == pytest.approx(1.0)


def test_slow_decay_locks_up_and_fast_decay_never_does(result: StabilityMap) -> None:
    deadlocked = result.classes == CLASSES.index("deadlock")
    assert deadlocked[0].mean() > 0.5
    assert not deadlocked[result.axes["decay_rate"] > 0.2].any()


def test_the_shipped_preset_lies_in_the_recommended_region() -> None:
    found = small("shipped")
    config = PhysicsConfig()
    assert found.region is not None
    assert found.region.holds(**{name: getattr(config, name) for name in SWEPT})
    assert found.classes[found.nearest(config)] == CLASSES.index("stable")


def test_the_bare_laws_swing_where_scars_are_large_and_heal_fast() -> None:
    found = small("reference")
    shares = found.shares()
    assert 0.2 < shares["oscillating"] < 0.6
    assert found.region is None


def test_a_seed_decides_everything() -> None:
    first, again, other = (stability_map("reference", size=3, seed=seed) for seed in (1, 1, 2))
    assert first.to_dict() == again.to_dict()
    assert first.to_dict() != other.to_dict()


def test_progress_reaches_one() -> None:
    told: list[float] = []
    stability_map(size=3, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_admission_falls_from_everybody_to_nobody() -> None:
    shares = admitted_share(np.linspace(10.0, 200.0, 400))
    assert shares[0] == 1.0
    assert shares[-1] == 0.0
    assert (np.diff(shares) <= 1e-12).all()
    middle = band(int(Tier.NORMAL)) + 0.25 * BAND_WIDTH
    assert admitted_share(np.array([middle]))[0] == pytest.approx(2.75 / 5)


def test_the_largest_box_is_the_largest() -> None:
    rng = np.random.default_rng(5)
    axes = {name: np.geomspace(low, high, 4) for name, (low, high) in SWEPT.items()}
    for _ in range(20):
        good = rng.random((4, 4, 4)) < 0.8
        spans = [(low, high) for low in range(4) for high in range(low, 4)]
        most = max(
            (b - a + 1) * (d - c + 1) * (f - e + 1)
            for (a, b), (c, d), (e, f) in itertools.product(spans, repeat=3)
            if good[a : b + 1, c : d + 1, e : f + 1].all()
        )
        box = largest_box(good, axes)
        assert box is not None
        assert box.settings == most
        assert box.good == good.sum()
    assert largest_box(np.zeros((4, 4, 4), dtype=bool), axes) is None


@pytest.mark.parametrize("argument, value", [("preset", "other"), ("size", 2), ("size", 41)])
def test_absurd_maps_are_refused_in_words(argument: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=argument):
        stability_map(**{argument: value})  # type: ignore[arg-type]  # absurd on purpose


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    stability.add_parser(parser.add_subparsers())
    parsed = parser.parse_args(["map", *arguments])
    return int(parsed.run(parsed))


@pytest.mark.slow
def test_the_command_prints_json_and_plots(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    target = tmp_path / "map.svg"
    assert run("--preset", "reference", "--json", "--plot", str(target)) == 0
    printed = json.loads(capsys.readouterr().out)
    assert np.array(printed["classes"]).shape == (20, 20, 20)
    assert printed["class_names"] == list(CLASSES)
    assert printed["engine_difference"] < 1e-12
    assert target.read_text().startswith("<?xml")


@pytest.mark.slow
def test_the_command_speaks_to_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    printed = capsys.readouterr().out
    for word in (*CLASSES, "recommended", "inside"):
        assert word in printed


@pytest.mark.parametrize("name", ["map.pdf", "no/such/folder/map.png"])
def test_an_unusable_plot_file_is_refused_before_any_work(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--plot"):
        run("--plot", str(tmp_path / name))
