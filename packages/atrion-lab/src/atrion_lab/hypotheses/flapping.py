"""Momentum and hysteresis against flapping.

A dependency is healthy or dead for 20 s on average, and its telemetry flickers: three ticks in a hundred read dead
while it is healthy, one in ten reads healthy while it is dead. Engines are fed every reading, so that no breaker
blinds itself; the bare threshold opens and closes at the error rate the SLO names. A breaker that never opens flaps
least, which is why the share of time open stands beside the transitions and must match the share of time dead.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from random import Random
from typing import Final

from atrion.engine import Atrion
from atrion.physics import SLO, Mode, PhysicsConfig
from atrion.sensing import Telemetry
from atrion_lab.hypotheses.hypothesis import Clock, Hypothesis, Measure, Trial
from atrion_lab.simulator import Simulation

__all__ = ["FLAPPING"]

SECONDS: Final = 600.0
TICK: Final = 0.1
SPELL: Final = 20.0
"""Mean seconds of a healthy or dead spell."""
FALSE_DEATH: Final = 0.03
FALSE_LIFE: Final = 0.1
"""Shares of ticks that read otherwise than the dependency is."""
HEALTHY: Final = 0.02
"""Error rate while healthy."""

VARIANTS: Final = ("threshold", "neither", "momentum", "hysteresis", "both")


def _readings(rng: Random) -> list[tuple[bool, float]]:
    """For every tick, whether the dependency is dead, and the error rate its telemetry shows."""
    found = []
    dead, left = False, rng.expovariate(1.0 / SPELL)
    for _ in range(round(SECONDS / TICK)):
        left -= TICK
        if left <= 0.0:
            dead, left = not dead, rng.expovariate(1.0 / SPELL)
        shown = dead != (rng.random() < (FALSE_LIFE if dead else FALSE_DEATH))
        found.append((dead, 1.0 if shown else HEALTHY))
    return found


def _switches(states: list[bool]) -> int:
    return sum(before != after for before, after in itertools.pairwise(states))


def _play(seed: int) -> Trial:
    simulation = Simulation()
    clock = Clock(simulation)
    slo = SLO()
    engines = {
        "both": Atrion(slo=slo, clock=clock),
        "hysteresis": Atrion(slo=slo, clock=clock, config=PhysicsConfig(damping=0.0)),
    }
    breaks = PhysicsConfig().base_resistance * PhysicsConfig().break_multiplier
    readings = _readings(Random(f"flapping/{seed}"))
    opened: dict[str, list[bool]] = {name: [] for name in VARIANTS}
    resistance = []
    for tick, (_, error_rate) in enumerate(readings, 1):
        simulation.now = tick * TICK
        states = {
            name: engine.update_physics("api", Telemetry(latency=0.05, error_rate=error_rate))
            for name, engine in engines.items()
        }
        opened["threshold"].append(error_rate > slo.error_rate)
        opened["neither"].append(states["hysteresis"].resistance >= breaks)
        opened["momentum"].append(states["both"].resistance >= breaks)
        for name, state in states.items():
            opened[name].append(state.mode is Mode.CIRCUIT_BREAKER)
        resistance.append((simulation.now, states["both"].resistance))
    dead = [sick for sick, _ in readings]
    return Trial(_values(opened, dead), _traces(opened, dead, resistance))


def _values(opened: Mapping[str, list[bool]], dead: list[bool]) -> dict[str, float]:
    share = sum(dead) / len(dead)
    values = {"share of time dead": share, "changes of the dependency": float(_switches(dead))}
    for name, states in opened.items():
        values[f"transitions, {name}"] = float(_switches(states))
        values[f"share of time open, {name}"] = sum(states) / len(states)
    values["transitions of both over the bare threshold's"] = values["transitions, both"] / max(
        values["transitions, threshold"], 1.0
    )
    values["share of time open less share of time dead"] = abs(values["share of time open, both"] - share)
    return values


def _traces(
    opened: Mapping[str, list[bool]], dead: list[bool], resistance: list[tuple[float, float]]
) -> dict[str, list[tuple[float, float]]]:
    traces = {"R": resistance, "dead": [(at, float(dead[i])) for i, (at, _) in enumerate(resistance)]}
    for name in ("threshold", "both"):
        traces[name] = [(at, float(opened[name][i])) for i, (at, _) in enumerate(resistance)]
    return traces


FLAPPING: Final = Hypothesis(
    "flapping",
    "momentum and hysteresis keep a breaker from flapping, and it still opens when it should",
    (
        Measure("transitions of both over the bare threshold's", 0.25, most=True),
        Measure("share of time open less share of time dead", 0.1, most=True),
        Measure("changes of the dependency"),
        Measure("share of time dead"),
        *(Measure(f"{what}, {name}") for name in VARIANTS for what in ("transitions", "share of time open")),
    ),
    _play,
)
