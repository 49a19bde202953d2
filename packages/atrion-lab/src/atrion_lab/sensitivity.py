"""How much each constant of the control matters: halved and doubled, one at a time."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial

from atrion_lab.constants import CONFIG, Constant, allowed, changed
from atrion_lab.expectations import measure
from atrion_lab.ledger import Accounts
from atrion_lab.parallel import parallel
from atrion_lab.policies.atrion import AtrionPolicy
from atrion_lab.policies.catalog import POSSIBLE, Controller
from atrion_lab.scenario import simulate
from atrion_lab.scenarios import described

__all__ = ["FACTORS", "MEASURES", "SCENARIOS", "Change", "sensitivity"]

FACTORS = (0.5, 2.0)
MEASURES = ("idle_rejects", "work_over_possible", "critical_success", "p99_over_deadline")
SCENARIOS = (
    "few-workers-1",
    "cold-slow-16x5",
    "cold-wide-128",
    "burst-of-200",
    "hits-and-misses-5",
    "slower-4x",
    "costly-critical-5x",
    "short-queue-8",
    "outage-10s",
)
"""Short ones that differ: few and many workers, cold and warm, slow and fast, calm, overloaded and broken."""
NEAR = 0.01
"""What a scenario must lose to be named."""

Measured = dict[str, float]
Job = tuple[Constant | None, float, str, int]


@dataclass(frozen=True, slots=True)
class Change:
    """A constant with another value; with none, the defaults.

    Attributes:
        constant: Which, or None.
        value: Its value here.
        found: Its measures by scenario, means over the seeds; empty where it could not be played.
        problem: Why it could not, in words; empty otherwise.
    """

    constant: Constant | None
    value: float
    found: dict[str, Measured]
    problem: str = ""

    def mean(self) -> Measured:
        """The measures, over all scenarios."""
        rows = list(self.found.values())
        return {name: math.fsum(row[name] for row in rows) / len(rows) for name in MEASURES}

    def suffers(self, base: Change) -> str:
        """The scenario that loses most against ``base`` in refusals, work or critical calls; empty where none does."""
        losses = {name: _loss(row, base.found[name]) for name, row in self.found.items()}
        worst = max(losses, key=lambda name: losses[name], default="")
        return worst if losses.get(worst, 0.0) > NEAR else ""


def _loss(row: Measured, base: Measured) -> float:
    idle, work, critical, _ = (row[name] - base[name] for name in MEASURES)
    return max(idle, -work, -critical)


@cache
def _possible(name: str, seed: int) -> Accounts:
    """What could be done, which no constant changes."""
    scenario = described(name).scenario
    accounts = Accounts(*scenario.window)
    simulate(scenario, POSSIBLE, seed, accounts=accounts)
    return accounts


def _play(job: Job) -> Measured | str:
    """The measures of one scenario and seed, or the error that ended it; in a process of its own."""
    constant, value, name, seed = job
    if constant is not None and constant.place != CONFIG:
        importlib.import_module(constant.place)
    scenario = described(name).scenario
    accounts = Accounts(*scenario.window)
    try:
        with changed(constant, value) as config:
            controller = Controller("atrion", "", partial(AtrionPolicy, config=config), spans=True)
            run = simulate(scenario, controller, seed, accounts=accounts)
    except Exception as error:  # a value that the control cannot work with is a finding
        return f"{type(error).__name__}: {error}"
    row = measure(scenario, run, accounts, _possible(name, seed))
    return {each: row[each] for each in MEASURES}


def _change(
    constant: Constant | None, value: float, played: dict[Job, Measured | str], seeds: Sequence[int]
) -> Change:
    found: dict[str, Measured] = {}
    for name in dict.fromkeys(job[2] for job in played):
        rows = [played[constant, value, name, seed] for seed in seeds]
        for row in rows:
            if isinstance(row, str):
                return Change(constant, value, {}, row)
        whole = [row for row in rows if not isinstance(row, str)]
        found[name] = {each: math.fsum(row[each] for row in whole) / len(whole) for each in MEASURES}
    return Change(constant, value, found)


def sensitivity(
    chosen: Iterable[Constant],
    *,
    scenarios: Sequence[str] = SCENARIOS,
    seeds: Sequence[int] = (1,),
    workers: int = 1,
    tell: Callable[[float], None] = lambda share: None,
) -> tuple[Change, list[Change]]:
    """What the defaults reach, and what each constant does to it: a change a factor, in the order of FACTORS.

    ``tell`` hears the share that is done.
    """
    tried = [(constant, constant.times(factor)) for constant in chosen for factor in FACTORS]
    usable = [(constant, value) for constant, value in tried if allowed(constant, value)]
    pairs: list[tuple[Constant | None, float]] = [(None, 0.0), *usable]
    jobs: list[Job] = [(*pair, name, seed) for pair in pairs for name in scenarios for seed in seeds]
    played: dict[Job, Measured | str] = {}
    for job, row in zip(jobs, parallel(_play, jobs, workers), strict=True):
        played[job] = row
        tell(len(played) / len(jobs))
    of = {pair: _change(*pair, played, seeds) for pair in pairs}
    return of[None, 0.0], [of.get(pair, Change(*pair, {}, "out of range")) for pair in tried]
