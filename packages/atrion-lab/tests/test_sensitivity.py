from __future__ import annotations

import json
import sys
from dataclasses import fields
from types import ModuleType
from typing import Any

import pytest

import atrion
from atrion.cli import main
from atrion.errors import AtrionError
from atrion.physics.config import PhysicsConfig
from atrion_lab.constants import CONFIG, Constant, changed, constants
from atrion_lab.scenarios import DESCRIBED
from atrion_lab.sensitivity import FACTORS, MEASURES, SCENARIOS, sensitivity

pure = pytest.mark.skipif(atrion.compiled, reason="the compiled core has its constants built in")
GAIN = Constant("gain", CONFIG, 50.0, "Ohms a weight of 1 is worth, > 0.")


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> tuple[ModuleType, ModuleType, ModuleType]:
    """A module with a constant, one that has imported it, and one with a constant of the same name and value."""
    owner, user, other = (ModuleType(f"atrion._{name}") for name in ("owner", "user", "other"))
    vars(owner)["LIMIT"] = vars(user)["LIMIT"] = float("2.5")
    vars(other)["LIMIT"] = float("2.5")
    for module in (owner, user, other):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return owner, user, other


@pure
def test_constants_are_what_the_source_documents() -> None:
    found = {each.label: each for each in constants()}
    numbers = {
        f"PhysicsConfig.{field.name}"
        for field in fields(PhysicsConfig)
        if type(getattr(PhysicsConfig(), field.name)) in {int, float}
    }
    assert numbers <= set(found)
    assert found["PhysicsConfig.gain"] == GAIN
    # What the class says over two lines is one meaning; what has no docstring is no choice.
    assert all(each.meaning and "\n" not in each.meaning for each in found.values())
    places = {each.place for each in found.values()}
    assert {"atrion.sensing.capacity", "atrion.sensing.contrast", "atrion.control.saturation"} <= places
    assert "contrast.TIERS" not in found


def test_a_compiled_core_is_told_with_the_cure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(atrion, "compiled", True)
    with pytest.raises(AtrionError, match="ATRION_COMPILE=0"):
        constants()
    assert main(["lab", "search", "--sensitivity"]) == 1
    assert "this one is compiled" in capsys.readouterr().err


def test_a_share_stays_one_and_a_count_stays_whole() -> None:
    share = Constant("SHARE", "atrion.x", 0.8, "Share of the time that is busy: more is a queue.")
    assert [share.times(factor) for factor in FACTORS] == pytest.approx([0.4, 0.9])
    calls = Constant("LOW", "atrion.x", 0.75, "Low calls, in capacities, that end a dip.")
    assert [calls.times(factor) for factor in FACTORS] == [0.375, 1.5]
    count = Constant("ASKS", "atrion.x", 5, "Requests of which one may be a probe.")
    assert [count.times(factor) for factor in FACTORS] == [2, 10]
    assert Constant("ONE", "atrion.x", 1, "Calls.").times(0.5) == 1


def test_another_value_holds_wherever_it_was_imported_and_only_meanwhile(limit: tuple[Any, Any, Any]) -> None:
    owner, user, other = limit
    constant = Constant("LIMIT", owner.__name__, 2.5, "Seconds.")

    def fail() -> None:
        with changed(constant, 5.0) as config:
            assert (owner.LIMIT, user.LIMIT, other.LIMIT) == (5.0, 5.0, 2.5)
            assert config == PhysicsConfig()
            raise RuntimeError("within")

    with pytest.raises(RuntimeError, match="within"):
        fail()
    assert (owner.LIMIT, user.LIMIT, other.LIMIT) == (2.5, 2.5, 2.5)
    with changed(GAIN, 25.0) as config:
        assert config == PhysicsConfig(gain=25.0)


def test_each_constant_is_halved_and_doubled_against_the_defaults() -> None:
    told: list[float] = []
    critical = Constant("critical_pressure", CONFIG, 1.0, "P_crit.")
    base, changes = sensitivity(
        [GAIN, critical], scenarios=("few-workers-1",), seeds=(1, 2), workers=1, tell=told.append
    )
    assert [change.value for change in changes] == [25.0, 100.0, 0.5, 2.0]
    assert set(base.mean()) == set(MEASURES)
    assert changes[0].mean() != base.mean()
    assert not changes[0].problem
    assert changes[3].problem == "out of range"
    assert told[-1] == 1.0
    again, _ = sensitivity([], scenarios=("few-workers-1",), seeds=(1, 2), workers=1)
    assert again == base


def test_a_value_that_the_control_cannot_work_with_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    from atrion_lab import sensitivity as module

    real = module.simulate

    def broken(scenario: Any, controller: Any, seed: int, **rest: Any) -> Any:
        policy = controller.make()
        if getattr(policy, "_config", PhysicsConfig()).gain == 25.0:
            raise ZeroDivisionError("of nothing")
        return real(scenario, controller, seed, **rest)

    monkeypatch.setattr(module, "simulate", broken)
    _, (half, double) = sensitivity([GAIN], scenarios=("burst-of-200",), workers=1)
    assert half.problem == "ZeroDivisionError: of nothing"
    assert not double.problem


def test_what_suffers_most_is_named() -> None:
    from atrion_lab.sensitivity import Change

    fine = {"idle_rejects": 0.0, "work_over_possible": 1.0, "critical_success": 1.0, "p99_over_deadline": 0.5}
    base = Change(None, 0.0, {"calm": fine, "crowd": fine})
    assert Change(GAIN, 25.0, base.found).suffers(base) == ""
    worse = {"calm": {**fine, "idle_rejects": 0.02}, "crowd": {**fine, "critical_success": 0.9}}
    assert Change(GAIN, 25.0, worse).suffers(base) == "crowd"


def test_the_scenarios_come_along() -> None:
    assert set(SCENARIOS) <= set(DESCRIBED)


@pure
def test_the_command_prints_a_table_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["lab", "search", "--sensitivity", "--seeds", "1", "--workers", "1"]
    chosen = [*arguments, "--only", "Config.gain,Config.staleness_cap", "--scenarios", "few-workers-1"]
    assert main(chosen) == 0
    printed = capsys.readouterr().out
    assert "PhysicsConfig.gain = 50: Ohms a weight of 1 is worth, > 0." in printed
    assert "25 or 100  nothing changes" in printed
    assert main([*chosen, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["constant"] for row in found["constants"]] == [
        "PhysicsConfig.gain",
        "PhysicsConfig.staleness_cap",
    ]
    assert [change["value"] for change in found["constants"][0]["changes"]] == [25.0, 100.0]
    assert set(found["defaults"]) == set(MEASURES)


@pure
@pytest.mark.parametrize(
    "wrong, said",
    [
        (["--sensitivity", "--only", "nonsense"], "PhysicsConfig.gain"),
        (["--sensitivity", "--scenarios", "nonsense"], "burst-of-200"),
        (["--only", "gain"], "use it with --sensitivity"),
    ],
)
def test_the_command_says_what_there_is(
    wrong: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lab", "search", *wrong]) == 2
    assert said in capsys.readouterr().err
