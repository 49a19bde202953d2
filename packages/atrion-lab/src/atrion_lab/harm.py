"""The map of harm: requests refused while workers are free, and work lost under overload, over a grid of services.

A cell is one server and one load, with nothing configured: no SLO, no named bottleneck. Its axes:

* ``workers``: calls served at once.
* ``load``: arrivals over the capacity that the server has at the end of the run, thus after a slow-down.
* ``spread``: coefficient of variation of the service time, its standard deviation over its mean: 0 is fixed, 1
  exponential, any other lognormal.
* ``slow``: factor by which every call takes longer from a third of the run on; 1 changes nothing.

Arrivals are Poisson and clients wait for :data:`PATIENCE` mean service times of the slower service, so a slow-down
alone makes no answer late. A run begins with a cold controller at full load, and its start counts: it lasts as many
service times as :data:`CALLS` arrivals need, within :data:`LENGTH`. Every request of the run counts, and every answer
that comes before its end: requests of an earlier end alone would reward the queue that a controller leaves behind.

Two measures of :mod:`atrion_lab.expectations` are bounded. Below capacity (load < 1) ``idle_rejects`` is at most
:data:`IDLE`; above, ``work_over_possible`` is at least :data:`WORK` times the share of the work that is in calls no
longer than their clients' patience. The clairvoyant refuses the longer ones; nobody else can tell them from the others
before they have run, and at a spread of 3 they are 22% of the work. That share is the distribution of the length-biased
law at the patience: ``1 - (1 + x) exp(-x)`` for the exponential, ``Φ((ln x - σ²/2) / σ)`` for the lognormal, with x the
patience over the mean service time.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import NormalDist
from typing import Any, Final, final

from atrion_lab.arrivals import Poisson
from atrion_lab.clients import Traffic
from atrion_lab.expectations import mean, rows, worst
from atrion_lab.parallel import parallel
from atrion_lab.policies.catalog import controller
from atrion_lab.scenario import Scenario
from atrion_lab.services import Exponential, Fixed, LogNormal, Phase, Server, ServiceTime

__all__ = ["FULL", "QUICK", "Cell", "cells", "harm", "missed", "of"]

Grid = dict[str, tuple[float, ...]]

QUICK: Final[Grid] = {
    "workers": (1, 16, 256),
    "load": (0.1, 0.5, 0.9, 1.2, 4.0, 20.0),
    "spread": (0.0, 1.0, 3.0),
    "slow": (1.0, 3.0),
}
FULL: Final[Grid] = {
    "workers": (1, 2, 4, 16, 64, 256, 512),
    "load": (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 1.2, 2.0, 4.0, 10.0, 20.0),
    "spread": (0.0, 0.5, 1.0, 3.0),
    "slow": (1.0, 2.0, 4.0),
}

IDLE: Final = 0.001
"""Attempts refused beside a free worker, over all attempts, that are forgiven below capacity."""
WORK: Final = 0.93
"""Work answered in time over the clairvoyant's that is asked for above capacity, where no call is too long."""

SERVICE: Final = 0.05
"""Mean service time before a slow-down, seconds."""
PATIENCE: Final = 10.0
"""Mean service times that clients wait for an answer."""
CALLS: Final = 10_000
"""Arrivals of a run, where its length allows."""
LENGTH: Final = (100.0, 20_000.0)
"""Least and most service times that a run lasts."""
SLOWER: Final = 1.0 / 3.0
"""Share of the run after which a slow-down begins; it lasts to the end."""
MEASURED: Final = ("idle_rejects", "work_over_possible")
DIGITS: Final = 6


@final
@dataclass(frozen=True, slots=True)
class Cell:
    """One server and one load; see the module for the axes."""

    workers: int
    load: float
    spread: float
    slow: float

    @property
    def law(self) -> ServiceTime:
        """The law of the service time."""
        if self.spread == 0.0:
            return Fixed(SERVICE)
        if self.spread == 1.0:
            return Exponential(SERVICE)
        return LogNormal(SERVICE, self.sigma)

    @property
    def sigma(self) -> float:
        """Standard deviation of the logarithm of a lognormal service time."""
        return math.sqrt(math.log1p(self.spread**2))

    @property
    def least_work(self) -> float:
        """Least ``work_over_possible`` that is asked for above capacity."""
        if self.spread == 0.0:
            return WORK
        if self.spread == 1.0:
            return WORK * (1.0 - (1.0 + PATIENCE) * math.exp(-PATIENCE))
        return WORK * NormalDist().cdf((math.log(PATIENCE) - self.sigma**2 / 2.0) / self.sigma)

    @property
    def length(self) -> float:
        """Length of the run, in service times of the slower service."""
        least, most = LENGTH
        return min(max(CALLS / (self.load * self.workers), least), most)

    def scenario(self) -> Scenario:
        """What is played; answers count when they come within the run."""
        service = SERVICE * self.slow
        seconds = self.length * service
        deadline = PATIENCE * service
        phases = () if self.slow == 1.0 else (Phase(start=SLOWER * seconds, slow=self.slow),)
        return Scenario(
            name="harm",
            about="a cell of the map of harm",
            seconds=seconds,
            window=(0.0, seconds),
            servers={"api": Server(workers=self.workers, law=self.law, phases=phases)},
            traffic=(Traffic(arrivals=Poisson(self.load * self.workers / service), deadline=deadline),),
        )


def cells(grid: Grid) -> list[Cell]:
    """Every cell of a grid."""
    axes = (grid[name] for name in ("workers", "load", "spread", "slow"))
    return [
        Cell(int(workers), load, spread, slow) for workers, load, spread, slow in product(*map(sorted, axes))
    ]


Job = tuple[Cell, tuple[str, ...], int]
Measured = dict[str, dict[str, float]]


def play(job: Job) -> tuple[Job, Measured]:
    """Play a cell with each controller and one seed; in a process of its own."""
    cell, names, seed = job
    played = rows(cell.scenario(), [controller(name) for name in names], (seed,))
    return job, {name: {measure: row[measure] for measure in MEASURED} for name, _, row in played}


def harm(
    grid: Grid,
    controllers: Sequence[str],
    seeds: Sequence[int],
    processes: int | None = None,
    tell: Callable[[float], None] = lambda share: None,
) -> list[dict[str, Any]]:
    """A row for each cell and controller, in the order of the grid; means over the seeds, and the worst of them.

    ``tell`` hears the share that is done.

    Raises:
        ConfigurationError: there is no such controller.
    """
    chosen = cells(grid)
    planned: list[Job] = [(cell, tuple(controllers), seed) for cell in chosen for seed in seeds]
    # The longest first, so that no process is left alone with one at the end.
    planned.sort(key=lambda job: -_cost(job[0]))
    whole = sum(_cost(cell) for cell, *_ in planned)
    done = 0.0
    found: dict[tuple[Cell, str], list[dict[str, float]]] = {}
    for (cell, *_), measured in parallel(play, planned, processes or os.cpu_count() or 1):
        for name, row in measured.items():
            found.setdefault((cell, name), []).append(row)
        done += _cost(cell)
        tell(done / whole)
    return [_row(cell, name, found[cell, name]) for cell in chosen for name in controllers]


def _cost(cell: Cell) -> float:
    """Arrivals of its run."""
    return cell.length * cell.load * cell.workers


def _rounded(row: dict[str, float]) -> dict[str, float]:
    return {name: round(value, DIGITS) for name, value in row.items()}


def _row(cell: Cell, name: str, found: Sequence[dict[str, float]]) -> dict[str, Any]:
    return {
        "workers": cell.workers,
        "load": cell.load,
        "spread": cell.spread,
        "slow": cell.slow,
        "controller": name,
        **_rounded(mean(found)),
        "seeds": len(found),
        "worst": _rounded(worst(found)),
    }


def of(row: Mapping[str, Any]) -> Cell:
    """The cell of a row."""
    return Cell(row["workers"], row["load"], row["spread"], row["slow"])


def missed(found: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows whose mean breaks the bound of their side of the capacity."""
    for row in found:
        below = row["load"] < 1.0
        if row["idle_rejects"] > IDLE if below else row["work_over_possible"] < of(row).least_work:
            yield row
