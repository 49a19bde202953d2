"""A dependency with capacity to spare that fails, hangs, flaps and comes back."""

from __future__ import annotations

from atrion_lab.arrivals import Poisson
from atrion_lab.clients import Traffic
from atrion_lab.scenario import Scenario
from atrion_lab.services import LogNormal, Phase, Server

__all__ = ["FAULTS", "dependency"]

RATE = 400.0
"""Calls a second: an eighth of what the dependency can serve."""


def dependency(*phases: Phase) -> Server:
    """A database-like server that goes through ``phases``."""
    return Server(workers=64, law=LogNormal(0.02, 0.5), phases=phases)


def _fault(
    name: str, about: str, seconds: float, window: tuple[float, float], *phases: Phase, deadline: float = 0.5
) -> Scenario:
    return Scenario(
        name=name,
        about=about,
        seconds=seconds,
        window=window,
        servers={"db": dependency(*phases)},
        traffic=(Traffic(arrivals=Poisson(RATE), to=("db",), deadline=deadline),),
    )


def _flapping() -> tuple[Phase, ...]:
    phases = []
    for start in range(10, 60, 5):
        phases += [Phase(start=start, fail=1.0, fail_after=0.005), Phase(start=start + 2.0)]
    return tuple(phases)


FAULTS = (
    _fault(
        "dead-dependency",
        "every call fails within 5 ms for 30 seconds, then all is well",
        70.0,
        (21.0, 50.0),
        Phase(start=20.0, fail=1.0, fail_after=0.005),
        Phase(start=50.0),
    ),
    _fault(
        "gray-failure-20%",
        "a fifth of the calls fail, after as long as a success takes",
        40.0,
        (15.0, 39.0),
        Phase(start=10.0, fail=0.2),
    ),
    _fault(
        "gray-failure-50%",
        "half of the calls fail, after as long as a success takes",
        40.0,
        (15.0, 39.0),
        Phase(start=10.0, fail=0.5),
    ),
    _fault(
        "hung-dependency",
        "no call is answered for 20 seconds; callers give up after two",
        65.0,
        (25.0, 40.0),
        Phase(start=20.0, hang=True),
        Phase(start=40.0),
        deadline=2.0,
    ),
    _fault(
        "flapping-dependency",
        "dead for two seconds out of every five",
        70.0,
        (10.0, 60.0),
        *_flapping(),
    ),
    _fault(
        "slow-dependency",
        "every call takes 40 times as long for 20 seconds, more than its callers wait",
        60.0,
        (25.0, 40.0),
        Phase(start=20.0, slow=40.0),
        Phase(start=40.0),
    ),
)
