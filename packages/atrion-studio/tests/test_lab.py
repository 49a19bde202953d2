"""What if, and the lab: simulations in processes of their own, and γ computed from the recorded scars."""

from __future__ import annotations

import time
from typing import Any

import pytest

from atrion import AtrionError, ConfigurationError
from atrion_studio.history import History
from atrion_studio.lab import Lab, Unusable
from test_history import PARTS, row

pytestmark = pytest.mark.anyio

OWN = """
name = "mine"
seconds = 5
[servers.api]
workers = 4
service = { law = "fixed", mean = 0.05 }
[[traffic]]
to = "api"
arrivals = { law = "poisson", rate = 40 }
deadline = 1.0
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def recorded(seconds: int = 60, **changes: Any) -> History:
    """A route that was asked 12.5 times a second until now."""
    history = History()
    now = time.time()
    for second in range(seconds):
        history.record(now - seconds + second, {"a": row(10.0) | changes})
    return history


async def test_another_gamma_blends_the_same_scars_otherwise() -> None:
    # The others' scar is 40 Ω above this node's, of which γ = 0.3 makes 12 Ω.
    history = recorded(resistance=40.0, parts=PARTS | {"base": 10.0, "scar": 18.0, "cluster": 12.0})
    mix = {"low": 100}
    for gamma, ohms, refused in ((0.3, 40.0, 0.8), (0.0, 28.0, 0.0), (1.0, 68.0, 1.0)):
        found = await Lab().what_if({"route": "a", "gamma": gamma, "seconds": 30, "mix": mix}, history)
        assert found["kind"] == "computed"
        assert found["resistance"][0][-1] == pytest.approx(40.0)
        assert found["resistance"][1][-1] == pytest.approx(ohms, abs=0.1)
        assert found["refused"][1][-1] == pytest.approx(refused, abs=0.02)


async def test_more_traffic_is_played_again_beside_what_was() -> None:
    found = await Lab().what_if({"route": "a", "scale": 8.0, "seconds": 45}, recorded())
    was, would = (run["summary"] for run in found["runs"])
    assert was["rejected_share"] < would["rejected_share"]
    assert would["offered_per_capacity"] == pytest.approx(8.0 * was["offered_per_capacity"], rel=0.2)
    assert "50 ms" in found["assumed"]


@pytest.mark.parametrize(
    "wanted",
    [
        {"route": "nowhere", "gamma": 0.5},
        {"route": "a", "gamma": 2},
        {"route": "a", "scale": "twice"},
        {"route": "a", "workers": True},
        {"route": "a", "tier": "vip"},
        {"route": "a", "seconds": 1e9, "gamma": 0.5},
    ],
)
async def test_questions_that_cannot_be_answered_are_refused(wanted: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        await Lab().what_if(wanted, recorded())


async def test_a_text_is_played_with_two_controllers() -> None:
    runs = [{"toml": OWN, "controller": name} for name in ("atrion", "none")]
    found = (await Lab().run({"runs": runs}))["runs"]
    assert [run["controller"] for run in found] == ["atrion", "none"]
    assert len(found[0]["at"]) == len(found[0]["series"]["offered"]) == 10
    assert found[0]["series"]["resistance"][-1] is not None


@pytest.mark.parametrize(
    "run, text",
    [
        ({"scenario": "no-such-one"}, "no-such-one"),
        ({"scenario": "flash-crowd", "controller": "nobody"}, "nobody"),
        ({"scenario": "flash-crowd", "seed": -1}, "seed"),
        ({"toml": "name ="}, "TOML"),
        ({"toml": OWN.replace("seconds = 5", "seconds = 5000")}, "at most 900"),
        (
            {
                "toml": OWN.replace(
                    '{ law = "poisson", rate = 40 }', '{ law = "trace", file = "/etc/passwd" }'
                )
            },
            "file",
        ),
    ],
)
async def test_runs_that_cannot_be_played_are_explained(run: dict[str, Any], text: str) -> None:
    with pytest.raises(Unusable, match=text) as error:
        await Lab().run({"runs": [run]})
    assert "root:" not in str(error.value)


async def test_runs_are_bounded() -> None:
    for runs in (None, [], [{}] * 3, ["flash-crowd"]):
        with pytest.raises(ConfigurationError):
            await Lab().run({"runs": runs})
    with pytest.raises(ConfigurationError, match="characters"):
        await Lab().run({"runs": [{"toml": "#" * 20_000}]})


async def test_scenarios_and_controllers_are_listed() -> None:
    found = await Lab().scenarios()
    assert found["scenarios"]["flash-crowd"]
    assert {"atrion", "none"} <= found["controllers"].keys()


async def test_without_the_lab_it_says_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    lab = Lab()
    assert not lab.available
    assert await lab.scenarios() == {"scenarios": {}, "controllers": {}}
    with pytest.raises(AtrionError, match="pip install"):
        await lab.run({"runs": [{"scenario": "flash-crowd"}]})
