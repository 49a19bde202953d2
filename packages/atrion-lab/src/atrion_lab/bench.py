"""The table of targets, computed from runs over many seeds in several processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from atrion.errors import MissingExtraError
from atrion_lab.measures import MEASURES
from atrion_lab.metrics import interval
from atrion_lab.parallel import parallel
from atrion_lab.policies.catalog import BASELINES, controller
from atrion_lab.policies.common import Facts
from atrion_lab.scenario import simulate
from atrion_lab.scenarios import scenario

__all__ = ["ROWS", "Job", "Result", "Row", "available", "bench", "jobs", "play", "results"]

LOADS = ("steady-1.2x", "steady-1.5x", "steady-2x", "steady-4x", "steady-10x")
GOODPUT = "goodput / capacity"
EQUAL = 0.02
"""Goodput within which two controllers count as equal."""


@dataclass(frozen=True, slots=True)
class Row:
    """One claim: ``measure`` in ``scenario`` is at least, or with ``most`` at most, ``target``.

    ``against`` compares with the baselines: "best" takes the difference to the best of them, "ratio" the quotient
    by the lowest among those of equal goodput, and the name of a scenario the relative change from there.
    """

    measure: str
    scenario: str
    target: float
    most: bool = False
    against: str = ""
    label: str = ""

    @property
    def name(self) -> str:
        """What the row is called."""
        return self.label or self.measure


def _most(measure: str, scenario: str, target: float, **options: str) -> Row:
    return Row(measure, scenario, target, most=True, **options)


ROWS: tuple[Row, ...] = (
    *(Row(GOODPUT, load, 0.95 if load == "steady-10x" else 0.97) for load in LOADS),
    *(
        Row(GOODPUT, f"steady-4x-{law}", 0.97 if law != "heavy-tailed" else 0.95)
        for law in ("exponential", "bimodal", "heavy-tailed")
    ),
    *(Row(GOODPUT, load, -0.02, against="best", label="goodput less the best baseline's") for load in LOADS),
    *(Row("critical success", load, 0.99) for load in ("steady-2x", "steady-4x", "steady-8x")),
    *(Row("critical success / possible", load, 0.95) for load in ("steady-10x", "critical-only")),
    *(_most("p99 of admitted / deadline", load, 0.5) for load in LOADS),
    *(
        _most("p99 of admitted, s", load, 1.2, against="ratio", label="p99 over the best equal baseline's")
        for load in LOADS
    ),
    *(_most("rejected", load, 0.001, label="false rejects") for load in ("steady-0.5x", "steady-0.8x")),
    *(_most("break transitions", load, 0.0) for load in (*LOADS, "flash-crowd", "cold-start-in-overload")),
    Row(GOODPUT, "cold-start-in-overload", 0.95, label="goodput after 2 s"),
    _most("time to shed, s", "flash-crowd", 1.0),
    _most("time to recover, s", "flash-crowd", 3.0),
    Row("goodput after / before", "retry-storm", 0.99),
    _most("wasted calls", "dead-dependency", 0.02, label="calls wasted after 1 s"),
    _most("time to full service, s", "dead-dependency", 5.0),
    Row("served / possible at 20%", "gray-failure-20%", 0.95),
    Row(
        "served / possible at 50%",
        "gray-failure-50%",
        -0.001,
        against="best",
        label="served / possible less the best baseline's",
    ),
    _most("second noticed later by, s", "slow-ramp", 0.2),
    Row("Jain's index over keys", "fair-hour", 0.9),
    Row("steadiness per key and minute", "fair-hour", 0.75),
    _most("pulses until others follow", "cluster-outage", 2.0),
    *(
        Row(measure, name, target, label=label)
        for measure, name, target, label in (
            ("critical success", "black-friday", 0.95, "checkouts served"),
            ("critical success", "black-friday-unnamed", 0.95, "checkouts served"),
            ("normal success", "microservice-domino", 0.99, "home page served"),
            ("normal success", "ddos-tarpit", 0.95, "honest requests served"),
            ("critical success", "iot-sampling", 0.99, "alarms kept"),
            ("critical success", "low-flood", 0.99, "critical success"),
            ("worth / capacity", "game-lod", 0.97, "worth of all answers / capacity"),
            (GOODPUT, "rolling-restart", 0.95, GOODPUT),
            ("success", "healthy-pods", 0.999, "success of every pod"),
        )
    ),
    _most("share of the sick route", "llm-router", 0.1),
    _most("wasted calls", "hung-dependency", 0.03),
    _most("wasted calls", "cluster-partition", 0.03),
    _most("success", "poisoned-pod", 0.01, against="healthy-pods", label="success lost to a poisoned pod"),
)

Job = tuple[str, str, int, tuple[str, ...]]
"""Scenario, controller, seed, and the measures to take."""
Result = dict[tuple[str, str, str], dict[int, float]]
"""Values by seed, of (measure, scenario, controller)."""


def play(job: Job) -> tuple[Job, dict[str, float]]:
    """Play one run and take its measures; in a process of its own."""
    name, policy, seed, measures = job
    played = scenario(name)
    run = simulate(played, controller(policy), seed)
    return job, {measure: MEASURES[measure](played, run) for measure in measures}


def jobs(
    rows: Iterable[Row], subject: str, baselines: Sequence[str], seeds: Sequence[int], fewer: Sequence[int]
) -> list[Job]:
    """The runs that ``rows`` need, each once, the longest first; baselines are played with ``fewer`` seeds."""
    wanted: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        measures = {row.measure, GOODPUT} if row.against == "ratio" else {row.measure}
        wanted.setdefault((row.scenario, subject), set()).update(measures)
        if row.against in ("best", "ratio"):
            for name in baselines:
                wanted.setdefault((row.scenario, name), set()).update(measures)
        elif row.against:
            wanted.setdefault((row.against, subject), set()).update(measures)
    planned = [
        (name, policy, seed, tuple(sorted(measures)))
        for (name, policy), measures in wanted.items()
        for seed in (seeds if policy == subject else fewer)
    ]
    return sorted(planned, key=lambda job: -_weight(job[0]))


def _weight(name: str) -> float:
    played = scenario(name)
    return played.seconds * sum(len(server.phases) + server.workers for server in played.servers.values())


def results(
    planned: Sequence[Job], workers: int, tell: Callable[[int, int], None] = lambda done, of: None
) -> Result:
    """Play all jobs, in ``workers`` processes; ``tell`` hears how many are done."""
    found: Result = {}
    for done, ((name, policy, seed, _), measured) in enumerate(parallel(play, planned, workers), 1):
        for measure, value in measured.items():
            found.setdefault((measure, name, policy), {})[seed] = value
        tell(done, len(planned))
    return found


def available(name: str) -> bool:
    """Whether a controller can be made here: some are other people's libraries."""
    found = controller(name)
    try:
        if not found.spans:
            found.make(Random(0), Facts())
    except MissingExtraError:
        return False
    return True


def _values(row: Row, found: Result, subject: str, baselines: Sequence[str]) -> tuple[list[float], str]:
    """The row's value by seed, and the name of the baseline it is compared with."""
    own = found[row.measure, row.scenario, subject]
    if not row.against:
        return [own[seed] for seed in sorted(own)], ""
    if row.against not in ("best", "ratio"):
        other = found[row.measure, row.against, subject]
        return [1.0 - own[seed] / other[seed] for seed in sorted(own)], row.against
    measure = GOODPUT if row.against == "ratio" else row.measure
    means = {name: interval(list(found[measure, row.scenario, name].values()))[0] for name in baselines}
    if row.against == "best":
        best = max(means, key=means.__getitem__)
        other = found[row.measure, row.scenario, best]
        return [own[seed] - other[seed] for seed in sorted(other)], best
    least = interval(list(found[GOODPUT, row.scenario, subject].values()))[0] - EQUAL
    equal = [name for name in baselines if means[name] >= least]
    if not equal:
        return [1.0], "none has equal goodput"
    tails = {name: interval(list(found[row.measure, row.scenario, name].values()))[0] for name in equal}
    best = min(tails, key=tails.__getitem__)
    other = found[row.measure, row.scenario, best]
    return [own[seed] / other[seed] for seed in sorted(other)], best


def bench(
    subject: str = "atrion",
    *,
    quick: bool = False,
    seeds: int | None = None,
    first: int = 1,
    workers: int | None = None,
    rows: Sequence[Row] = ROWS,
    tell: Callable[[int, int], None] = lambda done, of: None,
) -> list[dict[str, Any]]:
    """Every row, as plain data; ``met`` says whether the mean over the seeds reaches the target."""
    count = seeds or (1 if quick else 10)
    chosen = range(first, first + count)
    baselines = tuple(name for name in BASELINES if available(name))
    planned = jobs(rows, subject, baselines, chosen, chosen[:1] if quick else chosen)
    found = results(planned, workers or (1 if quick else os.cpu_count() or 1), tell)
    table = []
    for row in rows:
        values, against = _values(row, found, subject, baselines)
        value, low, high = interval(values)
        met = value <= row.target + 1e-9 if row.most else value >= row.target - 1e-9
        table.append(
            {
                "measure": row.name,
                "scenario": row.scenario,
                "controller": subject,
                "value": round(value, 5),
                "low": round(low, 5),
                "high": round(high, 5),
                "target": row.target,
                "sense": "at most" if row.most else "at least",
                "met": met,
                "against": against,
                "seeds": len(values),
            }
        )
    return table
