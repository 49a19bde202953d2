"""Experiments of published overload controls, as their papers and artifacts describe them."""

from __future__ import annotations

from atrion.physics.config import SLO
from atrion_lab.arrivals import Poisson, Profile
from atrion_lab.clients import Traffic
from atrion_lab.scenario import Route, Scenario
from atrion_lab.services import Bimodal, Exponential, Phase, Server, ServiceTime

__all__ = ["BREAKWATER", "DAGOR", "METASTABLE", "PUBLISHED", "STEP", "TARGET", "TRIGGER", "VULNERABLE"]

ALIKE = (0.0, 0.0, 1.0, 0.0, 0.0)
"""Everybody has the same tier, so that nothing but the requests' own fate decides."""

M = Server(workers=15, law=Exponential(0.02))
"""DAGOR's service M: three servers that do 750 calls a second together."""
TASKS = Server(workers=3000, law=Exponential(0.001))
"""DAGOR's service A: it never runs out of workers that wait for M."""

RISES = (5.0, 35.0)
"""Seconds between which DAGOR's feed rate rises from half of what M can do, since DAGOR moves in small steps."""


def dagor(calls: int, factor: float) -> Scenario:
    """Tasks that each need ``calls`` answers of M, one after the other: ``factor`` times what it can do, together."""
    rate = M.capacity / calls
    rising = Profile(((0.0, 0.5 * rate), (RISES[0], 0.5 * rate), (RISES[1], factor * rate)), linear=True)
    return Scenario(
        name=f"dagor-m{calls}-{factor:g}x",
        about=f"a task needs M {calls} times, and M gets {factor:g} times what it can do (Zhou et al., 2018)",
        seconds=70.0,
        window=(50.0, 68.0),
        servers={"m": M, "tasks": TASKS},
        routes={"a": Route("tasks", calls=("m",) * calls, own=True)},
        traffic=(Traffic(arrivals=rising, to=("a",), mix=ALIKE, keys=100_000),),
    )


STEP = 0.1
"""Seconds at which Breakwater's demand rises from half of the capacity."""
TARGET = 200e-6
"""Breakwater's promise: ten times a service of 10 µs and a round trip of 10 µs, seconds."""


def breakwater(name: str, factor: float, law: ServiceTime, reject_cost: float = 0.0) -> Scenario:
    """Ten cores with services of 10 µs, and demand that rises to ``factor`` times what they can do."""
    server = Server(workers=10, law=law, reject_cost=reject_cost)
    demand = Profile(((0.0, 0.5 * server.capacity), (STEP, factor * server.capacity)))
    return Scenario(
        name=f"breakwater-{name}",
        about=f"services of 10 µs, and a step to {factor:g} times the capacity (Cho et al., 2020)",
        seconds=0.5,
        window=(0.3, 0.5),
        servers={"rpc": server},
        traffic=(Traffic(arrivals=demand, to=("rpc",), mix=ALIKE, deadline=TARGET, keys=1000),),
        slo=SLO(latency=TARGET),
    )


TRIGGER = 60.0
"""Seconds at which the metastable experiments lose capacity."""
VULNERABLE = 0.37
"""Their load, as a share of the capacity."""


def metastable(name: str, seconds: float, workers: int, load: float = 1.0) -> Scenario:
    """A database that keeps ``workers`` of 40 for some seconds; clients wait 3 s and send four times again at once."""
    server = Server(
        workers=40,
        law=Exponential(0.05),
        phases=(Phase(start=TRIGGER, workers=workers), Phase(start=TRIGGER + seconds)),
    )
    arrivals = Poisson(load * VULNERABLE * server.capacity)
    return Scenario(
        name=f"metastable-{name}",
        about=f"{1.0 - workers / 40:.1%} of the capacity gone for {seconds:g} s, and retries (Huang et al., 2022)",
        seconds=120.0,
        window=(100.0, 118.0),
        servers={"mongo": server},
        traffic=(Traffic(arrivals=arrivals, to=("mongo",), mix=ALIKE, deadline=3.0, retries=4, backoff=0.0),),
    )


DAGOR = tuple(dagor(calls, factor) for factor in (2.0, 4.0) for calls in (1, 2, 3, 4))
BREAKWATER = (
    breakwater("1.4x", 1.4, Exponential(10e-6)),
    breakwater("2x", 2.0, Exponential(10e-6)),
    breakwater("bimodal-1.4x", 1.4, Bimodal(10e-6)),
    breakwater("1.4x-rejects-10%", 1.4, Exponential(10e-6), reject_cost=0.1),
)
METASTABLE = (
    metastable("small", 10.0, 9),
    metastable("large", 10.0, 8),
    metastable("short", 9.0, 8),
    metastable("light", 10.0, 8, load=0.7),
)
PUBLISHED = (*DAGOR, *BREAKWATER, *METASTABLE)
