"""An engine by itself: called by many threads, beside other engines, on the machine's clock, and subclassed."""

from __future__ import annotations

import sys
import threading
from typing import Any

import pytest

from atrion import Atrion, Decision, Tier, compiled
from atrion.state import Clock, SystemClock
from atrion.testing import VirtualClock
from packages.atrion.tests.unit.calling import Breaker, enter


@pytest.mark.slow
def test_eight_threads_lose_no_count(engine: Atrion) -> None:
    calls = 100_000 if compiled else 20_000  # a traced interpreter takes half a minute for the rest
    done: list[int] = []

    @engine.protect("r", tier="critical")
    def call() -> None:
        pass

    def work() -> None:
        for _ in range(calls):
            call()
        done.append(calls)

    threads = [threading.Thread(target=work) for _ in range(8)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    seen = engine.snapshot()["r"]
    assert sum(done) == 8 * calls
    assert (seen.admitted, seen.shed, seen.in_flight) == (8 * calls, 0, 0)
    assert engine.routes["r"].window.successes_total == 8 * calls


def test_engines_do_not_leak_into_each_other(clock: VirtualClock, broken: Breaker) -> None:
    one, two = Atrion(clock=clock), Atrion(clock=clock)
    broken(one, "r")
    one.configure("s", gamma=1.0)
    assert two.snapshot() == {}
    assert two.decide("r")
    assert one.node != two.node
    assert one.state.provider is not two.state.provider


def test_the_machines_clock_is_the_default() -> None:
    engine = Atrion()
    assert engine.decide("r", key="alice")
    enter(engine, "r")
    assert engine.snapshot()["r"].admitted == 1


def test_what_a_subclass_overrides_counts(clock: VirtualClock) -> None:
    class Counting(Atrion):
        asked = 0

        def decide(self, *args: Any, **kwargs: Any) -> Decision:
            self.asked += 1
            return super().decide(*args, **kwargs)

        def create_route(self, route_id: Any) -> Any:
            return super().create_route(f"shop/{route_id}")

    engine = Counting(clock=clock)
    assert engine.decide("r", Tier.HIGH, key="alice").route == "shop/r"
    with engine.flow("other"):
        assert engine.snapshot()["shop/other"].in_flight == 1
    assert engine.asked == 1


def test_clocks() -> None:
    assert isinstance(SystemClock(), Clock)
    assert isinstance(VirtualClock(), Clock)
    assert SystemClock().monotonic() <= SystemClock().monotonic()
    assert SystemClock().wall() > 1.6e9
