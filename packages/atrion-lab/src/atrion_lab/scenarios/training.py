"""Scenarios on which defaults are found: other servers, loads and faults than those that are reported."""

from __future__ import annotations

from atrion_lab.arrivals import Bursty, Poisson, Profile
from atrion_lab.clients import Traffic
from atrion_lab.scenario import Scenario
from atrion_lab.services import Bimodal, Exponential, LogNormal, Phase, Server, ServiceTime

__all__ = ["TRAINING"]

MIX = (0.2, 0.2, 0.35, 0.15, 0.1)


def _load(
    name: str,
    about: str,
    factor: float,
    workers: int,
    law: ServiceTime,
    deadline: float,
    retries: int = 0,
) -> Scenario:
    server = Server(workers=workers, law=law)
    arrivals = Poisson(factor * server.capacity)
    return Scenario(
        name=name,
        about=about,
        seconds=16.0,
        window=(4.0, 14.0),
        servers={"api": server},
        traffic=(Traffic(arrivals=arrivals, mix=MIX, deadline=deadline, retries=retries),),
    )


def _fault(name: str, about: str, rate: float, workers: int, law: ServiceTime, *phases: Phase) -> Scenario:
    return Scenario(
        name=name,
        about=about,
        seconds=30.0,
        window=(9.0, 16.0),
        servers={"db": Server(workers=workers, law=law, phases=phases)},
        traffic=(Traffic(arrivals=Poisson(rate), to=("db",), mix=MIX, deadline=1.0),),
    )


SMALL = Server(workers=4, law=LogNormal(0.03, 0.6))

TRAINING: tuple[Scenario, ...] = (
    _load("train-small", "3 times a server of 4 workers", 3.0, 4, Exponential(0.02), 0.3),
    _load("train-large", "1.3 times a server of 64 workers", 1.3, 64, LogNormal(0.15, 0.7), 1.0),
    _load("train-tail", "2.5 times a server with two kinds of work", 2.5, 12, Bimodal(0.03, 0.05, 8.0), 0.5),
    _load("train-flood", "6 times, all retried once", 6.0, 10, LogNormal(0.04, 0.4), 0.4, retries=1),
    _load("train-calm", "0.7 of a server with two kinds of work", 0.7, 12, Bimodal(0.03, 0.05, 8.0), 0.5),
    Scenario(
        name="train-step",
        about="0.6, then 2.5, then 0.6 times a server of 4 workers",
        seconds=40.0,
        window=(12.0, 24.0),
        servers={"api": SMALL},
        traffic=(
            Traffic(
                arrivals=Profile(
                    tuple((at, load * SMALL.capacity) for at, load in ((0, 0.6), (10, 2.5), (25, 0.6)))
                ),
                mix=MIX,
                deadline=0.4,
            ),
        ),
    ),
    Scenario(
        name="train-bursts",
        about="between 0.3 and 2 times a server of 4 workers, several times a second",
        seconds=30.0,
        window=(5.0, 28.0),
        servers={"api": SMALL},
        traffic=(
            Traffic(
                arrivals=Bursty((0.3 * SMALL.capacity, 2.0 * SMALL.capacity), 0.3), mix=MIX, deadline=0.4
            ),
        ),
    ),
    _fault(
        "train-dead",
        "a dependency that fails after 20 ms from 8 to 16 s",
        250.0,
        32,
        LogNormal(0.03, 0.5),
        Phase(start=8.0, fail=1.0, fail_after=0.02),
        Phase(start=16.0),
    ),
    _fault(
        "train-gray",
        "30% of the calls fail from 3 s on",
        250.0,
        32,
        LogNormal(0.03, 0.5),
        Phase(start=3.0, fail=0.3),
    ),
    _fault(
        "train-slow",
        "every call takes 60 times as long from 8 to 16 s",
        150.0,
        32,
        LogNormal(0.03, 0.5),
        Phase(start=8.0, slow=60.0),
        Phase(start=16.0),
    ),
)
