"""Published experiments of other overload controls: what was reported, and what the lab finds in the same situation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from atrion_lab.measures import MEASURES, NEVER, recovery
from atrion_lab.metrics import Run, interval
from atrion_lab.parallel import parallel
from atrion_lab.policies.catalog import Controller, controller
from atrion_lab.policies.dagor import Dagor
from atrion_lab.scenario import Scenario, simulate
from atrion_lab.scenarios import described
from atrion_lab.scenarios.published import BREAKWATER, DAGOR, METASTABLE, STEP

__all__ = ["EXPERIMENTS", "Experiment", "Row", "lines", "play", "play_all", "random_shedding", "settles"]

QUALITATIVE = "qualitatively"
"""Stands where stored sources tell of a curve and no number."""
SPAN = 0.01
"""Seconds over which Breakwater's goodput is taken while it settles."""
SETTLED = 0.9
"""Share of the capacity that counts as settled."""

KEEN = Controller(
    "dagor-60us",
    "DAGOR with the threshold that Breakwater's artifact gives it for exponential services of 10 µs",
    lambda rng, facts: Dagor(rng, threshold=60e-6),
)
OWN = {KEEN.name: KEEN}
"""Controllers of these experiments alone."""


def settles(scenario: Scenario, run: Run) -> float:
    """Milliseconds after the step from which on every SPAN has SETTLED of the capacity answered in time."""
    deadline = scenario.traffic[0].deadline
    spans = [0] * round((scenario.seconds - STEP) / SPAN)
    for at, latency in zip(run.arrived, run.latencies, strict=True):
        index = int((at - STEP) / SPAN)
        if at >= STEP and latency <= deadline and index < len(spans):
            spans[index] += 1
    least = SETTLED * run.capacity * SPAN
    poor = [index for index, good in enumerate(spans) if good < least]
    last = poor[-1] + 1 if poor else 0
    return NEVER if last >= len(spans) else 1e3 * last * SPAN


def _served_again(scenario: Scenario, run: Run) -> float:
    return recovery(run, scenario.servers["mongo"].phases[-1].start, scenario.seconds - 4.0)


LOCAL: dict[str, Callable[[Scenario, Run], float]] = {
    "ms to settle": settles,
    "s to recover": _served_again,
}
"""Measures of these experiments alone."""


def random_shedding(calls: int, factor: float) -> float:
    """Success of tasks of ``calls`` calls each, whose calls are shed at random so that just the capacity is used.

    A task goes on only while its calls pass. With the share p of calls admitted, its calls cost p + p² + … + pˣ of the
    x it would make, which must be x / factor; its success is pˣ.
    """
    low, high = 0.0, 1.0
    for _ in range(60):
        share = (low + high) / 2.0
        work = sum(share**step for step in range(1, calls + 1))
        low, high = (share, high) if work < calls / factor else (low, share)
    return float(low**calls)


@dataclass(frozen=True, slots=True)
class Row:
    """A measure of a scenario: what was ``published``, and the value that no control can beat, where there is one."""

    scenario: Scenario
    measure: str
    published: str = QUALITATIVE
    optimum: float | None = None
    random: float | None = None
    """Of shedding calls at random, computed."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """A published experiment, its source, and who is compared; ``over`` adds each value over that controller's."""

    name: str
    about: str
    source: str
    controllers: tuple[str, ...]
    rows: tuple[Row, ...]
    over: str = ""


def _dagor() -> Iterator[Row]:
    for scenario in DAGOR:
        calls = scenario.routes["a"].calls
        assert isinstance(calls, tuple)
        factor = float(scenario.name.rpartition("-")[2].rstrip("x"))
        yield Row(
            scenario,
            "success",
            optimum=1.0 / factor,
            random=random_shedding(len(calls), factor),
        )


def _breakwater() -> Iterator[Row]:
    for scenario in BREAKWATER:
        exact = scenario.name == "breakwater-1.4x"
        yield Row(scenario, "goodput / capacity", optimum=1.0)
        yield Row(scenario, "p99 of admitted / deadline", optimum=1.0)
        reported = "Breakwater < 20, DAGOR 500, SEDA 1580" if exact else QUALITATIVE
        yield Row(scenario, "ms to settle", reported, optimum=0.0)


def _metastable() -> Iterator[Row]:
    for scenario in METASTABLE:
        down = scenario.name == "metastable-large"
        yield Row(scenario, "success", f"none: {'stays down' if down else 'recovers'}", optimum=1.0)
        yield Row(scenario, "s to recover", optimum=0.0)


NETFLIX = described("netflix-prefetch").scenario
BOUTIQUE = described("topfull-boutique").scenario

EXPERIMENTS: dict[str, Experiment] = {
    each.name: each
    for each in (
        Experiment(
            "dagor",
            "a task needs an overloaded service once to four times",
            "Zhou et al., Overload Control for Scaling WeChat Microservices, SoCC 2018, section 5",
            ("atrion", "dagor", "codel", "codel-facebook", "none"),
            tuple(_dagor()),
        ),
        Experiment(
            "netflix",
            "pre-fetches spike to twelve times their rate beside user-initiated requests",
            "Mendiratta et al., Enhancing Netflix Reliability with Service-Level Prioritized Load Shedding, 2024",
            ("atrion", "dagor", "codel", "gradient2", "none"),
            (
                Row(NETFLIX, "critical success", "> 0.994", 1.0),
                # What user-initiated requests leave of the capacity, over the pre-fetches.
                Row(NETFLIX, "bulk success", "0.20 at the lowest", (320.0 - 96.0) / 1152.0),
            ),
        ),
        Experiment(
            "breakwater",
            "a step of demand on services of 10 µs",
            "Cho et al., Overload Control for µs-scale RPCs with Breakwater, OSDI 2020; "
            "github.com/inhocho89/breakwater-artifact",
            ("atrion", KEEN.name, "none"),
            tuple(_breakwater()),
        ),
        Experiment(
            "topfull",
            "five APIs of Online Boutique share two overloaded services",
            "Park et al., TopFull, SIGCOMM 2024; github.com/kaist-ina/TopFull",
            ("atrion", "dagor", "codel", "codel-facebook", "rajomon", "none"),
            # Two APIs pass by; recommendations serve 150 of the 440 a second that the other three ask for.
            (Row(BOUTIQUE, "success", "TopFull 1.82 × DAGOR, 2.26 × Breakwater", (80.0 + 150.0) / 520.0),),
            over="dagor",
        ),
        Experiment(
            "metastable",
            "a database loses capacity for some seconds, and its clients retry",
            "Huang et al., Metastable Failures in the Wild, OSDI 2022; github.com/lexiangh/Metastability",
            ("atrion", "dagor", "codel", "none"),
            tuple(_metastable()),
        ),
    )
}

Job = tuple[str, str, str, int]
"""Experiment, scenario, controller and seed."""
Found = dict[tuple[str, str, str, str], list[float]]
"""Values of all seeds by experiment, scenario, controller and measure."""


def play(job: Job) -> dict[str, float]:
    """The measures of one run."""
    name, scenario, policy, seed = job
    rows = [row for row in EXPERIMENTS[name].rows if row.scenario.name == scenario]
    run = simulate(rows[0].scenario, OWN.get(policy) or controller(policy), seed)
    return {row.measure: (LOCAL.get(row.measure) or MEASURES[row.measure])(row.scenario, run) for row in rows}


def play_all(
    experiments: Sequence[Experiment],
    seeds: Sequence[int],
    processes: int = 1,
    tell: Callable[[float], None] = lambda share: None,
) -> list[dict[str, Any]]:
    """Each row as plain data: ``values`` has the mean and its 95% interval by controller.

    A time that never comes with one seed never comes. ``tell`` hears the share that is done.
    """
    jobs: list[Job] = [
        (each.name, scenario, policy, seed)
        for each in experiments
        for scenario in dict.fromkeys(row.scenario.name for row in each.rows)
        for policy in each.controllers
        for seed in seeds
    ]
    found: Found = {}
    for done, (job, measured) in enumerate(zip(jobs, parallel(play, jobs, processes), strict=True), 1):
        for measure, value in measured.items():
            found.setdefault((*job[:3], measure), []).append(value)
        tell(done / len(jobs))
    return [row for each in experiments for row in lines(each, found)]


def lines(each: Experiment, found: Found) -> Iterator[dict[str, Any]]:
    """The rows of an experiment as plain data, from the values of all seeds."""
    for row in each.rows:
        values = {
            name: _mean(found[each.name, row.scenario.name, name, row.measure]) for name in each.controllers
        }
        head = {"experiment": each.name, "scenario": row.scenario.name, "source": each.source}
        yield {
            **head,
            "measure": row.measure,
            "published": row.published,
            "optimum": row.optimum,
            "random": row.random,
            "values": values,
        }
        if each.over:
            base = values[each.over][0]
            yield {
                **head,
                "measure": f"{row.measure} / {each.over}'s",
                "published": row.published,
                "optimum": None if row.optimum is None or base <= 0.0 else row.optimum / base,
                "random": None,
                "values": {name: _over(value, base) for name, value in values.items()},
            }


def _mean(values: list[float]) -> tuple[float, float, float]:
    return (NEVER, NEVER, NEVER) if max(values) >= NEVER else interval(values)


def _over(value: tuple[float, float, float], base: float) -> tuple[float, float, float] | None:
    return None if base <= 0.0 else (value[0] / base, value[1] / base, value[2] / base)
