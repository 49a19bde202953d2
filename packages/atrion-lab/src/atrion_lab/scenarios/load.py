"""Too much traffic for a healthy server."""

from __future__ import annotations

from dataclasses import replace

from atrion_lab.arrivals import Bursty, Poisson, Profile, diurnal
from atrion_lab.clients import Traffic
from atrion_lab.scenario import Scenario
from atrion_lab.services import Bimodal, Exponential, HeavyTailed, LogNormal, Phase, Server, ServiceTime

__all__ = ["CAPACITY", "LOAD", "SERVER", "steady"]

SERVER = Server()
CAPACITY = SERVER.capacity
ONLY_CRITICAL = (0.0, 0.0, 0.0, 0.0, 1.0)
ONLY_NORMAL = (0.0, 0.0, 1.0, 0.0, 0.0)


def steady(factor: float) -> Scenario:
    """Poisson arrivals at ``factor`` times the capacity, after four seconds at no more than half of it."""
    calm = min(factor, 0.5)
    return Scenario(
        name=f"steady-{factor:g}x",
        about=f"Poisson arrivals at {factor:g} times the capacity",
        seconds=25.0,
        window=(8.0, 24.0),
        traffic=(Traffic(arrivals=Profile(((0.0, calm * CAPACITY), (4.0, factor * CAPACITY)))),),
    )


def _law(kind: str, law: ServiceTime) -> Scenario:
    about = f"four times the capacity, {kind} service times"
    servers = {"api": Server(law=law)}
    return replace(steady(4.0), name=f"steady-4x-{kind}", about=about, servers=servers)


def _costly(share: float) -> Scenario:
    about = f"four times the capacity, and every rejection costs {share:.0%} of a service"
    servers = {"api": Server(reject_cost=share)}
    return replace(steady(4.0), name=f"steady-4x-rejects-{share * 100:g}%", about=about, servers=servers)


LOAD = (
    *(steady(factor) for factor in (0.5, 0.8, 1.0, 1.2, 1.5, 2.0, 4.0, 8.0, 10.0)),
    _law("exponential", Exponential()),
    _law("bimodal", Bimodal()),
    _law("heavy-tailed", HeavyTailed()),
    _costly(0.01),
    _costly(0.1),
    replace(
        steady(4.0),
        name="long-4x",
        about="four times the capacity for two minutes, measured in the second: time for the slow to settle",
        seconds=120.0,
        window=(60.0, 118.0),
    ),
    replace(
        steady(2.0),
        name="worsening",
        about="twice the capacity of a server that slows down with concurrency",
        servers={"api": Server(worsening=0.5)},
    ),
    replace(
        steady(4.0),
        name="cold-start-in-overload",
        about="four times the capacity from the very first request: nothing calm was ever seen",
        window=(2.0, 12.0),
        seconds=13.0,
        traffic=(Traffic(arrivals=Poisson(4.0 * CAPACITY)),),
    ),
    Scenario(
        name="bursty",
        about="traffic that jumps between half and three times the capacity every second or so",
        seconds=40.0,
        window=(5.0, 39.0),
        traffic=(Traffic(arrivals=Bursty((0.5 * CAPACITY, 3.0 * CAPACITY), 1.5)),),
    ),
    Scenario(
        name="flash-crowd",
        about="half the capacity, then five times it for 20 seconds, then half again",
        seconds=60.0,
        window=(22.0, 40.0),
        traffic=(
            Traffic(
                arrivals=Profile(((0.0, 0.5 * CAPACITY), (20.0, 5.0 * CAPACITY), (40.0, 0.5 * CAPACITY)))
            ),
        ),
    ),
    Scenario(
        name="slow-ramp",
        about="load creeps up to 1.5 times the capacity and back; then the server is ten times slower, twice",
        seconds=330.0,
        window=(40.0, 80.0),
        servers={
            "api": Server(
                phases=(
                    Phase(start=130.0, slow=10.0),
                    Phase(start=190.0),
                    Phase(start=230.0, slow=10.0),
                    Phase(start=290.0),
                )
            )
        },
        traffic=(
            Traffic(
                arrivals=Profile(
                    (
                        (0.0, 0.4 * CAPACITY),
                        (60.0, 1.5 * CAPACITY),
                        (80.0, 1.5 * CAPACITY),
                        (110.0, 0.4 * CAPACITY),
                    ),
                    linear=True,
                )
            ),
        ),
    ),
    Scenario(
        name="diurnal",
        about="two short days, from a fifth of the capacity at night to 1.6 times at noon",
        seconds=240.0,
        window=(0.0, 239.0),
        traffic=(Traffic(arrivals=diurnal(0.9 * CAPACITY, 0.8, 120.0, 240.0)),),
    ),
    Scenario(
        name="retry-storm",
        about="impatient clients at 0.7 of the capacity retry twice; half the workers are gone for 60 seconds",
        seconds=130.0,
        window=(90.0, 128.0),
        servers={"api": Server(phases=(Phase(start=20.0, workers=8), Phase(start=80.0)))},
        traffic=(Traffic(arrivals=Poisson(0.7 * CAPACITY), retries=2),),
    ),
    Scenario(
        name="retry-storm-budget",
        about="the same clients with a budget: retries are at most a tenth of their requests",
        seconds=130.0,
        window=(90.0, 128.0),
        servers={"api": Server(phases=(Phase(start=20.0, workers=8), Phase(start=80.0)))},
        traffic=(Traffic(arrivals=Poisson(0.7 * CAPACITY), retries=2, budget=0.1),),
    ),
    Scenario(
        name="capacity-loss",
        about="0.8 of the capacity, while half the workers are gone for 20 seconds",
        seconds=60.0,
        window=(25.0, 40.0),
        servers={"api": Server(phases=(Phase(start=20.0, workers=8), Phase(start=40.0)))},
        traffic=(Traffic(arrivals=Poisson(0.8 * CAPACITY)),),
    ),
    Scenario(
        name="low-flood",
        about="half the capacity of normal and critical traffic, and ten times it of low traffic",
        window=(10.0, 28.0),
        traffic=(
            Traffic(arrivals=Poisson(0.5 * CAPACITY), mix=(0.0, 0.0, 0.7, 0.1, 0.2)),
            Traffic(arrivals=Poisson(10.0 * CAPACITY), mix=(0.0, 1.0, 0.0, 0.0, 0.0)),
        ),
    ),
    Scenario(
        name="critical-only",
        about="twice the capacity, all of it critical",
        seconds=25.0,
        window=(8.0, 24.0),
        traffic=(Traffic(arrivals=Poisson(2.0 * CAPACITY), mix=ONLY_CRITICAL),),
    ),
    Scenario(
        name="fair-hour",
        about="an hour at twice the capacity of a small server, one tier, 50 callers who come again and again",
        seconds=3660.0,
        window=(60.0, 3660.0),
        servers={"api": Server(workers=4, law=LogNormal(0.2, 0.5))},
        traffic=(Traffic(arrivals=Poisson(40.0), mix=ONLY_NORMAL, keys=50, deadline=2.0, fair=True),),
    ),
)
