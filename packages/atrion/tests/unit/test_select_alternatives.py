"""The routes of a router are alternatives: none is judged by the queue of another, and a slow one is rarely probed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random

import pytest

from atrion import SLO, Atrion
from atrion.errors import FlowRejected
from atrion.sensing import Outcome
from atrion.testing import VirtualClock

ROUTES = ["sick", "well-1", "well-2"]
RATE = 15.0
"""Calls a second."""
DEADLINE = 15.0
"""Seconds after which a client gives up."""


class Router:
    """Sends calls that take four seconds, or 24 on a sick route, to the routes that ``select`` chooses."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.engine = Atrion(clock=self.clock, slo=SLO(latency=DEADLINE))
        self._rng = Random(1)
        self._ends: list[tuple[float, Callable[[], None]]] = []

    def run(self, seconds: float, sick: bool) -> tuple[Counter[str], int]:
        """How many calls each route was sent, and how many were shed."""
        sent: Counter[str] = Counter()
        shed = 0
        for _ in range(round(seconds * RATE)):
            self.clock.advance(1.0 / RATE)
            self._end()
            route = self.engine.select(ROUTES)
            takes = (24.0 if sick and route == "sick" else 4.0) * self._rng.uniform(0.7, 1.3)
            if self._send(route, takes):
                sent[route] += 1
            else:
                shed += 1
        return sent, shed

    def _send(self, route: str, takes: float) -> bool:
        flow = self.engine.flow(route)
        if not flow.try_begin():
            return False
        outcome = Outcome.SUCCESS if takes < DEADLINE else Outcome.DROPPED
        self._ends.append((self.clock.now + min(takes, DEADLINE), lambda: flow.finish(int(outcome))))
        return True

    def _end(self) -> None:
        for call in [call for call in self._ends if call[0] <= self.clock.now]:
            self._ends.remove(call)
            call[1]()


def test_a_sick_route_is_avoided_and_rarely_probed_while_the_others_serve_everything() -> None:
    router = Router()
    assert router.run(30.0, False)[1] == 0
    router.run(30.0, True)  # it takes the deadline to notice
    sent, shed = router.run(60.0, True)
    assert 0.0 < sent["sick"] / sent.total() < 0.02
    assert shed / sent.total() < 0.01
    router.run(30.0, False)
    well, _ = router.run(20.0, False)
    assert well["sick"] / well.total() == pytest.approx(1 / 3, abs=0.05)


def test_alternatives_share_no_bottleneck_unless_one_is_configured() -> None:
    engine = Atrion()
    engine.configure("db/*", pool="disk")
    for routes in (["a", "b"], ["db/a", "db/b"]):
        engine.select(routes)
    engine.flow("c").try_begin()
    seen = engine.snapshot()
    assert {route: seen[route].pool for route in seen} == {
        "a": "a",
        "b": "b",
        "db/a": "disk",
        "db/b": "disk",
        "c": "shared",
    }
    assert seen["a"].pool_reason == "it is an alternative to other routes"
    assert seen["db/a"].pool_reason == "configured"
    engine.reset("a")
    assert engine.snapshot()["a"].pool == "a"


def test_asking_a_router_refuses_nobody(
    engine: Atrion, clock: VirtualClock, broken: Callable[[Atrion, str], None]
) -> None:
    broken(engine, "sick")
    for _ in range(300):
        clock.advance(0.1)
        engine.select(ROUTES)
    seen = engine.snapshot()["sick"]
    assert (seen.admitted, seen.shed) == (0, 0)


def test_a_probe_is_taken_by_one_request(
    engine: Atrion, clock: VirtualClock, broken: Callable[[Atrion, str], None]
) -> None:
    broken(engine, "sick")
    clock.advance(1.0)
    while engine.select(ROUTES) != "sick":
        clock.advance(0.1)
    with engine.flow("sick") as flow:
        flow.fail()
    with pytest.raises(FlowRejected):
        engine.flow("sick").__enter__()
