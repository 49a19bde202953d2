"""Leases that hold what other calls wait for: they are found, asked to stop, and cancelled if they allow it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from atrion import Atrion, LeaseCancelled, Profile
from atrion.testing import VirtualClock


class Shop:
    """Calls of 50 ms on a database that nobody answers while it is locked."""

    def __init__(self, engine: Atrion, clock: VirtualClock) -> None:
        engine.configure("*", pool="database")
        self.engine, self.clock = engine, clock
        self.waiting: list[Any] = []
        self.locked = False

    def run(self, seconds: float, done: Callable[[], bool] = lambda: False) -> float:
        """Serve forty calls a second; returns for how long, at most until ``done``."""
        began = self.clock.now
        while self.clock.now - began < seconds and not done():
            for _ in range(2):
                call = self.engine.flow("orders", "high")
                if call.try_begin():
                    self.waiting.append(call)
            self.clock.advance(0.05)
            if not self.locked:
                while self.waiting:
                    self.waiting.pop().finish()
            elif len(self.waiting) > 15:
                call = self.waiting.pop(0)
                call.drop()
                call.finish()
            self.engine.leases()
        return self.clock.now - began


@pytest.fixture
def shop(engine: Atrion, clock: VirtualClock) -> Shop:
    return Shop(engine, clock)


def test_the_holder_of_what_everybody_waits_for_is_asked_to_stop(engine: Atrion, shop: Shop) -> None:
    with engine.lease("report", profile="extreme") as old:
        shop.run(120.0)
        with engine.lease("migration", "low", profile="heavy") as whale:
            shop.locked = True
            waited = shop.run(20.0, lambda: whale.should_stop)
            assert whale.should_stop
            assert waited < 3.0
            assert engine.leases()[1].asked == "culprit"
        shop.locked = False
        shop.run(30.0)
        assert not old.should_stop
        assert not whale.cancelled.is_set()


def test_holders_that_mark_what_they_hold_are_suspected_alone(engine: Atrion, shop: Shop) -> None:
    with engine.lease("export", "critical", profile="heavy") as whale:
        shop.run(60.0)
        with engine.lease("import", "bulk", profile="heavy") as waits, whale.holding():
            shop.locked = True
            shop.run(20.0, lambda: whale.should_stop or waits.should_stop)
            assert whale.should_stop
            assert not waits.should_stop


@pytest.mark.parametrize("interruptible", [False, True])
def test_a_lease_that_does_not_stop_is_cancelled_only_if_it_allows_that(
    engine: Atrion, shop: Shop, interruptible: bool
) -> None:
    shop.run(30.0)
    with engine.lease("migration", profile=Profile(grace=4.0), interruptible=interruptible) as lease:
        shop.locked = True
        shop.run(20.0, lambda: lease.should_stop)
        assert lease.should_stop
        assert not lease.cancelled.is_set()
        shop.run(6.0)
        assert lease.cancelled.is_set() is interruptible
        if interruptible:
            with pytest.raises(LeaseCancelled, match="holds what other calls wait for"):
                lease.check()


def test_nobody_is_asked_because_of_more_demand_or_in_a_lull(
    engine: Atrion, clock: VirtualClock, shop: Shop
) -> None:
    with engine.lease("report", "bulk", profile="extreme") as lease:
        shop.run(60.0)
        waiting: list[Any] = []
        for _ in range(2000):  # more than the database answers, which answers as many as before
            for _ in range(6):
                call = engine.flow("orders", "high")
                if call.try_begin():
                    waiting.append(call)
            clock.advance(0.05)
            for call in waiting[:2]:
                call.finish()
            del waiting[:2]
            engine.leases()
        for call in waiting:
            call.finish()
        for _ in range(100):  # nobody comes
            clock.advance(0.5)
            engine.leases()
        assert not lease.should_stop


def test_where_asking_does_not_help_few_are_asked(engine: Atrion, shop: Shop) -> None:
    shop.run(60.0)
    leases = [engine.lease(f"job/{number}", profile=Profile(heartbeat=1e6, grace=1.0)) for number in range(6)]
    for lease in leases:
        lease.__enter__()
    shop.locked = True  # by nobody of them
    shop.run(300.0)
    assert 1 <= sum(lease.should_stop for lease in leases) <= 3
    for lease in leases:
        lease.__exit__(None, None, None)
