from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from atrion import Atrion, ConfigurationError, InMemoryProvider, Mode, PhysicsVector, Telemetry
from atrion.state import (
    Clock,
    ClusterScar,
    ClusterSync,
    Inspect,
    NodeRow,
    StateManager,
    SystemClock,
    blend,
    cluster_scar,
)
from atrion.state.blending import EVIDENCE_SECONDS
from atrion.testing import VirtualClock
from packages.atrion.tests.unit.calling import Breaker


def row(scar: float, evidence: float, decay_rate: float = 0.8) -> NodeRow:
    return NodeRow(PhysicsVector(10.0, 0.0, scar, 0.0), evidence, decay_rate)


def scarred(engine: Atrion, ohms: float) -> None:
    engine.restore("r", PhysicsVector(0.0, 0.0, ohms, 0.0))


def pair(clock: VirtualClock, gamma: float = 0.3) -> tuple[Atrion, Atrion]:
    hub = InMemoryProvider(clock=clock.monotonic)
    first = Atrion(provider=hub, node="a", clock=clock, gamma=gamma)
    second = Atrion(provider=hub, node="b", clock=clock, gamma=gamma)
    for _ in range(3):
        clock.advance(0.1)
        for engine in (first, second):
            engine.update_physics("r", Telemetry(latency=0.01, error_rate=0.0))
    scarred(first, 5.0)
    scarred(second, 2.0)
    return first, second


def pulse(*engines: Atrion) -> None:
    for engine in engines:
        assert asyncio.run(engine.pulse_once())


def blended(engine: Atrion) -> float:
    return engine.snapshot()["r"].blended_scar


@pytest.mark.parametrize("gamma, first, second", [(0.3, 4.1, 2.9), (0.0, 5.0, 2.0), (1.0, 2.0, 5.0)])
def test_two_engines_blend(clock: VirtualClock, gamma: float, first: float, second: float) -> None:
    one, two = pair(clock, gamma)
    pulse(one, two, one)
    assert blended(two) == pytest.approx(second)
    assert blended(one) == pytest.approx(first)
    assert two.snapshot()["r"].scar_tissue == 2.0


def test_a_pulse_alone_changes_nothing_and_repeats_do_not_drift(clock: VirtualClock) -> None:
    one, two = pair(clock)
    pulse(one)
    assert blended(one) == 5.0
    for _ in range(10):
        pulse(two, one)
    assert blended(two) == pytest.approx(2.9)
    assert blended(one) == pytest.approx(4.1)
    assert two.state.get_local("r") is not None


def test_one_engines_trouble_raises_the_others_resistance(clock: VirtualClock, broken: Breaker) -> None:
    one, two = pair(clock)
    broken(one, "r")
    two.reset("r")
    before = two.snapshot()["r"].resistance
    pulse(one, two)
    assert two.snapshot()["r"].resistance > before + 30.0
    assert two.snapshot()["r"].mode is not Mode.CIRCUIT_BREAKER


def test_a_dead_engine_fades_and_is_forgotten(clock: VirtualClock) -> None:
    one, two = pair(clock, 1.0)
    pulse(one, two)
    seen = [blended(two)]
    for _ in range(3):
        clock.advance(1.0)
        pulse(two)
        seen.append(blended(two))
    assert seen == sorted(seen, reverse=True)
    assert seen[3] == pytest.approx(5.0 * math.exp(-0.8 * 3.0))
    clock.advance(61.0)
    pulse(two)
    assert blended(two) == two.snapshot()["r"].scar_tissue


def test_an_unshared_route_stays_alone(clock: VirtualClock) -> None:
    one, two = pair(clock)
    two.configure("r", shared=False)
    scarred(two, 2.0)
    pulse(one, two)
    assert blended(two) == 2.0


def test_a_route_that_went_is_forgotten(clock: VirtualClock) -> None:
    engine = Atrion(clock=clock, max_routes=1)
    for name in ("a", "b"):
        engine.update_physics(name, Telemetry(latency=0.1))
        engine.restore(name, PhysicsVector(0.0, 0.0, 3.0, 0.0))
        clock.advance(0.1)
        pulse(engine)
    assert engine.state.get_local("a") is None
    assert engine.state.get_local("b") is not None


def test_blending_is_weighed_by_evidence_and_bounded() -> None:
    rows = [
        (row(10.0, 1.0), 0.0),
        (row(20.0, 3.0), 0.0),
        (row(99.0, 0.0), 0.0),
        (row(99.0, 9.0), 61.0),
        (row(99.0, 9.0), -1.0),
        (row(99.0, math.nan), 0.0),
    ]
    assert cluster_scar(rows) == ClusterScar(17.5, 4.0)
    assert cluster_scar([]) == ClusterScar(0.0, 0.0)
    assert cluster_scar([(row(1e9, 1e9), 0.0), (row(0.0, 100.0), 0.0)]) == ClusterScar(75.0, 200.0)
    assert blend(2.0, 5.0, 0.3) == pytest.approx(2.9)


def test_old_words_weigh_less_and_their_scars_have_healed() -> None:
    old = cluster_scar([(row(50.0, 10.0, 0.5), 2.0)])
    assert old.scar == pytest.approx(50.0 * math.exp(-1.0))
    assert old.evidence == pytest.approx(10.0 * math.exp(-2.0 / EVIDENCE_SECONDS))


def test_ninety_nine_idle_follow_one_and_ninety_nine_busy_outvote_it() -> None:
    broken = row(100.0, 100.0)
    assert cluster_scar([(broken, 0.0)] + [(row(0.0, 0.0), 0.0)] * 98).scar == 100.0
    assert cluster_scar([(broken, 0.0)] + [(row(0.0, 100.0), 0.0)] * 99).scar == 1.0


def test_a_jump_is_heard_before_the_next_pulse(clock: VirtualClock) -> None:
    one, two = pair(clock)

    async def main() -> None:
        await two.connect()
        assert await two.pulse_once()
        scarred(one, 40.0)
        assert await one.pulse_once()

    asyncio.run(main())
    assert blended(two) == pytest.approx(0.3 * 40.0 + 0.7 * 2.0)


def test_what_was_heard_fades_without_a_store(clock: VirtualClock) -> None:
    one, two = pair(clock, 1.0)
    pulse(one, two)
    clock.advance(2.0)
    two.update_physics("r", Telemetry(latency=0.01))
    assert blended(two) == pytest.approx(5.0 * math.exp(-1.6))
    for _ in range(60):
        clock.advance(1.0)
        two.update_physics("r", Telemetry(latency=0.01))
    assert blended(two) == two.snapshot()["r"].scar_tissue


def test_only_what_decay_does_not_explain_is_sent(clock: VirtualClock) -> None:
    sent: list[set[str]] = []

    class Hears(InMemoryProvider):
        async def exchange(
            self, node: str, rows: Mapping[str, NodeRow], routes: list[str]
        ) -> Mapping[str, ClusterScar]:
            sent.append(set(rows))
            return await super().exchange(node, rows, routes)

    engine = Atrion(provider=Hears(clock=clock.monotonic), clock=clock)
    engine.update_physics("quiet", Telemetry(latency=0.01))
    scarred(engine, 40.0)
    for _ in range(5):
        clock.advance(0.1)
        pulse(engine)
    assert sent[0] == {"r", "quiet"}
    assert sent[1:] == [set()] * 4


def test_a_cold_node_takes_what_is_remembered_decayed_for_its_age(clock: VirtualClock) -> None:
    hub = InMemoryProvider(clock=clock.monotonic)
    before = Atrion(provider=hub, node="a", clock=clock)
    scarred(before, 40.0)
    pulse(before)
    clock.advance(1.0)
    after = Atrion(provider=InMemoryProvider(), persistence=hub, node="a", clock=clock)
    asyncio.run(after.connect())
    clock.advance(0.5)
    assert after.decide("r").resistance == pytest.approx(10.0 + 40.0 * math.exp(-0.8 * 1.5))


def test_what_is_kept_besides_may_fail_alone(clock: VirtualClock, caplog: pytest.LogCaptureFixture) -> None:
    engine = Atrion(persistence=Bad("raise", ("update_vector",)), clock=clock)
    scarred(engine, 4.0)
    with caplog.at_level(logging.WARNING, "atrion"):
        for _ in range(3):
            clock.advance(1.0)
            assert asyncio.run(engine.pulse_once())
    assert [record.message.split(" (")[0] for record in caplog.records] == ["persistence fails"]
    assert engine.state.healthy
    assert engine.state.failures == 3


# --- providers that misbehave --------------------------------------------------------------------------------

METHODS = ("connect", "disconnect", "get_vector", "update_vector", "exchange")


class Bad:
    """A provider of which some methods raise, hang or return rubbish."""

    def __init__(self, way: str, methods: tuple[str, ...], rubbish: Any = None) -> None:
        self.way = way
        self.methods = methods
        self.rubbish = rubbish
        self.inner = InMemoryProvider()

    async def _do(self, method: str, *args: Any) -> Any:
        if method in self.methods:
            if self.way == "raise":
                raise OSError("the store is down")
            if self.way == "hang":
                await asyncio.Event().wait()
            if self.way == "rubbish":
                return self.rubbish
        return await getattr(self.inner, method)(*args)

    async def connect(self) -> Any:
        return await self._do("connect")

    async def disconnect(self) -> Any:
        return await self._do("disconnect")

    async def get_vector(self, route_id: str) -> Any:
        return await self._do("get_vector", route_id)

    async def update_vector(self, route_id: str, vector: PhysicsVector) -> Any:
        return await self._do("update_vector", route_id, vector)

    async def exchange(self, node: str, rows: Mapping[str, NodeRow], routes: list[str]) -> Any:
        return await self._do("exchange", node, rows, routes)

    def listen(self, node: str, callback: Callable[[str, ClusterScar], None]) -> Callable[[], None]:
        return self.inner.listen(node, callback)


RUBBISH = [
    42,
    "text",
    [],
    {"r": 5.0},
    {"r": ClusterScar(math.nan, 1.0)},
    {"r": ClusterScar(math.inf, 1.0)},
    {"r": ClusterScar(-5.0, 1.0)},
    {"r": ClusterScar(5.0, -1.0)},
    {},
]
MISBEHAVIOURS: list[tuple[str, str, Any]] = [
    *[(way, method, None) for way in ("raise", "hang") for method in METHODS],
    *[("rubbish", method, 42) for method in METHODS[:4]],
    *[("rubbish", "exchange", rubbish) for rubbish in RUBBISH],
]


@pytest.mark.parametrize("way, method, rubbish", MISBEHAVIOURS)
def test_no_provider_reaches_a_caller(clock: VirtualClock, way: str, method: str, rubbish: Any) -> None:
    engine = Atrion(provider=Bad(way, (method,), rubbish), clock=clock, interval=0.001)
    engine.state.store.deadline = 0.01

    async def main() -> None:
        async with engine:
            for _ in range(3):
                clock.advance(0.1)
                engine.update_physics("r", Telemetry(latency=0.01))
                scarred(engine, 3.0)
                await engine.pulse_once()
                async with engine.flow("r"):
                    pass
        await engine.state.sync("r", PhysicsVector(1.0, 0.0, 0.0, 0.0))

    asyncio.run(main())
    seen = engine.snapshot()["r"]
    assert (seen.admitted, seen.in_flight) == (3, 0)
    assert seen.blended_scar == seen.scar_tissue
    if way != "rubbish" and method != "get_vector":
        assert engine.state.failures > 0
    if method == "exchange" and way == "rubbish" and rubbish != {}:
        assert engine.state.dropped_rows > 0


@pytest.mark.parametrize("way", ["raise", "hang"])
def test_an_outage_of_the_store_is_one_line_at_its_start_and_one_at_its_end(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    provider = Bad("no", METHODS)
    engine = Atrion(provider=provider, clock=clock)
    engine.state.store.deadline = 0.01
    engine.update_physics("r", Telemetry(latency=0.01))
    scarred(engine, 3.0)

    async def main() -> None:
        assert await engine.pulse_once()
        provider.way = way
        for _ in range(5):
            assert not await engine.pulse_once()
        await engine.disconnect()
        assert len(caplog.records) == 1
        provider.way = "no"
        assert await engine.pulse_once()
        assert await engine.pulse_once()

    with caplog.at_level(logging.INFO, "atrion"):
        asyncio.run(main())
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "decisions go on locally" in caplog.text
    assert "answers again" in caplog.text


def test_a_store_that_fails_takes_its_influence_with_it(clock: VirtualClock) -> None:
    one, two = pair(clock)
    pulse(one, two)
    assert blended(two) == pytest.approx(2.9)
    two.state.store.provider = Bad("raise", METHODS)
    assert not asyncio.run(two.pulse_once())
    assert blended(two) == 2.0


class Plain:
    """Four methods, as a third party writes them."""

    def __init__(self) -> None:
        self.kept: dict[str, PhysicsVector] = {}

    async def connect(self) -> None:
        pass

    async def disconnect(self) -> None:
        pass

    async def get_vector(self, route_id: str) -> PhysicsVector | None:
        return self.kept.get(route_id)

    async def update_vector(self, route_id: str, vector: PhysicsVector) -> None:
        self.kept[route_id] = vector


class Told(Plain):
    """Tells of changes besides."""

    def __init__(self) -> None:
        super().__init__()
        self.callbacks: list[Callable[[PhysicsVector], None]] = []

    async def update_vector(self, route_id: str, vector: PhysicsVector) -> None:
        await super().update_vector(route_id, vector)
        for callback in self.callbacks:
            callback(vector)

    def subscribe(self, route_id: str, callback: Callable[[PhysicsVector], None]) -> Callable[[], None]:
        self.callbacks.append(callback)
        return lambda: self.callbacks.remove(callback)


@pytest.mark.parametrize("store", [Plain(), Told()])
def test_a_store_of_four_methods_keeps_and_shares(clock: VirtualClock, store: Plain) -> None:
    assert not isinstance(store, ClusterSync)
    one = Atrion(provider=store, node="a", clock=clock)
    two = Atrion(provider=store, node="b", clock=clock)
    for engine in (one, two):
        engine.update_physics("r", Telemetry(latency=0.1))
    pulse(two)
    scarred(one, 4.0)
    pulse(one, two)
    assert store.kept["r"].scar_tissue == 4.0
    assert one.state.get_local("r") == store.kept["r"]
    assert blended(two) == pytest.approx(0.3 * 4.0)
    assert blended(one) == 4.0
    clock.advance(30.0)
    pulse(one, two)
    assert blended(two) == 0.0  # what has not changed since is old
    asyncio.run(two.disconnect())
    assert len(getattr(store, "callbacks", [])) <= 1


def test_half_of_cluster_sync_is_refused() -> None:
    class Half(Plain):
        async def exchange(
            self, node: str, rows: Mapping[str, NodeRow], routes: list[str]
        ) -> Mapping[str, ClusterScar]:
            return {}

    with pytest.raises(ConfigurationError, match="exchange and listen"):
        Atrion(provider=Half())


def test_the_memory_is_bounded_and_the_hot_stay() -> None:
    async def main() -> None:
        store = InMemoryProvider(max_routes=2)
        assert isinstance(store, ClusterSync)
        assert isinstance(store, Inspect)
        vector = PhysicsVector(10.0, 0.0, 1.0, 0.0)
        for name in ("a", "b"):
            await store.update_vector(name, vector)
        assert await store.get_vector("a") == vector
        await store.update_vector("c", vector)
        assert await store.get_vector("b") is None
        assert await store.get_vector("a") == vector
        for name in ("a", "b", "c"):
            await store.exchange("n", {name: row(5.0, 1.0)}, [])
        assert set(await store.exchange("m", {}, ["a", "b", "c"])) == {"b", "c"}

    asyncio.run(main())


def test_rows_of_the_silent_are_dropped(clock: VirtualClock) -> None:
    async def main() -> None:
        store = InMemoryProvider(clock=clock.monotonic)
        await store.exchange("a", {"r": row(5.0, 1.0)}, [])
        clock.advance(61.0)
        await store.exchange("b", {"r": row(5.0, 1.0)}, [])
        assert await store.exchange("c", {}, ["r"]) == {"r": ClusterScar(5.0, 1.0)}
        assert await store.list_nodes() == ["b"]

    asyncio.run(main())


def test_subscribers_hear_until_they_leave() -> None:
    async def main() -> None:
        store = InMemoryProvider()
        heard: list[PhysicsVector] = []
        also: list[PhysicsVector] = []
        leave = store.subscribe("r", heard.append)
        leave_too = store.subscribe("r", also.append)
        vector = PhysicsVector(10.0, 0.0, 1.0, 0.0)
        await store.update_vector("r", vector)
        await store.update_vector("other", vector)
        leave()
        leave()
        await store.update_vector("r", vector)
        leave_too()
        assert (heard, also) == ([vector], [vector, vector])

    asyncio.run(main())


# --- clocks and the manager ----------------------------------------------------------------------------------


def test_clocks() -> None:
    assert isinstance(SystemClock(), Clock)
    assert isinstance(VirtualClock(), Clock)
    assert SystemClock().monotonic() <= SystemClock().monotonic()
    assert SystemClock().wall() > 1.6e9


def test_a_manager_remembers_what_it_synchronised() -> None:
    manager = StateManager(InMemoryProvider(), "n", SystemClock().monotonic)
    vector = PhysicsVector(1.0, 0.0, 0.0, 0.0)
    assert manager.get_local("r") is None
    asyncio.run(manager.sync("r", vector))
    assert manager.get_local("r") == vector
    assert asyncio.run(manager.provider.get_vector("r")) == vector
