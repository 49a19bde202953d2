"""Decay prevents deadlock.

Guarded calls, 50 a second, meet a dependency that fails all of them for 5, 30 or 120 s and then is well. With decay
the route must serve again within seconds however long the outage was; without it (λ one millionth per second) the
same engine must stay shut, which shows that it is decay that opens it.
"""

from __future__ import annotations

from random import Random
from typing import Final

from atrion.engine import Atrion
from atrion.physics import Mode, PhysicsConfig
from atrion.sensing import Outcome
from atrion_lab.hypotheses.hypothesis import Clock, Hypothesis, Measure, Trace, Trial
from atrion_lab.simulator import Simulation

__all__ = ["HEALING"]

OUTAGES: Final = (5.0, 30.0, 120.0)
START: Final = 10.0
AFTER: Final = 40.0
"""Seconds watched after an outage."""
RATE: Final = 50.0
"""Calls per second."""
SERVICE: Final = 0.02
"""Seconds of an answer; a failing call takes a quarter."""
UNHEALED: Final = 1e-6
"""λ, per second, of the engine without decay."""


def _outage(seed: int, decay_rate: float, length: float) -> tuple[float, float, Trace]:
    """Seconds until everything is served for a second, the share of time then still broken, and R over time."""
    simulation = Simulation()
    engine = Atrion(clock=Clock(simulation), config=PhysicsConfig(decay_rate=decay_rate))
    rng = Random(f"healing/{seed}/{length}")
    end = START + length
    asked = [0] * round(AFTER)
    served = [0] * round(AFTER)
    broken: list[bool] = []
    trace: Trace = []

    def arrive(_: object) -> None:
        now = simulation.now
        simulation.at(now + rng.expovariate(RATE), arrive)
        flow = engine.flow("api")
        admitted = flow.decide().allowed
        if admitted:
            sick = START <= now < end
            outcome = Outcome.FAILURE if sick else Outcome.SUCCESS
            simulation.at(now + (0.25 * SERVICE if sick else SERVICE), lambda _: flow.finish(int(outcome)))
        second = int(now - end) if now >= end else -1
        if 0 <= second < len(asked):
            asked[second] += 1
            served[second] += admitted

    def look(_: object) -> None:
        simulation.at(simulation.now + 0.1, look)
        state = engine.snapshot().get("api")
        if state is not None and simulation.now >= end - 5.0:
            trace.append((simulation.now - end, state.resistance))
            if simulation.now >= end:
                broken.append(state.mode is Mode.CIRCUIT_BREAKER)

    simulation.at(0.0, arrive)
    simulation.at(0.0, look)
    simulation.run(end + AFTER)
    whole = (second for second, count in enumerate(asked) if served[second] == count)
    return float(next(whole, len(asked))), sum(broken) / len(broken), trace


def _play(seed: int) -> Trial:
    values: dict[str, float] = {}
    traces: dict[str, Trace] = {}
    shipped = PhysicsConfig().decay_rate
    for name, decay_rate in (("with decay", shipped), ("without decay", UNHEALED)):
        played = [_outage(seed, decay_rate, length) for length in OUTAGES]
        traces[name] = played[1][2]
        for length, (comeback, _, _) in zip(OUTAGES, played, strict=True):
            values[f"seconds to full service after {length:g} s, {name}"] = comeback
        values[f"longest seconds to full service, {name}"] = max(comeback for comeback, _, _ in played)
        values[f"share of the time after the longest broken, {name}"] = played[-1][1]
    return Trial(values, traces)


HEALING: Final = Hypothesis(
    "decay",
    "decay prevents deadlock: however long an outage was, the route serves again soon after",
    (
        Measure("longest seconds to full service, with decay", 5.0, most=True),
        Measure("share of the time after the longest broken, without decay", 0.99),
        Measure("share of the time after the longest broken, with decay"),
        *(Measure(f"seconds to full service after {length:g} s, with decay") for length in OUTAGES),
        Measure("longest seconds to full service, without decay"),
    ),
    _play,
)
