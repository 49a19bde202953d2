"""Scars route traffic away.

Three routes to like backends share 100 calls a second by ``select``; one of them falls sick for 30 s: it fails all
calls, answers twenty times as slowly, hangs, or flaps: dead for 4 s, well for 1.5 s, and so on. From a second after
that it must get less than a tenth of the traffic (a seventh if it flaps), and once it is well its share must come
back, lest never trying it again would win. The same engine without scars stands beside.
"""

from __future__ import annotations

from random import Random
from typing import Final

from atrion.engine import Atrion
from atrion.errors import FlowRejected
from atrion.physics import SLO, PhysicsConfig
from atrion.sensing import Outcome
from atrion_lab.hypotheses.hypothesis import Clock, Hypothesis, Measure, Trace, Trial
from atrion_lab.simulator import Simulation

__all__ = ["ROUTING"]

ROUTES: Final = ("sick", "well-1", "well-2")
RATE: Final = 100.0
"""Calls per second, of all routes together."""
SERVICE: Final = 0.05
DEADLINE: Final = 2.0
"""Seconds after which a client gives up."""
PROMISE: Final = 0.3
"""Seconds after which an answer is too late to be of use: without a promise, slow is not sick."""
SICK: Final = (10.0, 40.0)
BACK: Final = (50.0, 60.0)
"""When its share is looked at again."""
END: Final = BACK[1]
DEAD: Final = 4.0
WELL: Final = 1.5
"""Seconds for which a flapping route is dead, then well, then dead."""
SICKNESSES: Final = ("failing", "slow", "hung", "flapping")


def _sent(seed: int, sickness: str, config: PhysicsConfig) -> list[tuple[float, str]]:
    """When each admitted call was sent, and to which route."""
    simulation = Simulation()
    engine = Atrion(clock=Clock(simulation), config=config, slo=SLO(latency=PROMISE))
    rng = Random(f"routing/{seed}/{sickness}")
    sent: list[tuple[float, str]] = []

    def arrive(_: object) -> None:
        now = simulation.now
        simulation.at(now + rng.expovariate(RATE), arrive)
        service = rng.expovariate(1.0 / SERVICE)
        try:
            route = engine.select(ROUTES)
        except FlowRejected:
            return
        flow = engine.flow(route)
        if not flow.decide().allowed:
            return
        sent.append((now, route))
        outcome = Outcome.SUCCESS
        if (
            route == "sick"
            and SICK[0] <= now < SICK[1]
            and not (sickness == "flapping" and (now - SICK[0]) % (DEAD + WELL) >= DEAD)
        ):
            if sickness in {"failing", "flapping"}:
                service, outcome = 0.1 * service, Outcome.FAILURE
            elif sickness == "slow":
                service *= 20.0
            else:
                service = DEADLINE
        if service >= DEADLINE:
            service, outcome = DEADLINE, Outcome.DROPPED
        simulation.at(now + service, lambda _: flow.finish(int(outcome)))

    simulation.at(0.0, arrive)
    simulation.run(END)
    return sent


def _share(sent: list[tuple[float, str]], start: float, end: float) -> float:
    """The sick route's share of what was sent from ``start`` to ``end``."""
    routes = [route for at, route in sent if start <= at < end]
    return routes.count("sick") / max(len(routes), 1)


def _play(seed: int) -> Trial:
    values: dict[str, float] = {}
    traces: dict[str, Trace] = {}
    for sickness in SICKNESSES:
        for name, config in (("", PhysicsConfig()), (", without scars", PhysicsConfig(scar_factor=0.0))):
            sent = _sent(seed, sickness, config)
            values[f"share sent to a {sickness} route{name}"] = _share(sent, SICK[0] + 1.0, SICK[1])
            values[f"share sent to it when well again, {sickness}{name}"] = _share(sent, *BACK)
            traces[f"{sickness}{name}"] = [(at + 0.5, _share(sent, at, at + 1.0)) for at in range(int(END))]
    flapping = "share sent to a flapping route"
    values[f"{flapping} over that without scars"] = values[flapping] / values[f"{flapping}, without scars"]
    return Trial(values, traces)


ROUTING: Final = Hypothesis(
    "routing",
    "scars route traffic away from a sick route, and let it come back",
    (
        *(Measure(f"share sent to a {sickness} route", 0.1, most=True) for sickness in SICKNESSES[:3]),
        # It is well for a quarter of the time, and what answers again is used again.
        Measure("share sent to a flapping route", 0.15, most=True),
        *(Measure(f"share sent to it when well again, {sickness}", 0.25) for sickness in SICKNESSES),
        Measure("share sent to a flapping route over that without scars"),
        *(Measure(f"share sent to a {sickness} route, without scars") for sickness in SICKNESSES),
    ),
    _play,
)
