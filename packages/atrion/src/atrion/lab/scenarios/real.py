"""Scenarios small enough to be played over real HTTP as well, by two worker processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from atrion.lab.arrivals import Arrivals, Poisson, Profile
from atrion.lab.clients import Traffic
from atrion.lab.cluster import Cluster
from atrion.lab.measures import MEASURES, recovery, shed_after
from atrion.lab.metrics import Run
from atrion.lab.scenario import Scenario
from atrion.lab.services import LogNormal, Phase, Server

__all__ = ["PODS", "REAL", "RealScenario"]

USUAL = ("goodput / capacity", "critical success", "rejected", "p99 of admitted, s")
PODS = 2
SMALL = Server(workers=4, law=LogNormal(0.1, 0.5))
CAPACITY = PODS * SMALL.capacity


@dataclass(frozen=True, slots=True)
class RealScenario:
    """A scenario and what is measured of it beyond the usual."""

    scenario: Scenario
    measures: dict[str, Callable[[Run], float]]

    def measured(self, run: Run) -> dict[str, float]:
        """The numbers by which simulation and reality are compared."""
        found = {name: MEASURES[name](self.scenario, run) for name in USUAL}
        found |= {name: measure(run) for name, measure in self.measures.items()}
        return {name: round(value, 4) for name, value in found.items()}


def _real(
    name: str,
    about: str,
    seconds: float,
    window: tuple[float, float],
    arrivals: Arrivals,
    server: Server = SMALL,
    retries: int = 0,
    **measures: Callable[[Run], float],
) -> RealScenario:
    scenario = Scenario(
        name=name,
        about=about,
        seconds=seconds,
        window=window,
        servers={"api": server},
        traffic=(Traffic(arrivals=arrivals, keys=0, deadline=1.0, retries=retries),),
        cluster=Cluster(pods=PODS, shared=False, connected=False),
    )
    return RealScenario(scenario, {name.replace("_", " "): measure for name, measure in measures.items()})


REAL: dict[str, RealScenario] = {
    each.scenario.name: each
    for each in (
        _real(
            "steady-4x",
            "four times the capacity from the first second on",
            16.0,
            (5.0, 14.0),
            Poisson(4.0 * CAPACITY),
        ),
        _real(
            "flash-crowd",
            "half the capacity, then four times it for ten seconds, then half again",
            28.0,
            (9.0, 17.0),
            Profile(((0.0, 0.5 * CAPACITY), (7.0, 4.0 * CAPACITY), (17.0, 0.5 * CAPACITY))),
            seconds_to_shed=lambda run: shed_after(run, 7.0, 17.0, run.capacity),
            seconds_to_recover=lambda run: recovery(run, 17.0, 26.0, 0.95),
        ),
        _real(
            "dead-dependency",
            "every call fails within 5 ms for eight seconds, then all is well",
            26.0,
            (8.0, 15.0),
            Poisson(150.0),
            Server(
                workers=16,
                law=LogNormal(0.02, 0.5),
                phases=(Phase(start=7.0, fail=1.0, fail_after=0.005), Phase(start=15.0)),
            ),
            seconds_to_full_service=lambda run: recovery(run, 15.0, 24.0, 0.95),
        ),
        _real(
            "retry-storm",
            "0.6 of the capacity, retried twice; three quarters of the workers are gone for ten seconds",
            34.0,
            (22.0, 32.0),
            Poisson(0.6 * CAPACITY),
            Server(
                workers=4,
                law=LogNormal(0.1, 0.5),
                phases=(Phase(start=7.0, workers=1), Phase(start=17.0)),
            ),
            retries=2,
            goodput_after_over_before=lambda run: run.goodput(22.0, 32.0) / run.goodput(2.0, 7.0),
        ),
    )
}
