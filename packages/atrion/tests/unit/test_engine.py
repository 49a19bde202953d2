from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import math
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from enum import StrEnum
from typing import Any
from uuid import uuid4

import pytest

from atrion import (
    SLO,
    AdaptiveBreak,
    Atrion,
    ConfigurationError,
    Decision,
    FlowRejected,
    Mode,
    PhysicsConfig,
    PhysicsVector,
    Reason,
    Telemetry,
    Tier,
    compiled,
)
from atrion.physics import BAND_WIDTH, voltage
from atrion.testing import VirtualClock

Ticker = Callable[..., None]
Breaker = Callable[[Atrion, str], None]


def scarred(engine: Atrion, route: str, ohms: float) -> None:
    engine.restore(route, PhysicsVector(0.0, 0.0, ohms, 0.0))


def enter(engine: Atrion, route: str, tier: Tier = Tier.NORMAL) -> None:
    with engine.flow(route, tier):
        pass


# --- decisions -----------------------------------------------------------------------------------------------


def test_an_idle_route_serves_everyone(engine: Atrion) -> None:
    for tier in Tier:
        for name in (tier, tier.name, tier.name.lower()):
            decision = engine.decide("r", name)
            assert decision
            assert decision.reason is Reason.FLOWS
            assert decision.retry_after == 0.0
            assert decision.mode is Mode.BOOTSTRAP
            assert voltage(tier, 0.0) <= decision.voltage < voltage(tier, 1.0)
    seen = engine.snapshot()["r"]
    assert (seen.in_flight, seen.admitted, seen.shed) == (0, 0, 0)


def test_a_scar_sheds_the_low_tiers_first_and_says_when_to_return(
    engine: Atrion, clock: VirtualClock, tick: Ticker
) -> None:
    tick(engine, "r", PhysicsConfig().bootstrap_ticks + 2, error_rate=0.0)
    scarred(engine, "r", 50.0)
    shed = engine.decide("r", Tier.BULK, key="alice")
    assert not shed
    assert shed.reason is Reason.RESISTANCE
    assert 0.05 <= shed.retry_after <= 60.0
    assert "shed (resistance)" in str(shed)
    assert "retry after" in repr(shed)
    assert engine.decide("r", Tier.CRITICAL)
    clock.advance(shed.retry_after + 0.2)
    assert engine.decide("r", Tier.BULK, key="alice")


def test_a_key_keeps_its_place_for_minutes_and_nobody_is_unlucky_for_long(
    engine: Atrion, clock: VirtualClock
) -> None:
    clock.now = 600.0 * 100
    first = engine.decide("r", key="alice").voltage
    assert engine.decide("r", key="alice").voltage == first
    assert engine.decide("other", key="alice").voltage == first
    assert engine.decide("r", key="bob").voltage != first
    clock.advance(30.0)
    moved = engine.decide("r", key="alice").voltage - first
    assert moved == pytest.approx(BAND_WIDTH / 20.0) or moved == pytest.approx(BAND_WIDTH / 20.0 - BAND_WIDTH)
    met = set()
    for _ in range(20):
        clock.advance(30.0)
        met.add(int(engine.decide("r", key="alice").voltage - voltage(Tier.NORMAL, 0.0)))
    assert met == set(range(int(BAND_WIDTH)))


def test_callers_without_a_key_spread_over_the_band(engine: Atrion) -> None:
    volts = sorted(engine.decide("r", Tier.LOW).voltage for _ in range(100))
    assert volts[0] < voltage(Tier.LOW, 0.05)
    assert volts[-1] > voltage(Tier.LOW, 0.95)
    assert max(b - a for a, b in itertools.pairwise(volts)) < 1.0


def test_too_much_in_flight_saturates(engine: Atrion) -> None:
    with ExitStack() as stack:
        stack.enter_context(engine.flow("r", Tier.CRITICAL))
        began = 1
        while engine.snapshot()["r"].resistance < 40.0:
            stack.enter_context(engine.flow("r", Tier.CRITICAL))
            began += 1
        assert engine.snapshot()["r"].in_flight == began > 10
        shed = engine.decide("r", Tier.BULK)
        assert shed.reason is Reason.SATURATED
        assert 0.05 <= shed.retry_after <= 60.0
        with pytest.raises(FlowRejected, match="saturated") as caught:
            enter(engine, "r", Tier.BULK)
        assert caught.value.decision.reason is Reason.SATURATED
        assert engine.decide("r", Tier.CRITICAL)
    assert engine.decide("r", Tier.BULK)
    seen = engine.snapshot()["r"]
    assert (seen.in_flight, seen.admitted, seen.shed) == (0, began, 2)


def test_the_breaker_opens_probes_and_heals(engine: Atrion, clock: VirtualClock, broken: Breaker) -> None:
    broken(engine, "r")
    clock.advance(0.4)
    decisions = [engine.decide("r", Tier.CRITICAL) for _ in range(200)]
    probes = [decision for decision in decisions if decision]
    assert [decision.reason for decision in probes] == [Reason.PROBE]  # at most three a second
    assert decisions[0].reason is Reason.FAILING
    assert decisions[0].mode is Mode.CIRCUIT_BREAKER
    assert all(0.05 <= decision.retry_after <= 60.0 for decision in decisions if not decision)
    for _ in range(4000):
        clock.advance(0.01)
        try:
            enter(engine, "r", Tier.CRITICAL)
        except FlowRejected:
            pass
    assert engine.snapshot()["r"].mode is Mode.OPERATIONAL
    assert engine.decide("r", Tier.CRITICAL).reason is Reason.FLOWS


def test_an_hour_of_silence_in_the_breaker_ends_with_a_probe(
    engine: Atrion, clock: VirtualClock, broken: Breaker
) -> None:
    broken(engine, "r")
    clock.advance(3600.0)
    enter(engine, "r")  # the first to come is let through, and answers
    clock.advance(0.2)
    assert engine.decide("r", Tier.CRITICAL).reason is Reason.FLOWS
    assert engine.snapshot()["r"].mode is Mode.OPERATIONAL


def test_quiet_routes_probe_after_patience(engine: Atrion, clock: VirtualClock, broken: Breaker) -> None:
    broken(engine, "r")
    allowed = []
    for _ in range(12):
        clock.advance(1.0)
        allowed.append(bool(engine.decide("r")))
    assert allowed == [False, False, False, False, True] * 2 + [False, False]


def test_a_total_outage_at_one_call_a_minute_is_noticed(engine: Atrion, clock: VirtualClock) -> None:
    @engine.protect("r")
    def call() -> None:
        raise OSError

    shed = 0
    for _ in range(30):
        clock.advance(60.0)
        try:
            call()
        except OSError:
            pass
        except FlowRejected:
            shed += 1
    assert shed > 5


# --- calls ---------------------------------------------------------------------------------------------------


def test_protect_counts_and_keeps_the_function(engine: Atrion) -> None:
    @engine.protect("r", tier="high")
    def add(a: int, b: int = 2) -> int:
        """Add."""
        return a + b

    assert add(1) == 3
    assert add(1, b=4) == 5
    assert (add.__name__, add.__doc__) == ("add", "Add.")
    seen = engine.snapshot()["r"]
    assert (seen.admitted, seen.in_flight, seen.shed) == (2, 0, 0)


def test_protect_async_counts_and_keeps_the_function(engine: Atrion) -> None:
    @engine.protect("r")
    async def add(a: int, b: int = 2) -> int:
        """Add."""
        assert engine.snapshot()["r"].in_flight == 1
        return a + b

    assert asyncio.run(add(1)) == 3
    assert add.__name__ == "add"
    assert (engine.snapshot()["r"].admitted, engine.snapshot()["r"].in_flight) == (1, 0)


class Leave(BaseException):
    pass


@pytest.mark.parametrize(
    "error, counts",
    [
        (OSError("down"), (0, 1, 0)),
        (TimeoutError(), (0, 1, 0)),
        (asyncio.CancelledError(), (0, 0, 1)),
        (Leave(), (0, 0, 0)),
        (FlowRejected(None), (0, 0, 0)),
        (None, (1, 0, 0)),
    ],
)
@pytest.mark.parametrize("kind", ["sync", "async", "with", "async with"])
def test_outcomes(
    engine: Atrion, error: BaseException | None, counts: tuple[int, int, int], kind: str
) -> None:
    def end() -> None:
        if error is not None:
            raise error

    def sync() -> None:
        with engine.flow("r"):
            end()

    async def asynchronous() -> None:
        async with engine.flow("r"):
            end()

    @engine.protect("r")
    async def guarded() -> None:
        end()

    calls: dict[str, Callable[[], object]] = {
        "sync": engine.protect("r")(end),
        "async": lambda: drive(guarded()),
        "with": sync,
        "async with": lambda: drive(asynchronous()),
    }
    if error is None:
        calls[kind]()
    else:
        with pytest.raises(type(error)) as caught:
            calls[kind]()
        assert caught.value is error
    window = engine.routes["r"].window
    assert (window.successes_total, window.failures_total, window.drops_total) == counts
    assert engine.snapshot()["r"].in_flight == 0


def drive(coroutine: object) -> None:
    """Run a coroutine that awaits nothing, so that what it raises comes out untouched."""
    try:
        coroutine.send(None)  # type: ignore[attr-defined]
    except StopIteration:
        return


@pytest.mark.parametrize(
    "word, counts", [("ignore", (0, 0, 0)), ("fail", (0, 1, 0)), ("drop", (0, 0, 1)), (None, (1, 0, 0))]
)
def test_a_flow_can_be_told_its_outcome(
    engine: Atrion, word: str | None, counts: tuple[int, int, int]
) -> None:
    with engine.flow("r") as flow:
        if word is not None:
            getattr(flow, word)()
    window = engine.routes["r"].window
    assert (window.successes_total, window.failures_total, window.drops_total) == counts


def test_a_flow_by_hand(engine: Atrion, broken: Breaker) -> None:
    flow = engine.flow("r")
    decision = flow.decide()
    assert isinstance(decision, Decision)
    assert decision
    assert flow.active
    assert engine.snapshot()["r"].in_flight == 1
    flow.finish()
    flow.finish()
    assert not flow.active
    assert engine.snapshot()["r"].in_flight == 0
    broken(engine, "r")
    flow = engine.flow("r")
    assert not flow.decide()
    assert not flow.active
    flow.finish()
    assert engine.snapshot()["r"].in_flight == 0


def test_a_rejection_of_an_inner_route_does_not_blame_the_outer(engine: Atrion, broken: Breaker) -> None:
    broken(engine, "inner")

    @engine.protect("inner")
    def inner() -> None:
        raise AssertionError("never called")

    @engine.protect("outer")
    def outer() -> None:
        inner()

    for _ in range(20):
        with pytest.raises(FlowRejected) as caught:
            outer()
        assert caught.value.decision.route == "inner"
    assert engine.routes["outer"].window.failures_total == 0
    assert engine.snapshot()["outer"].admitted == 20


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


class Payload:
    pass


def test_rejected_coroutines_leave_nothing(engine: Atrion, clock: VirtualClock, broken: Breaker) -> None:
    broken(engine, "r")
    clock.advance(0.4)
    while not engine.decide("r"):
        pass  # the probe of this instant has gone: all that follow are shed

    @engine.protect("r")
    async def call(payload: Payload) -> None:
        raise AssertionError("never called")

    async def main() -> list[weakref.ref[Payload]]:
        payloads = [Payload() for _ in range(50)]
        refs = [weakref.ref(payload) for payload in payloads]
        results = await asyncio.gather(*(call(payload) for payload in payloads), return_exceptions=True)
        assert all(isinstance(result, FlowRejected) for result in results)
        del results
        return refs

    refs = asyncio.run(main())
    gc.collect()
    assert [ref for ref in refs if ref() is not None] == []
    assert [
        thing
        for thing in gc.get_objects()
        if type(thing) is FlowRejected and thing.args[0] is not None and thing.decision.route == "r"
    ] == []
    assert engine.snapshot()["r"].in_flight == 0


# --- sensing, joined -----------------------------------------------------------------------------------------


def test_calls_later_than_promised_are_noticed_before_they_end(engine: Atrion, clock: VirtualClock) -> None:
    engine.configure("r", slo=SLO(latency=1.0))
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(engine.flow("r", Tier.CRITICAL))
        before = engine.snapshot()["r"].resistance
        for _ in range(50):
            clock.advance(0.1)
            engine.decide("r")
        assert engine.snapshot()["r"].pressure_latency > 0.5
        assert engine.snapshot()["r"].resistance > before + 50.0


def test_where_nothing_was_promised_a_slow_call_is_no_harm(engine: Atrion, clock: VirtualClock) -> None:
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(engine.flow("r"))
        for _ in range(50):
            clock.advance(0.1)
            assert engine.decide("r", "bulk").allowed
    for _ in range(20):
        with engine.flow("r", "bulk"):
            clock.advance(30.0)
    assert engine.snapshot()["r"].pressure_latency == 0.0


@pytest.mark.parametrize("rate", [0.02, 1.0, 50.0])
def test_a_dependency_that_answers_nobody_any_more_is_noticed(
    engine: Atrion, clock: VirtualClock, rate: float
) -> None:
    for _ in range(50):
        with engine.flow("r"):
            clock.advance(0.05)
    with ExitStack() as stack:
        asked = 0
        while engine.decide("r").allowed:
            stack.enter_context(engine.flow("r", "critical"))
            clock.advance(1.0 / rate)
            asked += 1
            assert asked < 400
    assert asked / rate < 2.0 or asked < 40


def test_one_stuck_call_says_nothing_of_the_others(engine: Atrion, clock: VirtualClock) -> None:
    with engine.flow("r", "critical"):
        for _ in range(600):
            with engine.flow("r", "bulk"):
                clock.advance(0.01)
            clock.advance(0.19)
        assert engine.snapshot()["r"].resistance == engine.snapshot()["r"].resistance < 15.0


def test_a_pause_of_the_machine_is_no_pressure(engine: Atrion, clock: VirtualClock) -> None:
    for pause in [0.0] * 100 + [0.03] * 20 + [5.0] + [0.001] * 20:
        with ExitStack() as stack:
            for _ in range(6):
                stack.enter_context(engine.flow("r"))
            clock.advance(pause + 1e-6)
            assert engine.decide("r", "bulk").allowed
        clock.advance(0.1)
        assert engine.decide("r", "bulk").allowed


def test_a_thread_that_comes_late_with_an_older_time_changes_nothing(
    engine: Atrion, clock: VirtualClock
) -> None:
    for _ in range(300):
        with engine.flow("r"):
            clock.advance(0.01)
            clock.advance(-0.005)
        assert engine.decide("r", "bulk").allowed
    assert engine.snapshot()["r"].clock_faults == 0


def test_reset_and_configure_keep_what_is_in_flight(engine: Atrion) -> None:
    flows = [engine.flow("r") for _ in range(5)]
    for flow in flows:
        flow.decide()
    engine.reset("r")
    assert engine.snapshot()["r"].in_flight == 5
    engine.configure("r", slo=SLO(latency=2.0), pool="database")
    assert engine.snapshot()["r"].in_flight == 5
    for flow in flows:
        flow.finish()
    assert engine.snapshot()["r"].in_flight == 0


def test_dropped_calls_are_late_calls(engine: Atrion, clock: VirtualClock) -> None:
    engine.configure("r", slo=SLO(latency=1.0))
    for _ in range(10):
        flow = engine.flow("r", Tier.CRITICAL)
        if flow.decide():
            clock.advance(3.0)
            flow.finish(3)
    assert engine.snapshot()["r"].pressure_latency > 0.7


def test_calls_teach_the_service_time_and_ordinary_ones_are_no_pressure(
    engine: Atrion, clock: VirtualClock
) -> None:
    for _ in range(200):
        with engine.flow("r"):
            clock.advance(0.05)
    flow = engine.flow("r")
    flow.decide()
    clock.advance(0.1)
    assert engine.decide("r")
    flow.finish()
    seen = engine.snapshot()["r"]
    assert seen.service_time == pytest.approx(0.05, rel=0.1)
    assert seen.pressure_latency <= 0.0
    assert seen.scar_tissue == 0.0


def test_some_failures_are_served_and_an_outage_is_shed(engine: Atrion, clock: VirtualClock) -> None:
    def run(share: float) -> float:
        shed = 0
        for i in range(2000):
            clock.advance(0.01)
            try:
                with engine.flow("r") as flow:
                    if (i * 0.618) % 1.0 < share:
                        flow.fail()
            except FlowRejected:
                shed += 1
        return shed / 2000

    assert run(0.2) < 0.01
    assert run(1.0) > 0.8
    assert run(0.0) < 0.7
    assert run(0.0) == 0.0


def outage(rate: float) -> float:
    clock = VirtualClock()
    engine = Atrion(clock=clock)
    worst = 0.0
    for _ in range(int(rate * 10.0)):
        clock.advance(1.0 / rate)
        engine.update_physics("r", Telemetry(error_rate=1.0))
        worst = max(worst, engine.snapshot()["r"].scar_tissue)
    return worst


def test_an_outage_scars_alike_at_any_rate() -> None:
    assert outage(1.0) == pytest.approx(outage(1000.0), rel=0.05)


def test_bad_samples_are_dropped_and_counted(engine: Atrion, clock: VirtualClock) -> None:
    for bad in (math.nan, -1.0, -math.inf):
        clock.advance(0.1)
        seen = engine.update_physics("r", Telemetry(bad, bad, bad))
    assert seen.rejected_samples == 9
    assert seen.pressure_latency == seen.pressure_error == seen.pressure_saturation == 0.0
    assert seen.resistance <= 12.0


def test_infinite_latency_is_never_healthy(engine: Atrion, tick: Ticker) -> None:
    tick(engine, "r", 5, latency=math.inf)
    assert engine.snapshot()["r"].pressure_latency == 1.0
    tick(engine, "r", 60, latency=math.inf, saturation=math.inf, error_rate=1.0)
    assert engine.snapshot()["r"].mode is Mode.CIRCUIT_BREAKER
    assert engine.snapshot()["r"].resistance < 1e6


def test_a_component_left_out_is_neutral(engine: Atrion, tick: Ticker) -> None:
    tick(engine, "r", 10)
    seen = engine.snapshot()["r"]
    assert seen.pressure_latency == seen.pressure_error == seen.pressure_saturation == 0.0
    tick(engine, "r", 10, saturation=3.0)
    assert engine.snapshot()["r"].pressure_saturation > 0.9


def test_the_latency_floor_follows_calm_traffic(engine: Atrion, tick: Ticker) -> None:
    tick(engine, "r", 20, latency=0.01)
    assert engine.snapshot()["r"].pressure_latency < 0.0
    tick(engine, "r", 1, latency=0.9)
    assert engine.snapshot()["r"].pressure_latency > 0.9


def test_route_joins_update_and_decision(engine: Atrion, clock: VirtualClock) -> None:
    assert engine.route("r", Telemetry(latency=0.01), 60.0)
    assert not engine.route("r", Telemetry(latency=0.01), 5.0)
    for _ in range(20):
        clock.advance(0.1)
        decision = engine.route("r", Telemetry(error_rate=1.0), 99.0)
    assert decision.mode is Mode.CIRCUIT_BREAKER


def test_a_clock_that_goes_back_an_hour_is_counted_and_survived(
    engine: Atrion, clock: VirtualClock, broken: Breaker
) -> None:
    clock.now = 10_000.0
    broken(engine, "r")
    flow = engine.flow("calm")
    assert flow.decide()
    clock.advance(-3600.0)
    flow.finish()
    assert not engine.decide("r")
    assert engine.snapshot()["r"].clock_faults == 1
    assert engine.snapshot()["calm"].clock_faults == 1
    assert "CIRCUIT_BREAKER" in repr(engine.snapshot()["r"])
    assert engine.snapshot()["calm"].in_flight == 0
    assert engine.decide("calm", key="alice")
    before = engine.snapshot()["r"].scar_tissue
    clock.advance(5.0)
    engine.decide("r")
    assert engine.snapshot()["r"].scar_tissue < before


# --- routes --------------------------------------------------------------------------------------------------


def test_routes_are_bounded_and_the_idlest_goes_first(clock: VirtualClock) -> None:
    engine = Atrion(clock=clock, max_routes=3)
    for name in ("a", "b", "c"):
        clock.advance(1.0)
        engine.decide(name)
    clock.advance(1.0)
    engine.decide("a")
    engine.decide("d")
    assert set(engine.snapshot()) == {"a", "c", "d"}
    for i in range(200):
        clock.advance(0.01)
        engine.decide(f"r{i}")
        assert len(engine.snapshot()) == 3
    large = Atrion(clock=clock, max_routes=100)
    for i in range(300):
        clock.advance(0.01)
        large.decide(f"r{i}")
    assert len(large.snapshot()) == 100


def test_busy_and_decorated_routes_survive(clock: VirtualClock) -> None:
    engine = Atrion(clock=clock, max_routes=4)

    @engine.protect("decorated")
    def call() -> None:
        pass

    with engine.flow("busy"):
        for i in range(50):
            clock.advance(0.1)
            engine.decide(f"r{i}")
        assert {"busy", "decorated"} <= set(engine.snapshot())
        assert len(engine.snapshot()) == 4
    call()
    assert engine.snapshot()["decorated"].admitted == 1
    assert engine.snapshot()["busy"].in_flight == 0
    for i in range(50):
        clock.advance(0.1)
        engine.decide(f"s{i}")
    assert "busy" not in engine.snapshot()
    assert "decorated" in engine.snapshot()


def test_when_all_are_busy_none_goes(clock: VirtualClock) -> None:
    engine = Atrion(clock=clock, max_routes=1)
    with engine.flow("a"):
        assert engine.decide("b")
        assert set(engine.snapshot()) == {"a", "b"}


def test_a_race_while_looking_for_the_idlest_is_survived(clock: VirtualClock) -> None:
    engine = Atrion(clock=clock, max_routes=1)

    class Racing(dict[str, object]):
        def values(self) -> Iterator[object]:  # type: ignore[override]
            yield next(iter(dict.values(self)))
            raise RuntimeError("dictionary changed size during iteration")

    engine.decide("a")
    engine.routes = Racing(engine.routes)  # type: ignore[assignment]
    assert engine.decide("b")
    assert set(engine.routes) == {"b"}


def test_configure_applies_and_starts_anew(engine: Atrion, clock: VirtualClock) -> None:
    scarred(engine, "r", 40.0)
    engine.configure(
        "r", config=PhysicsConfig(base_resistance=15.0), slo=SLO(latency=0.2), gamma=0.0, shared=False
    )
    seen = engine.snapshot()["r"]
    assert (seen.scar_tissue, seen.resistance) == (0.0, 18.0)
    engine.configure("r", gamma=0.7)  # the rest stays
    assert engine.snapshot()["r"].resistance == 18.0
    assert engine.routes["r"].settings.gamma == 0.7
    assert not engine.routes["r"].settings.shared
    engine.configure("later", config=PhysicsConfig(base_resistance=12.0))
    assert "later" not in engine.snapshot()
    engine.decide("later")
    assert engine.snapshot()["later"].resistance == pytest.approx(14.4)
    assert engine.decide("other").resistance == 12.0
    for _ in range(5):
        clock.advance(0.1)
        engine.update_physics("r", Telemetry(latency=0.3))
        engine.update_physics("other", Telemetry(latency=0.3))
    assert engine.snapshot()["r"].pressure_latency > 0.5
    assert engine.snapshot()["other"].pressure_latency < 0.0


def test_an_adaptive_break_point(clock: VirtualClock) -> None:
    adaptive = AdaptiveBreak(warmup_ticks=5, floor=30.0)
    engine = Atrion(clock=clock, config=PhysicsConfig(adaptive=adaptive))
    for _ in range(50):
        clock.advance(0.1)
        engine.update_physics("r", Telemetry(error_rate=0.0))
    assert engine.routes["r"].model.state.break_point() == 30.0
    for _ in range(5):
        clock.advance(0.1)
        engine.update_physics("r", Telemetry(error_rate=1.0))
    assert engine.snapshot()["r"].mode is Mode.CIRCUIT_BREAKER
    for _ in range(200):
        clock.advance(0.1)
        engine.update_physics("r", Telemetry(error_rate=0.0))
    assert engine.snapshot()["r"].mode is Mode.OPERATIONAL


def test_reset_forgets(engine: Atrion, broken: Breaker) -> None:
    broken(engine, "a")
    broken(engine, "b")
    engine.reset("a")
    assert engine.snapshot()["a"].mode is Mode.BOOTSTRAP
    assert engine.snapshot()["b"].mode is Mode.CIRCUIT_BREAKER
    engine.reset()
    assert engine.snapshot()["b"].scar_tissue == 0.0
    assert engine.decide("b", Tier.BULK)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0, "5", None])
def test_restore_passes_rubbish_over(engine: Atrion, bad: float) -> None:
    scarred(engine, "r", bad)
    assert engine.snapshot()["r"].scar_tissue == 0.0
    assert engine.snapshot()["r"].resistance == 12.0


def test_restore_is_bounded(engine: Atrion) -> None:
    scarred(engine, "r", 1e9)
    assert engine.snapshot()["r"].scar_tissue == 150.0


def test_select_prefers_the_lesser_resistance(engine: Atrion) -> None:
    scarred(engine, "b", 30.0)
    chosen = [engine.select(["a", "b"]) for _ in range(1000)]
    assert 0.93 < chosen.count("a") / 1000 < 0.97  # 1 / (1 + e^-3)
    assert engine.select(["a", "b"], u=0.0) == "a"
    assert engine.select(["a", "b"], u=0.999) == "b"
    assert engine.select(["a", "b"], u=1.5) == "b"
    assert engine.select(["a"]) == "a"
    assert engine.select(["b", "a"], beta=0.0, u=0.4) == "b"


def test_select_leaves_broken_routes_out(engine: Atrion, broken: Breaker) -> None:
    broken(engine, "b")
    chosen = [engine.select(["a", "b"], beta=0.0) for _ in range(50)]
    assert chosen.count("b") <= 1  # at most a probe
    broken(engine, "c")
    for _ in range(60):  # past the probes of this instant
        with contextlib.suppress(FlowRejected):
            engine.select(["b", "c"])
    with pytest.raises(FlowRejected) as caught:
        engine.select(["b", "c"])
    assert caught.value.decision.mode is Mode.CIRCUIT_BREAKER
    assert 0.05 <= caught.value.decision.retry_after <= 60.0


def test_a_snapshot_is_data(engine: Atrion) -> None:
    scarred(engine, "r", 7.0)
    seen = engine.snapshot()
    assert seen["r"].scar_tissue == seen["r"].blended_scar == 7.0
    assert seen["r"].route == "r"
    engine.reset("r")
    assert seen["r"].scar_tissue == 7.0
    seen.clear()
    assert list(engine.snapshot()) == ["r"]


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


@pytest.mark.parametrize("bad", [None, 42, "", "x" * 257])
def test_what_is_no_route_is_refused_in_words(engine: Atrion, bad: Any) -> None:
    for call in (engine.decide, engine.flow):
        with pytest.raises(ConfigurationError, match="route_id"):
            call(bad)
    for call in (engine.decide, engine.flow):
        with pytest.raises(ConfigurationError, match=r"tier must be one of critical, .*, got 42"):
            call("r", 42)  # type: ignore[arg-type]  # wrong on purpose


def test_ids_and_keys_may_be_more_than_text(engine: Atrion) -> None:
    class Routes(StrEnum):
        SEARCH = "search"

    user = uuid4()
    assert engine.decide(Routes.SEARCH, key=user).voltage == engine.decide("search", key=str(user)).voltage
    assert engine.decide("search", key=7).voltage == engine.decide("search", key="7").voltage
