"""Measures of a run by name, one number each."""

from __future__ import annotations

import math
from collections.abc import Callable

from atrion_lab.metrics import BIN, Run, jain, percentile
from atrion_lab.scenario import Scenario

__all__ = ["MEASURES", "Measure", "onset", "recovery", "shed_after"]

Measure = Callable[[Scenario, Run], float]
SPAN = 0.5
"""Seconds over which a rate is taken when an instant is looked for."""
GAMMA = 0.3
"""The default γ."""
NEVER = 999.0
"""Seconds that stand for never: JSON has no infinity."""


def _goodput(scenario: Scenario, run: Run) -> float:
    return run.goodput(*scenario.window)


def _offered_goodput(scenario: Scenario, run: Run) -> float:
    """Good answers over what could be answered: the smaller of what is offered and what is carried."""
    start, end = scenario.window
    return run.rate("good", start, end) / min(run.rate("offered", start, end), run.capacity)


def _critical(scenario: Scenario, run: Run) -> float:
    return run.success(*scenario.window, 4)


def _critical_possible(scenario: Scenario, run: Run) -> float:
    """Critical success over what any policy could reach: all of it, or as much as the capacity carries."""
    start, end = scenario.window
    demand = run.rate("offered", start, end, 4)
    return run.success(start, end, 4) / min(1.0, run.capacity / demand)


def _p99(scenario: Scenario, run: Run) -> float:
    return run.latency(0.99, *scenario.window)


def _p99_deadline(scenario: Scenario, run: Run) -> float:
    return _p99(scenario, run) / scenario.traffic[0].deadline


def _rejected(scenario: Scenario, run: Run) -> float:
    start, end = scenario.window
    return run.count("rejected", start, end) / max(run.count("attempts", start, end), 1)


def _breaks(scenario: Scenario, run: Run) -> float:
    return float(run.transitions())


def _open(scenario: Scenario, run: Run) -> float:
    return run.share_open()


def _wasted(scenario: Scenario, run: Run) -> float:
    """Share of the calls that were let through to a dependency that answers none."""
    start, end = scenario.window
    return run.count("admitted", start, end) / max(run.count("attempts", start, end), 1)


def _served_possible(failing: float) -> Measure:
    """Good answers over those the dependency would have given, ``failing`` being the share that fails."""

    def measure(scenario: Scenario, run: Run) -> float:
        return run.success(*scenario.window) / (1.0 - failing)

    return measure


def _bins(run: Run, kind: str) -> list[int]:
    return [sum(tiers) for tiers in zip(*run.series[kind], strict=True)]


def recovery(run: Run, at: float, until: float, share: float = 0.99) -> float:
    """Seconds after ``at`` from which on, until ``until``, ``share`` of the offered is good in every SPAN.

    A single poor SPAN, as chance brings it, must fall below ``share`` − 0.03 to count.
    """
    offered, kept = _bins(run, "offered"), _bins(run, "kept")
    width = round(SPAN / BIN)
    first, last = round(at / BIN), round(until / BIN)
    bad_until = first
    for start in range(first, last - width + 1):
        born = sum(offered[start : start + width])
        if born and sum(kept[start : start + width]) / born < share - 0.03:
            bad_until = start + width
    return NEVER if bad_until >= last else (bad_until - first) * BIN


def shed_after(run: Run, at: float, until: float, carried: float) -> float:
    """Seconds after ``at`` from which on no SPAN admits more than ``carried`` calls a second explain.

    Three standard deviations of a Poisson count are allowed for chance.
    """
    admitted = _bins(run, "admitted")
    width = round(SPAN / BIN)
    first, last = round(at / BIN), round(until / BIN)
    expected = carried * SPAN
    most = expected + 3.0 * math.sqrt(expected)
    bad_until = first
    for start in range(first, last - width + 1):
        if sum(admitted[start : start + width]) > most:
            bad_until = start + 1
    return NEVER if bad_until > last - width else (bad_until - first) * BIN


def onset(run: Run, at: float, carried: float, least: float = 0.5) -> float:
    """Seconds after ``at`` until ``least`` of what is more than ``carried`` calls a second is refused, over SPAN."""
    attempts, rejected = _bins(run, "attempts"), _bins(run, "rejected")
    width = round(SPAN / BIN)
    for end in range(round(at / BIN) + 1, len(attempts)):
        window = slice(max(end - width, 0), end)
        excess = sum(attempts[window]) - carried * SPAN
        if sum(rejected[window]) >= least * excess:
            return end * BIN - at
    return NEVER


def _second_notice(scenario: Scenario, run: Run) -> float:
    """Seconds by which the second outage of slow-ramp is noticed later than the first."""
    carried = run.capacity / 10.0
    return onset(run, 230.0, carried) - onset(run, 130.0, carried)


def _after_trigger(scenario: Scenario, run: Run) -> float:
    return run.goodput(90.0, 128.0) / run.goodput(5.0, 20.0)


def _shares(run: Run) -> list[float]:
    totals = [[sum(column) for column in zip(*minutes, strict=True)] for minutes in run.keys.values()]
    return [good / offered for offered, good in totals if offered]


def _jain(scenario: Scenario, run: Run) -> float:
    return jain(_shares(run))


def _steadiness(scenario: Scenario, run: Run) -> float:
    """Mean over keys and minutes of the larger of the shares served and refused: 1 is wholly one or the other."""
    values = [
        max(good, offered - good) / offered
        for minutes in run.keys.values()
        for offered, good in minutes[1:]
        if offered >= 5
    ]
    return sum(values) / len(values) if values else 0.0


def _follow(scenario: Scenario, run: Run) -> float:
    """Pulses from the active pod's first scar until the median idle pod's R has risen by half of γ times it."""
    assert scenario.cluster is not None
    active = run.trace("scar", "db", "0")
    first, scar = next(((at, scar) for at, scar in active if scar > 1.0), (NEVER, 0.0))
    delays = []
    for pod in range(1, scenario.cluster.pods):
        trace = [(at, ohms) for at, ohms in run.trace("R", "db", str(pod)) if at >= first]
        enough = trace[0][1] + 0.5 * GAMMA * scar if trace else NEVER
        moved = next((at for at, ohms in trace if ohms >= enough), None)
        delays.append(NEVER if moved is None else (moved - first) / scenario.cluster.interval)
    return percentile(delays, 0.5)


def _worth(scenario: Scenario, run: Run) -> float:
    """What the good answers were worth, over the same number of answers of full quality that the capacity carries."""
    start, end = (round(at / BIN) for at in scenario.window)
    worth = sum(sum(tier[start:end]) for tier in run.worth)
    return worth / (run.capacity * (scenario.window[1] - scenario.window[0]))


def _success(tier: int | None) -> Measure:
    def measure(scenario: Scenario, run: Run) -> float:
        return run.success(*scenario.window, tier)

    return measure


def _sick_share(scenario: Scenario, run: Run) -> float:
    """Share of the calls that were sent to the first route while it was sick, from five seconds on."""
    start, end = (int(at) for at in scenario.window)
    sent = {route: sum(seconds[start:end]) for route, seconds in run.routes.items()}
    return sent.get(scenario.traffic[0].to[0], 0) / max(sum(sent.values()), 1)


MEASURES: dict[str, Measure] = {
    "goodput / capacity": _goodput,
    "served / possible": _offered_goodput,
    "success": _success(None),
    "critical success": _critical,
    "critical success / possible": _critical_possible,
    "high success": _success(3),
    "normal success": _success(2),
    "bulk success": _success(0),
    "p99 of admitted, s": _p99,
    "p99 of admitted / deadline": _p99_deadline,
    "rejected": _rejected,
    "break transitions": _breaks,
    "time open": _open,
    "time to shed, s": lambda _, run: shed_after(run, 20.0, 40.0, run.capacity),
    "time to recover, s": lambda _, run: recovery(run, 40.0, 58.0),
    "goodput after / before": _after_trigger,
    "wasted calls": _wasted,
    "time to full service, s": lambda scenario, run: recovery(run, 50.0, scenario.seconds - 2.0),
    "served / possible at 20%": _served_possible(0.2),
    "served / possible at 50%": _served_possible(0.5),
    "second noticed later by, s": _second_notice,
    "Jain's index over keys": _jain,
    "steadiness per key and minute": _steadiness,
    "pulses until others follow": _follow,
    "worth / capacity": _worth,
    "share of the sick route": _sick_share,
}
