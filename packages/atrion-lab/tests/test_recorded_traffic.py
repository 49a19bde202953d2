"""Scenarios whose calls, and the work that they bring, were recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from atrion.errors import AtrionError, ConfigurationError
from atrion_lab.arrivals import Instants
from atrion_lab.replay import BadTelemetry
from atrion_lab.scenario_file import load_file, read_text
from atrion_lab.services import Recorded
from small_scenario import PLAIN, describe

TRACED = PLAIN.replace(
    'law = "fixed", mean = 0.05', 'law = "trace", file = "calls.csv", column = "took"'
).replace('law = "poisson", rate = 20', 'law = "trace", file = "calls.csv", column = "at", scale = 2')


def test_recorded_calls_come_when_they_did_and_take_what_they_took(tmp_path: Path) -> None:
    (tmp_path / "calls.csv").write_text(
        "at,took\n2023-11-16 18:15:46.6805900,0.5\n2023-11-16 18:15:48.6805900,0.25\n", encoding="utf-8"
    )
    (tmp_path / "mine.toml").write_text(TRACED, encoding="utf-8")
    scenario = load_file(tmp_path / "mine.toml").scenario
    arrivals, law = scenario.traffic[0].arrivals, scenario.servers["api"].law
    assert isinstance(arrivals, Instants)
    assert arrivals.at == pytest.approx((0.0, 1.0))
    assert law == Recorded((0.5, 0.25))


TOKENS = PLAIN.replace(
    'law = "fixed", mean = 0.05',
    'law = "trace", file = "calls.csv", columns = { read = 0.0001, written = 0.03 }',
)


def test_work_may_be_counted_in_units_of_several_columns(tmp_path: Path) -> None:
    (tmp_path / "calls.csv").write_text("read,written\n1000,10\n200,0\n", encoding="utf-8")
    law = describe(TOKENS, tmp_path).scenario.servers["api"].law
    assert isinstance(law, Recorded)
    assert law.times == pytest.approx((0.4, 0.02))
    (tmp_path / "calls.csv").write_text("read,written\n1000,10\n0,0\n", encoding="utf-8")
    with pytest.raises(BadTelemetry, match="line 3, column read, written"):
        describe(TOKENS, tmp_path)
    with pytest.raises(ConfigurationError, match="not both"):
        describe(TOKENS.replace("columns", 'column = "read", columns'), tmp_path)
    with pytest.raises(ConfigurationError, match="seconds a unit"):
        describe(TOKENS.replace("{ read = 0.0001, written = 0.03 }", "{ read = 0 }"), tmp_path)


@pytest.mark.parametrize(
    "content",
    ["", "at,took\n", "at\n1\n", "at,took\nsoon,1\n", "at,took\n1,0\n", "at,took\n1,nan\n", "at,took\n1\n"],
)
def test_recordings_that_cannot_be_used_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "calls.csv").write_text(content, encoding="utf-8")
    with pytest.raises(AtrionError, match=r"calls\.csv"):
        describe(TRACED, tmp_path)


@pytest.mark.parametrize("name", ["azure-conv", "azure-code"])
def test_the_example_of_recorded_traffic_reads_what_it_names(tmp_path: Path, name: str) -> None:
    text = (Path(__file__).parents[3] / f"examples/traces/{name}.toml").read_text(encoding="utf-8")
    recording = tmp_path / f"AzureLLMInferenceTrace_{name[-4:]}.csv"
    recording.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n"
        "2023-11-16 18:15:50.9951690,396,109\n",
        encoding="utf-8",
    )
    scenario = read_text(text, tmp_path).scenario
    assert scenario.servers["api"].law.mean == pytest.approx((0.0374 + 1.32 + 0.0396 + 3.27) / 2)
    assert scenario.slo is None
