"""Leases and swarms under every sequence of events: nothing is left in flight, and no budget is exceeded in silence."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from atrion import Atrion, FlowRejected, Lease, LeaseCancelled, Profile, Swarm
from atrion.testing import VirtualClock

ROUTES = ("import", "export")
TIERS = st.sampled_from(("bulk", "low", "normal", "high", "critical"))
AMOUNTS = st.floats(0.0, 40.0)
LIMIT = 100.0
HEARTBEAT = 30.0


class Holder:
    """A lease beside what the test knows of it."""

    def __init__(self, lease: Lease, route: str, swarm: Swarm | None, now: float) -> None:
        self.lease, self.route, self.swarm = lease, route, swarm
        self.tokens = 0.0
        self.memory = 0.0
        self.age = 0.0
        self.silent = 0.0
        self.held = True

    def pass_time(self, seconds: float) -> None:
        self.age += seconds
        self.silent += seconds

    def is_exhausted(self) -> bool:
        return self.tokens >= LIMIT or self.memory >= LIMIT or self.age >= LIMIT


class Leases(RuleBasedStateMachine):
    """The leases of two routes that share a pool, and of a swarm."""

    held: Bundle[Holder] = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.clock = VirtualClock()
        self.engine = Atrion(clock=self.clock)
        self.engine.configure("*", pool="one", profile=Profile(heartbeat=HEARTBEAT))
        self.holders: list[Holder] = []
        self.swarm = self.engine.swarm("agents", budget={"tokens": 2.0 * LIMIT, "members": 3})
        self.swarm.__enter__()
        self.swarm_tokens = 0.0

    def enter(self, lease: Lease, route: str, swarm: Swarm | None) -> Any:
        try:
            lease.__enter__()
        except FlowRejected:
            assert not lease.active
            return st.nothing()
        holder = Holder(lease, route, swarm, self.clock.now)
        self.holders.append(holder)
        return holder

    def gone(self, holder: Holder) -> None:
        self.holders.remove(holder)

    # --- rules ---

    @rule(target=held, route=st.sampled_from(ROUTES), tier=TIERS, interruptible=st.booleans())
    def begin(self, route: str, tier: Any, interruptible: bool) -> Any:
        budget = {"tokens": LIMIT, "memory": LIMIT, "seconds": LIMIT}
        lease = self.engine.lease(route, tier, budget=budget, interruptible=interruptible)
        found = self.enter(lease, route, None)
        return found if isinstance(found, Holder) else _nobody()

    @rule(target=held, tier=TIERS)
    def join(self, tier: Any) -> Any:
        before = self.swarm.members
        lease = self.swarm.member(tier, budget={"tokens": LIMIT, "memory": LIMIT, "seconds": LIMIT})
        found = self.enter(lease, "agents", self.swarm)
        assert before < 3 or not isinstance(found, Holder)
        return found if isinstance(found, Holder) else _nobody()

    @rule(holder=held, amount=AMOUNTS)
    def spend(self, holder: Holder, amount: float) -> None:
        holder.lease.spend(tokens=amount)
        if holder.held:
            holder.tokens += amount
            holder.silent = 0.0
            if holder.swarm is not None:
                self.swarm_tokens += amount

    @rule(holder=held, memory=st.floats(0.0, 110.0), progress=st.floats(0.0, 1.0))
    def beat(self, holder: Holder, memory: float, progress: float) -> None:
        holder.lease.heartbeat(progress, memory=memory)
        if holder.held:
            holder.memory, holder.silent = memory, 0.0
            if holder.is_exhausted():
                assert holder.lease.cancelled.is_set()

    @rule(seconds=st.floats(0.01, 20.0))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        for holder in self.holders:
            holder.pass_time(seconds)

    @rule(seconds=st.floats(0.01, 1000.0))
    def set_clock_back(self, seconds: float) -> None:
        self.engine.leases()
        for holder in self.holders:
            assert holder.lease.used["seconds"] == pytest.approx(holder.age, abs=1e-6)
        self.clock.advance(-seconds)

    @rule(holder=consumes(held), fails=st.booleans())
    def end(self, holder: Holder, fails: bool) -> None:
        if holder.held:
            error = OSError() if fails else None
            holder.lease.__exit__(type(error) if error else None, error, None)
            assert not holder.lease.active
            self.gone(holder)
            holder.held = False

    @rule(holder=held)
    def lose(self, holder: Holder) -> None:
        """The holder dies without ending the lease."""
        if holder.held:
            self.gone(holder)
            holder.held = False
            holder.lease = self.engine.lease("never begun")
            gc.collect(0)

    @rule(route=st.sampled_from((*ROUTES, "agents")), pool=st.sampled_from(("one", "two")))
    def move(self, route: str, pool: str) -> None:
        """The route starts anew in another pool, with the leases that are held."""
        self.engine.configure(route, pool=pool)

    @rule(route=st.sampled_from(ROUTES))
    def forget(self, route: str) -> None:
        self.engine.reset(route)

    @rule(route=st.sampled_from(ROUTES), tier=TIERS)
    def call(self, route: str, tier: Any) -> None:
        with suppress(FlowRejected), self.engine.flow(route, tier):
            self.clock.advance(0.01)
            for holder in self.holders:
                holder.pass_time(0.01)

    # --- what always holds ---

    @invariant()
    def what_is_held_is_in_flight(self) -> None:
        alive = [holder for holder in self.holders if holder.silent < HEARTBEAT - 1e-6]
        maybe = [holder for holder in self.holders if holder.silent < HEARTBEAT + 1e-6]
        seen = self.engine.leases()
        assert len(alive) <= len(seen) <= len(maybe)
        routes = self.engine.snapshot()
        for route in (*ROUTES, "agents"):
            count = sum(lease.route == route for lease in seen)
            if route in routes:
                assert (routes[route].in_flight, routes[route].leases) == (count, count)
        assert self.swarm.members == sum(lease.route == "agents" for lease in seen)

    @invariant()
    def no_budget_is_exceeded_in_silence(self) -> None:
        self.engine.leases()
        for holder in self.holders:
            shared = holder.swarm is not None and self.swarm_tokens >= 2.0 * LIMIT
            if holder.is_exhausted() or (shared and not holder.lease.expired):
                assert holder.lease.cancelled.is_set()
                with pytest.raises(LeaseCancelled):
                    holder.lease.check()
            elif not holder.lease.should_stop:
                holder.lease.check()

    @invariant()
    def resistance_is_bounded_and_low_without_leases(self) -> None:
        for route in self.engine.snapshot().values():
            assert 10.0 <= route.resistance < 300.0

    def teardown(self) -> None:
        for holder in self.holders:
            holder.lease.__exit__(None, None, None)
        self.holders.clear()
        self.swarm.__exit__(None, None, None)
        assert self.engine.leases() == ()
        for _ in range(300):
            for route_id in self.engine.routes:  # failures count until calls succeed
                with suppress(FlowRejected), self.engine.flow(route_id, "critical"):
                    pass
            self.clock.advance(0.1)
            seen = self.engine.snapshot()
        for route in seen.values():
            assert (route.in_flight, route.leases) == (0, 0)
            assert route.resistance < 20.0
        for known in self.engine.routes.values():
            assert (known.pool.window.in_flight, known.pool.places) == (0, 0)


def _nobody() -> Holder:
    """A holder for a lease that was shed: whatever it tells has no effect."""
    engine = Atrion(clock=VirtualClock())
    holder = Holder(engine.lease("never begun"), "never begun", None, 0.0)
    holder.held = False
    return holder


TestLeases = Leases.TestCase
TestLeases.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


# --- cancellation at every await -----------------------------------------------------------------------------


async def _work(engine: Atrion, step: Callable[[], Awaitable[None]]) -> None:
    await step()
    async with engine.lease("job", budget={"seconds": 60.0}) as lease:
        await step()
        lease.heartbeat(0.5)
        async with engine.swarm("agents", budget={"tokens": 10.0}) as swarm:
            await step()
            async with swarm.member() as member:
                await step()
                member.spend(tokens=4.0)
                async with asyncio.TaskGroup() as group:
                    for _ in range(3):
                        group.create_task(_member(swarm, step))
                await step()
            await step()
        await step()
    await step()


async def _member(swarm: Swarm, step: Callable[[], Awaitable[None]]) -> None:
    async with swarm.member("high") as member:
        await step()
        member.spend(tokens=1.0)
        await step()


@given(at=st.integers(0, 40), again=st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_task_that_is_cancelled_at_any_await_leaves_nothing_in_flight(at: int, again: bool) -> None:
    async def run() -> None:
        engine = Atrion(clock=VirtualClock())
        steps = 0

        async def step() -> None:
            nonlocal steps
            steps += 1
            if steps == at:
                task.cancel()
                if again:
                    task.cancel()
            await asyncio.sleep(0)

        task = asyncio.ensure_future(_work(engine, step))
        await asyncio.wait([task])
        assert task.cancelled() or task.exception() is None
        assert engine.leases() == ()
        assert all(route.in_flight == 0 for route in engine.snapshot().values())

    asyncio.run(run())


@given(stop=st.integers(0, 12), swallow=st.booleans(), outer=st.booleans())
@settings(max_examples=80, deadline=None)
def test_a_used_up_budget_cancels_the_block_and_nothing_else(stop: int, swallow: bool, outer: bool) -> None:
    async def run() -> None:
        engine = Atrion(clock=VirtualClock())
        after = False
        caught = False

        async def work() -> None:
            nonlocal after, caught
            try:
                async with engine.lease("job", budget={"tokens": 1.0}) as lease:
                    for step in range(10):
                        if step == stop:
                            lease.spend(tokens=5.0)
                            if outer:
                                asyncio.current_task().cancel()  # type: ignore[union-attr]
                        try:
                            await asyncio.sleep(0)
                        except asyncio.CancelledError:
                            if not swallow or outer:
                                raise
            except LeaseCancelled:
                caught = True
            await asyncio.sleep(0)  # what comes after the block is not cancelled
            after = True

        task = asyncio.ensure_future(work())
        await asyncio.wait([task])
        spent = stop < 10
        # A cancellation from elsewhere counts more than the lease's own.
        assert task.cancelled() is (spent and outer)
        assert caught is (spent and not swallow and not outer)
        assert after is not (spent and outer)
        assert engine.leases() == ()
        assert engine.snapshot()["job"].in_flight == 0

    asyncio.run(run())
