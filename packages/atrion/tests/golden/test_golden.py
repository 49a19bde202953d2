"""The laws against trajectories of an independent implementation, to a relative 1e-9.

``ATRION_GOLDEN_DIR`` points the same tests at another folder of the same files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from atrion.physics import (
    AdaptiveThreshold,
    Constants,
    PhysicsConfig,
    PhysicsState,
    drive,
    momentum,
    normalize,
    positive_norm,
    resistance,
    scar,
    weight,
)

FOLDER = Path(os.environ.get("ATRION_GOLDEN_DIR", Path(__file__).parent / "data"))


def lines(name: str) -> Iterator[dict[str, Any]]:
    with (FOLDER / f"{name}.jsonl").open() as file:
        rows = [json.loads(line) for line in file]
    assert rows, f"{name}.jsonl holds no line"
    yield from rows


def triple(vector: dict[str, float], error: str = "error") -> tuple[float, float, float]:
    return vector["latency"], vector[error], vector["saturation"]


def same(value: float) -> Any:
    return pytest.approx(value, rel=1e-9, abs=1e-12)


def test_normalize() -> None:
    for row in lines("normalize"):
        assert normalize(row["raw"], row["baseline"], row["steepness"]) == same(row["out"])


def test_momentum() -> None:
    for row in lines("momentum"):
        assert momentum(triple(row["current"]), triple(row["previous"]), row["dt"]) == same(row["out"])


def test_scar() -> None:
    for row in lines("scar"):
        config = row["config"]
        trauma = positive_norm(*triple(row["pressure"])) > config["critical_pressure"]
        got = scar(row["scar"], trauma, config["decay_rate"], config["scar_factor"], row["dt"])
        assert got == same(row["out"])


def test_resistance() -> None:
    for row in lines("resistance"):
        config = row["config"]
        driving = drive(triple(row["weights"]), triple(row["pressure"]))
        kinetic = config["damping"] * row["momentum"]
        got = resistance(config["base_resistance"], driving, kinetic, row["scar"], row["staleness"])
        assert got == same(row["out"])


def test_weights() -> None:
    for row in lines("weights"):
        assert {name: weight(c) for name, c in row["criticality"].items()} == same(row["out"])


def test_adaptive() -> None:
    for row in lines("adaptive"):
        threshold = AdaptiveThreshold(row["static_break"], **row["config"])
        for i, observed in enumerate(row["observe"]):
            threshold.observe(observed)
            assert threshold.mean == same(row["mean"][i])
            assert threshold.std == same(row["std"][i])
            assert threshold.break_point() == same(row["break_point"][i])
            assert threshold.recovery_point() == same(row["recovery_point"][i])


@pytest.mark.parametrize("name", ["trajectories", "trajectories_adaptive"])
def test_trajectories(name: str) -> None:
    for row in lines(name):
        config = PhysicsConfig.reference(**row["config"])
        adaptive = row.get("adaptive")
        threshold = AdaptiveThreshold(adaptive["static_break"], **adaptive["config"]) if adaptive else None
        state = PhysicsState(Constants(config, triple(row["weights"])), threshold)
        baselines = triple(row["baselines"], "error_rate")
        inputs, out = row["input"], row["out"]
        for i, dt in enumerate(inputs["dt"]):
            raw = (inputs["latency"][i], inputs["error_rate"][i], inputs["saturation"][i])
            pressure = [normalize(x, b, config.steepness) for x, b in zip(raw, baselines, strict=True)]
            state.advance(pressure[0], pressure[1], pressure[2], dt)
            assert state.mode.name == out["mode"][i]
            if out["momentum"][i] is not None:
                assert state.momentum == same(out["momentum"][i])
            assert state.scar_tissue == same(out["scar"][i])
            assert state.resistance == same(out["resistance"][i])
            if adaptive:
                assert state.break_point() == same(adaptive["break_point"][i])
