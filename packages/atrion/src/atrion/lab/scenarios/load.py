"""Too much traffic for a healthy server."""

from __future__ import annotations

from atrion.lab.arrivals import Poisson
from atrion.lab.clients import Traffic
from atrion.lab.scenario import Scenario
from atrion.lab.services import Server

__all__ = ["LOAD", "steady"]

SERVER = Server()
CAPACITY = SERVER.capacity


def steady(factor: float) -> Scenario:
    """Poisson arrivals at ``factor`` times the capacity, from the first second on."""
    return Scenario(
        name=f"steady-{factor:g}x",
        about=f"Poisson arrivals at {factor:g} times the capacity",
        traffic=(Traffic(arrivals=Poisson(factor * CAPACITY)),),
    )


LOAD = tuple(steady(factor) for factor in (0.5, 0.8, 1.0, 1.2, 1.5, 2.0, 4.0, 10.0))
