"""What the demo says of what it measured: the summary, the table, the picture, and a machine that was too slow."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from atrion_lab.demo.plot import Recording, plot_demo
from atrion_lab.demo.result import Service, as_json, sentence, summary, table, trouble

ROOT = Path(__file__).parents[3]


def phase(good: int, sent: int, shed: int = 0, latencies: tuple[float, ...] = (0.1,)) -> dict[str, Any]:
    tally = {"sent": sent, "good": good, "work": float(good), "shed": shed, "late": sent - good - shed}
    return {
        "tiers": {"critical": tally},
        "latencies": sorted(latencies),
        "seconds": 10.0,
        "cpu": 0.2,
        "lag": 0.0,
        "offered": sent / 10.0,
    }


def test_the_summary_counts_goodput_over_capacity() -> None:
    phases = {"calm": phase(99, 100, 1), "overload": phase(800, 4000, 3000), "recovery": phase(50, 100)}
    found = summary(phases, 100.0)
    assert found == {
        "goodput_ratio": 0.8,
        "critical_success": 0.2,
        "p99_seconds": 0.1,
        "false_reject_ratio": 0.01,
        "recovery_success": 0.5,
    }
    result = {"capacity_rps": 100.0, "offered_rps": 400.0, "unprotected": found, "protected": found}
    assert "false_reject_ratio" not in as_json(result)["unprotected"]
    assert "recovery_success" not in as_json(result)["protected"]
    assert "80%" in table(result)
    assert "4.0 times" in sentence(result)


def test_what_was_answered_counts_by_its_work() -> None:
    phases = {name: phase(800, 4000) for name in ("calm", "overload", "recovery")}
    phases["overload"]["tiers"]["critical"]["work"] = 400.0
    assert summary(phases, 100.0)["goodput_ratio"] == 0.4


@pytest.mark.parametrize(
    "change, service, said",
    [
        ({}, Service(), None),
        ({"cpu": 0.97}, Service(), "97% of a core"),
        ({"offered": 200.0}, Service(), "200 of 400"),
        ({"lag": 3.0}, Service(), "up to 3.0 s"),
        ({}, Service(lag=0.5), "up to 0.5 s"),
        ({}, Service(lag=0.5, cpu=0.95, computes=True), None),
        ({}, Service(lag=0.5, cpu=0.5, computes=True), "only 50% of a core"),
    ],
)
def test_a_machine_that_is_the_bottleneck_is_told(
    change: dict[str, float], service: Service, said: str | None
) -> None:
    found = trouble("with Atrion", {**phase(800, 4000), **change}, service, 400.0)
    assert (found is None) if said is None else (found is not None and said in found)


def test_the_readme_shows_what_the_demo_printed() -> None:
    kept = (ROOT / "docs/tables/demo.txt").read_text()
    readme = (ROOT / "README.md").read_text()
    rows = [re.split(r"  +", line.strip()) for line in kept.splitlines()[3:8]]
    assert all(f"| {' | '.join(row)} |" in readme for row in rows)
    assert kept.split("\n\n")[1] in readme
    run = dict.fromkeys(
        ("goodput_ratio", "critical_success", "p99_seconds", "false_reject_ratio", "recovery_success"), 0.5
    )
    now = table({"unprotected": run, "protected": run}).splitlines()
    assert now[0] in kept
    assert [line[:35] for line in now[2:]] == [line[:35] for line in kept.splitlines()[3 : len(now) + 1]]


def test_the_demo_draws_what_it_measured(tmp_path: Path) -> None:
    tiers = dict.fromkeys(("critical", "high", "normal", "low", "bulk"), 0.5)
    runs = [
        Recording(title, 20.0, [(0.25, 0.3), (0.5, 0.4)], tiers) for title in ("unprotected", "with Atrion")
    ]
    target = tmp_path / "demo.svg"
    plot_demo(runs, 4.0, target)
    assert "<svg" in target.read_text()
