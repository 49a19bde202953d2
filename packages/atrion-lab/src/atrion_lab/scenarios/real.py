"""Scenarios small enough to be played over real HTTP as well, by one or two worker processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from atrion_lab.arrivals import Arrivals, Poisson, Profile
from atrion_lab.clients import Traffic
from atrion_lab.cluster import Cluster
from atrion_lab.measures import MEASURES, recovery, shed_after
from atrion_lab.metrics import Run
from atrion_lab.scenario import Route, Scenario
from atrion_lab.scenarios import described
from atrion_lab.services import LogNormal, Phase, Server

__all__ = ["PODS", "REAL", "Bound", "RealScenario"]

USUAL = ("goodput / capacity", "critical success", "rejected", "p99 of admitted, s")
PODS = 2
SMALL = Server(workers=4, law=LogNormal(0.1, 0.5))
CAPACITY = PODS * SMALL.capacity


Bound = tuple[str, float]
"""``"≥"`` or ``"≤"``, and what a measure is held to."""


@dataclass(frozen=True, slots=True)
class RealScenario:
    """A scenario and what is measured of it beyond the usual.

    Attributes:
        scenario: What is played.
        measures: By name, beyond the usual.
        bounds: What measures, usual ones too, are held to.
        streams: Streams, uploads and background tasks are served beside its routes, which no simulation does.
    """

    scenario: Scenario
    measures: Mapping[str, Callable[[Run], float]]
    bounds: Mapping[str, Bound] = field(default_factory=dict)
    streams: bool = False

    @property
    def workers(self) -> int:
        """Worker processes that serve it."""
        return 1 if self.scenario.cluster is None else self.scenario.cluster.pods

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


def _slower() -> RealScenario:
    """The service becomes four times slower for good, and still suffices."""
    file = described("slower-4x").scenario
    server = replace(file.servers["api"], phases=(Phase(start=10.0, slow=4.0),))
    scenario = replace(
        file, name="slower-service", seconds=40.0, window=(10.0, 38.0), servers={"api": server}
    )
    return RealScenario(
        scenario,
        {"success": lambda run: run.success(10.0, 38.0)},
        {"rejected": ("≤", 0.001), "success": ("≥", 0.99)},
    )


def _cold_wide() -> RealScenario:
    """A process with 128 slots starts at 0.8 of what it can do; its work is twice as long, for one client's sake."""
    file = described("cold-wide-128").scenario
    server = replace(file.servers["api"], law=LogNormal(0.4, 0.5))
    traffic = replace(file.traffic[0], arrivals=Poisson(0.8 * server.capacity))
    scenario = replace(
        file,
        name="cold-wide",
        seconds=20.0,
        window=(0.0, 14.0),
        servers={"api": server},
        traffic=(traffic,),
    )
    return RealScenario(scenario, {}, {"rejected": ("≤", 0.001)})


def _seven_routes() -> RealScenario:
    file = described("seven-routes-3x").scenario
    scenario = replace(file, name="seven-routes", seconds=24.0, window=(8.0, 22.0))
    return RealScenario(scenario, {}, {"critical success": ("≥", 0.95)})


def _outage() -> RealScenario:
    """Dead for ten seconds, and as before."""
    file = described("outage-10s").scenario
    dead, back = (
        replace(phase, start=start)
        for phase, start in zip(file.servers["api"].phases, (6.0, 16.0), strict=True)
    )
    scenario = replace(
        file,
        name="outage",
        seconds=26.0,
        window=(17.0, 24.0),
        servers={"api": replace(file.servers["api"], phases=(dead, back))},
    )
    return RealScenario(
        scenario,
        {"seconds to full service": lambda run: recovery(run, 16.0, 24.0, 0.95)},
        {"seconds to full service": ("≤", 1.0)},
    )


def _streams() -> RealScenario:
    """Two ordinary routes at half of what their pool can do, while others stream, upload and work on afterwards."""
    server = Server(workers=8, law=LogNormal(0.05, 0.5))
    routes = ("checkout", "search")
    scenario = Scenario(
        name="streams",
        about="event streams, slow clients and background tasks beside ordinary routes",
        seconds=16.0,
        window=(1.0, 14.0),
        servers={"pool": server},
        routes={route: Route("pool") for route in routes},
        traffic=(Traffic(arrivals=Poisson(0.5 * server.capacity), to=routes, keys=0, deadline=1.0),),
    )
    bounds: dict[str, Bound] = {"rejected": ("≤", 0.001), "streams refused": ("≤", 0.001)}
    return RealScenario(scenario, {"success": lambda run: run.success(1.0, 14.0)}, bounds, streams=True)


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
        _slower(),
        _cold_wide(),
        _seven_routes(),
        _outage(),
        _streams(),
    )
}
