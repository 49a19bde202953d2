"""The measures of a run, request by request, over what was possible, and whether they meet their bounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from atrion_lab.ledger import Accounts
from atrion_lab.metrics import Run, percentile
from atrion_lab.policies.catalog import POSSIBLE, Controller
from atrion_lab.scenario import Scenario, simulate
from atrion_lab.summary import TIER_NAMES

__all__ = ["AT_MOST", "BOUNDED", "flat", "keeps", "mean", "measure", "rows", "worst"]

AT_MOST = (
    "idle_rejects",
    "late_share",
    "p50_seconds",
    "p99_seconds",
    "p99_over_deadline",
    "break_transitions",
)
"""Measures that are better when they are smaller; the others are better when they are larger."""
BOUNDED = (
    *AT_MOST,
    "good_over_possible",
    "work_over_possible",
    "critical_success",
    "goodput_ratio",
    "well_over_possible",
)
"""Measures that a bound may be given for, besides the success of each tier."""

Row = dict[str, Any]


def _over(part: float, whole: float) -> float:
    """Their quotient; nothing of nothing is all of it, and JSON has no infinity."""
    return part / whole if whole > 0.0 else 1.0


def measure(
    scenario: Scenario, run: Run, accounts: Accounts, possible: Accounts, well: tuple[str, ...] = ()
) -> Row:
    """The measures of the requests born in the scenario's window, against those that were ``possible``."""
    start, end = scenario.window
    clients, best = accounts.clients, possible.clients
    attempts = clients.attempts + accounts.inner.attempts
    success = {
        name: _over(clients.answered(tier), clients.born[tier])
        for tier, name in enumerate(TIER_NAMES)
        if clients.born[tier]
    }
    row: Row = {
        "idle_rejects": (clients.idle + accounts.inner.idle) / max(attempts, 1),
        "good_over_possible": _over(clients.answered(), best.answered()),
        "work_over_possible": _over(clients.work, best.work),
        "critical_success": success.get("critical", 1.0),
        "success": success,
        "goodput_ratio": clients.answered() / (end - start) / scenario.capacity,
        "late_share": clients.late / max(clients.admitted, 1),
        "p50_seconds": percentile(clients.latencies, 0.5),
        "p99_seconds": percentile(clients.latencies, 0.99),
        "p99_over_deadline": percentile(clients.shares, 0.99),
        "break_transitions": accounts.breaks,
    }
    if well:
        row["well_over_possible"] = _over(clients.answered(routes=well), best.answered(routes=well))
    return row


def flat(row: Mapping[str, Any]) -> dict[str, float]:
    """Every measure by one name, ``success.<tier>`` too."""
    found: dict[str, float] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            found |= {f"{name}.{tier}": each for tier, each in value.items()}
        else:
            found[name] = value
    return found


def _nested(measures: Mapping[str, float]) -> Row:
    row: Row = {}
    for name, value in measures.items():
        kind, dot, tier = name.partition(".")
        if dot:
            row.setdefault(kind, {})[tier] = value
        else:
            row[name] = value
    return row


def _fold(found: Sequence[Row], fold: Callable[[str, list[float]], float]) -> Row:
    flats = [flat(row) for row in found]
    names = dict.fromkeys(name for each in flats for name in each)
    return _nested({name: fold(name, [each[name] for each in flats if name in each]) for name in names})


def mean(found: Sequence[Row]) -> Row:
    """The mean of each measure over the seeds."""
    return _fold(found, lambda _, values: math.fsum(values) / len(values))


def worst(found: Sequence[Row]) -> Row:
    """The worst of each measure over the seeds."""
    return _fold(found, lambda name, values: max(values) if name in AT_MOST else min(values))


def keeps(row: Mapping[str, Any], expect: Mapping[str, float]) -> dict[str, bool]:
    """Whether each bound is kept; a tier that nobody asked for has lost nothing."""
    found = flat(row)
    return {
        name: found.get(name, bound) <= bound if name in AT_MOST else found.get(name, bound) >= bound
        for name, bound in expect.items()
    }


def rows(
    scenario: Scenario,
    controllers: Sequence[Controller],
    seeds: Sequence[int],
    well: tuple[str, ...] = (),
    tell: Callable[[float], None] | None = None,
    keep: Callable[[Run], None] | None = None,
) -> Iterator[tuple[str, int, Row]]:
    """Play, and yield a controller, a seed and its measures, by seed; ``keep`` is given the first run, with samples.

    ``tell`` hears the share that is done.
    """
    runs = len(seeds) * (len(controllers) + 1)
    done = 0

    def play(controller: Controller, seed: int, *, sampled: bool = False) -> tuple[Run, Accounts]:
        nonlocal done
        accounts = Accounts(*scenario.window, sampled=sampled)
        hear = None if tell is None else lambda share: tell((done + share) / runs)
        run = simulate(scenario, controller, seed, hear, accounts)
        done += 1
        return run, accounts

    for seed in seeds:
        _, possible = play(POSSIBLE, seed)
        for controller in controllers:
            run, accounts = play(controller, seed, sampled=keep is not None)
            if keep is not None:
                keep(run)
                keep = None
            yield controller.name, seed, measure(scenario, run, accounts, possible, well)
