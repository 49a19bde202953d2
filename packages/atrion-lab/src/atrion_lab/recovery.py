"""The map of recovery: whether and when a service recovers after a trigger has gone, next to theory.

A cell is a server of 16 workers with lognormal work of 50 ms, clients who wait half a second for each attempt, and:

* ``load``: first attempts over capacity.
* ``trigger`` and ``seconds``: what happens after :data:`CALM` seconds, and for how long. ``pause``: nothing is begun;
  ``slow``: every call takes :data:`SLOW` times as long; ``outage``: every call fails; ``burst``: :data:`BURST` times
  the capacity arrives.
* ``retries``, ``budget``, ``backoff``: see :class:`atrion_lab.metastable.Patience`.

A run is back, as :func:`atrion_lab.measures.recovery` judges it, from when on 99% of the requests are answered in
time, retries included, until :data:`OBSERVED` seconds after the trigger. What theory predicts is of a service without
control: see :mod:`atrion_lab.metastable`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final, final

from atrion_lab.arrivals import Arrivals, Poisson, Profile
from atrion_lab.clients import BUDGET_BURST, Traffic
from atrion_lab.measures import NEVER, recovery
from atrion_lab.metastable import Patience, Trigger, seconds_to_recover, state
from atrion_lab.parallel import parallel
from atrion_lab.policies.catalog import controller
from atrion_lab.scenario import Scenario, simulate
from atrion_lab.services import Phase, Server

__all__ = [
    "FULL",
    "OBSERVED",
    "QUICK",
    "TRIGGERS",
    "Cell",
    "agrees",
    "cell_of",
    "cells",
    "clients_of",
    "missed",
    "recoveries",
]

Grid = dict[str, tuple[Any, ...]]

TRIGGERS: Final = ("pause", "slow", "outage", "burst")
QUICK: Final[Grid] = {
    "load": (0.3, 0.6, 0.9),
    "trigger": TRIGGERS,
    "seconds": (1.0, 5.0),
    "retries": (0, 1, 3),
    "budget": (None, 0.1),
    "backoff": (0.05,),
}
FULL: Final[Grid] = {
    "load": (0.3, 0.5, 0.7, 0.8, 0.9, 0.95),
    "trigger": TRIGGERS,
    "seconds": (0.3, 1.0, 3.0, 10.0),
    "retries": (0, 1, 2, 4),
    "budget": (None, 0.1),
    "backoff": (0.05, 1.0),
}

CALM: Final = 10.0
"""Seconds before the trigger."""
OBSERVED: Final = 30.0
"""Seconds after the trigger within which a run must be back."""
SLOW: Final = 5.0
BURST: Final = 4.0
SERVER: Final = Server()


@final
@dataclass(frozen=True, slots=True)
class Cell:
    """One load, trigger and kind of clients; see the module for the axes."""

    load: float
    trigger: str
    seconds: float
    retries: int
    budget: float | None
    backoff: float

    @property
    def clients(self) -> Patience:
        """How its clients behave."""
        return Patience(self.retries, self.budget, self.backoff)

    @property
    def event(self) -> Trigger:
        """Its trigger, as theory takes it."""
        capacity = {"pause": 0.0, "slow": 1.0 / SLOW}.get(self.trigger, 1.0)
        load = BURST if self.trigger == "burst" else None
        return Trigger(CALM, self.seconds, capacity, load, fails=self.trigger == "outage")

    def scenario(self) -> Scenario:
        """What is played; it ends when the last request that counts has made all of its attempts."""
        clients, end = self.clients, self.event.end
        rate = self.load * SERVER.capacity
        arrivals: Arrivals = Poisson(rate)
        phases: tuple[Phase, ...] = ()
        if self.trigger == "burst":
            arrivals = Profile(((0.0, rate), (CALM, BURST * SERVER.capacity), (end, rate)))
        else:
            ill = {
                "pause": Phase(start=CALM, workers=0),
                "slow": Phase(start=CALM, slow=SLOW),
                "outage": Phase(start=CALM, fail=1.0),
            }[self.trigger]
            phases = (ill, Phase(start=end))
        life = (self.retries + 1) * clients.deadline + self.backoff * (2.0**self.retries - 1.0)
        return Scenario(
            name="recovery",
            about="a cell of the map of recovery",
            seconds=end + OBSERVED + life,
            window=(end, end + OBSERVED),
            servers={"api": Server(phases=phases)},
            traffic=(
                Traffic(
                    arrivals=arrivals,
                    deadline=clients.deadline,
                    retries=self.retries,
                    budget=self.budget,
                    backoff=self.backoff,
                ),
            ),
        )


def cells(grid: Grid) -> list[Cell]:
    """Every cell of a grid; clients who do not retry have one budget and backoff."""
    axes = (grid[name] for name in ("load", "trigger", "seconds", "retries", "budget", "backoff"))
    found = (
        Cell(load, trigger, seconds, int(retries), *((budget, backoff) if retries else (None, 0.0)))
        for load, trigger, seconds, retries, budget, backoff in product(*axes)
    )
    return list(dict.fromkeys(found))


Job = tuple[Cell, str, int]


def play(job: Job) -> tuple[Job, float]:
    """Seconds after the trigger until a run is back, :data:`~atrion_lab.measures.NEVER` for never."""
    cell, name, seed = job
    scenario = cell.scenario()
    run = simulate(scenario, controller(name), seed)
    return job, recovery(run, *scenario.window)


def recoveries(
    grid: Grid,
    controllers: Sequence[str],
    seeds: Sequence[int],
    processes: int | None = None,
    tell: Callable[[float], None] = lambda share: None,
) -> list[dict[str, Any]]:
    """A row for each cell and controller, in the order of the grid; ``tell`` hears the share that is done.

    Raises:
        ConfigurationError: there is no such controller.
    """
    chosen = cells(grid)
    planned: list[Job] = list(product(chosen, controllers, seeds))
    planned.sort(key=lambda job: -job[0].load * (1 + job[0].retries))
    found: dict[tuple[Cell, str], list[float]] = {}
    for done, ((cell, name, _), after) in enumerate(
        parallel(play, planned, processes or os.cpu_count() or 1)
    ):
        found.setdefault((cell, name), []).append(after)
        tell((done + 1) / len(planned))
    return [row for cell in chosen for row in _rows(cell, controllers, found)]


def _rows(
    cell: Cell, controllers: Sequence[str], found: dict[tuple[Cell, str], list[float]]
) -> Iterator[dict[str, Any]]:
    expected = seconds_to_recover(
        cell.load,
        cell.event,
        cell.clients,
        service=SERVER.law.mean,
        rate=SERVER.capacity,
        burst=BUDGET_BURST,
    )
    for name in controllers:
        after = found[cell, name]
        back = [each for each in after if each < NEVER]
        yield {
            "load": cell.load,
            "trigger": cell.trigger,
            "seconds": cell.seconds,
            "retries": cell.retries,
            "budget": cell.budget,
            "backoff": cell.backoff,
            "predicted": state(cell.load, cell.clients, expected),
            "predicted_seconds": None if expected is None else round(expected, 2),
            "controller": name,
            "back": len(back) / len(after),
            "recovery_seconds": round(math.fsum(back) / len(back), 2) if back else None,
            "worst_seconds": round(max(back), 2) if len(back) == len(after) else None,
            "seeds": len(after),
        }


def cell_of(row: Mapping[str, Any]) -> Cell:
    """The cell of a row."""
    return Cell(row["load"], row["trigger"], row["seconds"], row["retries"], row["budget"], row["backoff"])


def clients_of(row: Mapping[str, Any]) -> str:
    """How the clients of a row retry, for people."""
    if not row["retries"]:
        return "no retries"
    budget = "" if row["budget"] is None else f", budget {row['budget']:g}"
    return f"{row['retries']} {'retry' if row['retries'] == 1 else 'retries'}, {row['backoff']:g} s{budget}"


def agrees(row: Mapping[str, Any]) -> bool:
    """Whether theory foretold whether most seeds of a service without control are back."""
    expected = row["predicted_seconds"]
    foretold = expected is not None and expected <= OBSERVED
    return foretold is bool(row["back"] > 0.5)


def missed(found: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows of which some seed did not come back."""
    return (row for row in found if row["back"] < 1.0)
