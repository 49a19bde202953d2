"""Many pods that share a store: real engines and pulses on virtual time, and an unreliable network."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context
from dataclasses import dataclass
from random import Random
from typing import Any

from atrion.engine import Atrion
from atrion.providers.memory import InMemoryProvider
from atrion.state.port import ClusterScar, NodeRow, PhysicsVector, Remembered
from atrion_lab.simulator import Simulation

__all__ = ["Cluster", "Network", "Wire"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Pods behind one balancer, with one store or none.

    Attributes:
        pods: How many.
        active: How many of them get traffic after ``settled`` seconds; the others idle. None is all.
        settled: Seconds at the beginning in which every pod gets traffic.
        connected: They share a store.
        shared: Their servers are one for all (a dependency), not one for each pod.
        interval: Seconds between pulses.
        delay: Seconds a message to or from the store takes.
        loss: Share of messages that are lost, in [0, 1].
        apart: (start, end, share): in these seconds this share of the pods cannot reach the store.
        poisoned: One more node that claims the worst scar there is, with the most evidence, all the time.
        leaves: (pod, seconds): this pod stops then, and its row stays behind.
        skew: Clocks are up to this many seconds apart.
        restart: Seconds between restarts of one pod after the other, or None.
    """

    pods: int = 3
    active: int | None = None
    settled: float = 5.0
    connected: bool = True
    shared: bool = True
    interval: float = 0.1
    delay: float = 0.001
    loss: float = 0.0
    apart: tuple[float, float, float] | None = None
    poisoned: bool = False
    leaves: tuple[int, float] | None = None
    skew: float = 0.0
    restart: float | None = None


class _Loop(asyncio.SelectorEventLoop):
    """An event loop that lives on the simulation's time: its timers are the simulation's events."""

    def __init__(self, simulation: Simulation) -> None:
        super().__init__()
        self._simulation = simulation
        self._called = False

    def time(self) -> float:
        return self._simulation.now

    def call_soon(  # type: ignore[override]  # the stub's variadic generics say no more than this
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        self._called = True
        return super().call_soon(callback, *args, context=context)

    def call_soon_threadsafe(  # type: ignore[override]  # as above
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        self._simulation.at(self._simulation.now, self.spin)  # a woken pulse does not wait for the next timer
        return super().call_soon_threadsafe(callback, *args, context=context)

    def call_at(  # type: ignore[override]  # as above
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        self._simulation.at(when, self.spin)
        return super().call_at(when, callback, *args, context=context)

    def spin(self, _: object = None) -> None:
        """Run whatever is due, without waiting for anything."""
        self._called = True
        while self._called:
            self._called = False
            super().call_soon(self.stop)
            self.run_forever()


class Network:
    """The store and the ways to it."""

    def __init__(self, simulation: Simulation, cluster: Cluster, rng: Random) -> None:
        self.cluster = cluster
        self.simulation = simulation
        self._rng = rng
        self.hub: InMemoryProvider = InMemoryProvider(clock=lambda: simulation.now)
        self._loop = _Loop(simulation)
        self._engines: list[Atrion] = []
        if cluster.poisoned:
            simulation.at(0.0, self._poison)

    def cut(self, pod: int) -> bool:
        """Whether the pod cannot reach the store now."""
        apart = self.cluster.apart
        if apart is None:
            return False
        start, end, share = apart
        return start <= self.simulation.now < end and pod < share * self.cluster.pods

    def loses(self) -> bool:
        """Whether the next message is lost."""
        return self.cluster.loss > 0.0 and self._rng.random() < self.cluster.loss

    def join(self, engine: Atrion) -> None:
        """An engine connects, and pulses from then on."""
        self._engines.append(engine)
        self._do(engine.connect())

    def leave(self, engine: Atrion) -> None:
        """An engine flushes once and leaves."""
        if engine in self._engines:
            self._engines.remove(engine)
            self._do(engine.disconnect())

    def _do(self, work: Coroutine[Any, Any, object]) -> None:
        self._loop.create_task(work)
        self._loop.spin()

    def _poison(self, _: object) -> None:
        """A broken node's rows, as bad as rows can be, for every route that is known."""
        now = self.simulation.now

        async def lie() -> None:
            routes = await self.hub.list_routes(100)
            worst = NodeRow(PhysicsVector(1e6, 0.0, 1e6, now), 1e9, 0.0)
            await self.hub.exchange("poisoned", dict.fromkeys(routes, worst), [])

        self._do(lie())
        self.simulation.at(now + self.cluster.interval, self._poison)

    def close(self) -> None:
        """Everybody leaves, and the loop ends."""
        for engine in list(self._engines):
            self.leave(engine)
        # Those who wait for a slow message give up: nobody is left to hear of it.
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.spin()
        self._loop.close()

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Pulses warn of stores that fail, which is what is simulated here."""
        logger = logging.getLogger("atrion")
        disabled = logger.disabled
        logger.disabled = True
        try:
            yield
        finally:
            logger.disabled = disabled
            self.close()


class Wire:
    """The store as one pod sees it: late, lossy, sometimes out of reach."""

    def __init__(self, network: Network, pod: int) -> None:
        self._network = network
        self._pod = pod

    async def _send(self) -> None:
        network = self._network
        if network.cluster.delay > 0.0:
            await asyncio.sleep(network.cluster.delay)
        if network.cut(self._pod) or network.loses():
            raise ConnectionError("the message was lost")

    async def connect(self) -> None:
        """See :class:`~atrion.StateProvider`."""
        await self._send()

    async def disconnect(self) -> None:
        """See :class:`~atrion.StateProvider`."""

    async def get_vector(self, route_id: str) -> PhysicsVector | None:
        """See :class:`~atrion.StateProvider`."""
        await self._send()
        return await self._network.hub.get_vector(route_id)

    async def update_vector(self, route_id: str, vector: PhysicsVector) -> None:
        """See :class:`~atrion.StateProvider`."""
        await self._send()
        await self._network.hub.update_vector(route_id, vector)

    async def exchange(
        self, node: str, rows: Mapping[str, NodeRow], routes: list[str]
    ) -> Mapping[str, ClusterScar]:
        """Rows travel, the store answers, the answer travels back."""
        await self._send()
        believed = await self._network.hub.exchange(node, rows, routes)
        await self._send()
        return believed

    async def recall(self, node: str, limit: int) -> Mapping[str, Remembered]:
        """See :class:`~atrion.state.Recall`."""
        await self._send()
        return await self._network.hub.recall(node, limit)

    def listen(self, node: str, callback: Callable[[str, ClusterScar], None]) -> Callable[[], None]:
        """News arrive after the delay, or not at all."""
        network = self._network

        def arrive(news: tuple[str, ClusterScar]) -> None:
            if not network.cut(self._pod):
                callback(*news)

        def heard(route: str, answer: ClusterScar) -> None:
            if not network.loses():
                at = network.simulation.now + network.cluster.delay
                network.simulation.at(at, arrive, (route, answer))

        return network.hub.listen(node, heard)
