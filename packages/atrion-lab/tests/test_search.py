from __future__ import annotations

import json

import pytest

from atrion.cli import main
from atrion_lab.scenarios import SCENARIOS
from atrion_lab.scenarios.training import TRAINING
from atrion_lab.search import CLAIMS, _try, defaults, search


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search is the same whatever it looks at, and a few scenarios are sooner seen."""
    chosen = [each for each in TRAINING if each.name in ("train-calm", "train-dead")]
    monkeypatch.setattr("atrion_lab.search.TRAINING", chosen)


@pytest.mark.slow
def test_every_claim_is_measured() -> None:
    costs = _try({}, [1], None).costs
    assert set(costs) == {f"{claim.scenario}: {claim.name}" for claim in CLAIMS}
    assert all(0.0 <= points <= 2.0 for points in costs.values())


def test_what_is_trained_on_is_not_reported() -> None:
    assert not {each.name for each in TRAINING} & set(SCENARIOS)
    assert {claim.scenario for claim in CLAIMS} == {each.name for each in TRAINING}


def test_every_scalable_constant_is_varied() -> None:
    assert {"decay_rate", "gain", "SLO.error_rate"} <= set(defaults())
    assert "directed" not in defaults()


def test_points_are_lost_only_for_falling_short() -> None:
    good = next(claim for claim in CLAIMS if claim.name == "served / possible")
    assert good.cost(1.05) == 0.0
    assert good.cost(0.95) == pytest.approx(0.5)
    assert good.cost(0.0) == 2.0
    late = next(claim for claim in CLAIMS if claim.name == "time to recover")
    assert late.cost(0.5) == 0.0
    assert late.cost(6.0) == pytest.approx(1.0)


@pytest.mark.slow
@pytest.mark.usefixtures("few")
def test_a_search_repeats_itself_and_never_ends_worse_on_what_it_saw() -> None:
    base, best = search(2, seed=5, seeds=1)
    again = search(2, seed=5, seeds=1)
    assert (base, best) == again
    assert set(base.costs) == set(best.costs)
    assert base.changes == {}


def test_the_command_refuses_nonsense(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "search", "--trials", "0"]) == 2
    assert "--trials" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("few")
def test_the_command_prints_what_changed(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["lab", "search", "--trials", "1", "--seeds", "1", "--workers", "1"]
    assert main([*arguments, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["default"]["changes"] == {}
    assert printed["best"]["score"] >= 0.0
